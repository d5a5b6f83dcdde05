"""The form of a repository: where it is and how one gets in, what checks it, who works there, how files are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict

from orchestration.domain.errors import InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.policies import MAX_RULES, Policy, read_policies
from orchestration.domain.repository_urls import parse_repository
from orchestration.models import Repository, Team, User
from orchestration.web.agents import offer_default_agents
from orchestration.web.endpoint_forms import key_field
from orchestration.web.fields import PlainForm, offer_teams
from orchestration.web.forms import WHEN, sentence_of

MOST_CHECKS = 20
LONGEST_CHECK = 1000
POLICIES = [
    ("", "Choose"),
    (Policy.UNION.value, "Keep the lines of both"),
    (Policy.OURS.value, "Keep what has landed"),
    (Policy.THEIRS.value, "Take what comes"),
    (Policy.REGENERATE.value, "Make it anew with a command"),
]

if TYPE_CHECKING:
    FormOfRepository = forms.ModelForm[Repository]
    PolicyFormSet = forms.BaseFormSet["PolicyForm"]
else:
    FormOfRepository = forms.ModelForm
    PolicyFormSet = forms.BaseFormSet


class RepositoryForm(FormOfRepository):
    WHERE = ("url", "branch", "name")
    GATES = ("check_timeout_s", "gate", "gates_at_once", "strict_commits")
    WORK = (
        *("landing", "draft_pull_requests", "agent", "max_agents"),
        *("budget_usd", "budget_tokens", "monthly_budget_usd", "network"),
    )

    token = key_field("Token")
    forget_token = forms.BooleanField(required=False, label="Forget the token that is kept")
    checks = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"}),
        help_text="One shell command a line, run in the sandbox on the result; every one must exit with 0. "
        "Without checks a success is called unverified.",
    )
    gate = forms.ChoiceField(required=False, label="When the checks decide", choices=WHEN)
    team = forms.ModelChoiceField(
        Team.objects.none(), empty_label=None, error_messages={"required": "Choose the team that owns it."}
    )

    class Meta:
        model = Repository
        fields = [
            "name",
            "url",
            "branch",
            "token_user",
            "checks",
            "check_timeout_s",
            "gate",
            "strict_commits",
            "gates_at_once",
            "landing",
            "draft_pull_requests",
            "agent",
            "network",
            "max_agents",
            "budget_usd",
            "budget_tokens",
            "monthly_budget_usd",
            "team",
        ]
        labels = {
            "url": "URL or local path",
            "branch": "Target branch",
            "token_user": "Name that goes with the token",
            "check_timeout_s": "Seconds per check",
            "strict_commits": "Every commit must pass by itself",
            "gates_at_once": "Gates at once",
            "landing": "Where results go",
            "draft_pull_requests": "Draft pull requests until everything is green",
            "agent": "Who works",
            "network": "Commands may use the network",
            "max_agents": "Agents at once in all its swarms",
            "budget_usd": "Budget of each swarm, US dollars",
            "budget_tokens": "Budget of each swarm, tokens",
            "monthly_budget_usd": "Budget of a month for all its swarms, US dollars",
        }
        help_texts = {
            "url": "An https:// URL, or the full path of a repository on the server that an operator allowed.",
            "branch": "Empty: the repository's default branch.",
            "token_user": "GitHub takes any; GitLab's deploy tokens have one of their own.",
            "check_timeout_s": "",
            "strict_commits": "Gated only. Off: several land together when the last of them passes, which is faster.",
            "gates_at_once": "Gated only: how many candidates of one swarm are checked at the same time.",
            "landing": "None: a branch of the swarm's own. Direct: onto the branch itself, past every review.",
            "draft_pull_requests": "What is not all done, or has a red check, is one; marked ready once all is green.",
            "agent": "Unless a request chooses another.",
            "network": "Off is safer: what agents and checks run cannot reach anything.",
        }
        error_messages = {
            "name": {"required": "Give it a name that your team will know."},
            "url": {"required": "Write its https:// URL, or the full path of a local repository."},
        }

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        self._user = user
        self._url_before = self.instance.url if self.instance.pk else ""
        for name in ("gates_at_once", "landing", "token_user"):
            self.fields[name].required = False
        self.fields["branch"].widget.attrs |= {"list": "branches", "autocomplete": "off", "spellcheck": "false"}
        self.fields["url"].widget.attrs |= {"class": "mono", "spellcheck": "false", "placeholder": "https://"}
        offer_default_agents(self, user)
        offer_teams(self, user)
        if self.instance.pk:
            self.initial["checks"] = "\n".join(self.instance.checks)
        if not self.instance.token_kept:
            del self.fields["forget_token"]

    def _shown(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    @property
    def gates(self) -> list[forms.BoundField]:
        return self._shown(self.GATES)

    @property
    def work(self) -> list[forms.BoundField]:
        return self._shown(self.WORK)

    @property
    def work_open(self) -> bool:
        """Folded away, unless something in there is wrong."""
        return any(field.errors for field in self.work)

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if self.instance.pk and url == self.instance.url:
            return url
        allowed = tuple(settings.SWARM["LOCAL_REPOSITORIES"])
        readable = (lambda _: True) if self._user.is_staff else allowed
        address = sentence_of(lambda text: parse_repository(text, local_allowed=readable), url)
        # An operator vouched for the old address, and named a token for it, not for whatever is written here; but one
        # who writes a path vouches for it.
        self.instance.path_allowed = self._user.is_staff and address.kind == "local"
        self.instance.token_env = ""
        return str(address.url)

    def settle(self, token: str) -> None:
        """What the fields mean together: `token` is what was typed, now or for the last test."""
        row = self.instance
        moved, forgets = bool(row.pk) and row.url != self._url_before, bool(self.cleaned_data.get("forget_token"))
        if moved and row.token_kept and not token and not forgets:
            said = f"The token was given for {self._url_before} and is sent nowhere else: give one for the new address"
            self.add_error("token", f"{said}, or forget it.")
        if token and not row.url.startswith("https://"):
            self.add_error("token", "A token is for https addresses alone: leave it empty.")
        if moved or forgets:
            row.token_kept = False

    def clean_token_user(self) -> str:
        return self.cleaned_data["token_user"].strip() or "x-access-token"

    def clean_checks(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["checks"].splitlines() if line.strip()]
        if len(lines) > MOST_CHECKS:
            raise ValidationError(f"That are {len(lines)} checks; at most {MOST_CHECKS} run. Join some with &&.")
        long = next((line for line in lines if len(line) > LONGEST_CHECK), None)
        if long:
            raise ValidationError(
                f"The check that begins with {long[:40]!r} is longer than {LONGEST_CHECK} characters."
            )
        return lines

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("gate") == GateMode.GATED and "checks" in given and not given["checks"]:
            self.add_error("gate", "Without checks nothing could ever land: add one, or choose another way.")
        return given

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        team = self.instance.team if self.instance.pk else self.data.get("team")
        taken = Repository.objects.filter(name=name, team=team or None).exclude(pk=self.instance.pk)
        if taken.exists():
            raise ValidationError("The team has a repository of that name already; choose another.")
        return name


class PolicyForm(PlainForm):
    """One rule; an empty row is none."""

    glob = forms.CharField(
        required=False,
        max_length=300,
        label="Files",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "placeholder": "CHANGELOG.md"}),
    )
    policy = forms.ChoiceField(required=False, label="What to do", choices=POLICIES)
    command = forms.CharField(
        required=False,
        label="Command",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "placeholder": "only to make it anew"}),
    )

    def rule(self) -> list[str] | None:
        given = self.cleaned_data
        if not (given.get("glob") or given.get("policy") or given.get("command")):
            return None
        return [given["glob"].strip(), given["policy"], *([given["command"]] if given.get("command") else [])]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        rule = self.rule() if not self.errors else None
        if rule is None:
            return given
        if not rule[0]:
            self.add_error("glob", "Which files? Write a path or a pattern, such as docs/**.")
        elif not rule[1]:
            self.add_error("policy", "Choose what is to be done.")
        else:
            self._check(rule)
        return given

    def _check(self, rule: list[str]) -> None:
        try:
            read_policies([rule])
        except InvalidInput as error:
            needs = rule[1] == Policy.REGENERATE
            field = "command" if needs == (len(rule) < 3) or (needs and len(rule[2]) > 1000) else "glob"
            self.add_error(field, str(error))


_PolicyForms = forms.formset_factory(PolicyForm, extra=2, max_num=MAX_RULES, absolute_max=MAX_RULES + 2)


def policy_forms(row: Repository, data: QueryDict | None = None) -> PolicyFormSet | None:
    """None where what was sent says nothing of them: then they stay as they are."""
    if data is None:
        initial = [dict(zip(("glob", "policy", "command"), rule, strict=False)) for rule in row.merge_policies]
        return _PolicyForms(initial=initial, prefix="policies")
    return _PolicyForms(data, prefix="policies") if "policies-TOTAL_FORMS" in data else None


def rules_of(policies: PolicyFormSet) -> list[list[str]]:
    return [rule for form in policies if (rule := form.rule()) is not None]

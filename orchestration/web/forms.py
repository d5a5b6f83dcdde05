"""What people write, checked. Every error is a sentence beside its field, and nothing typed is lost."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from orchestration.domain.config import Strategy, SwarmConfig, parse_config
from orchestration.domain.errors import InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.publishing import Landing
from orchestration.domain.requests import check_request
from orchestration.domain.rights import Action
from orchestration.domain.scheduling import passed
from orchestration.models import ModelEndpoint, Repository, User
from orchestration.stages.submit import check_branch
from orchestration.web.access import repositories_of
from orchestration.web.agents import agent_field, offer_agents
from orchestration.web.fields import PlainForm, deadline_field, money_field, number_field, tokens_field

DEFAULTS = SwarmConfig()
STRATEGIES = [
    (Strategy.AUTOMATIC, "Automatic: the planner decides"),
    (Strategy.BY_DOMAIN, "By domain: one subtask per area of the code"),
    (Strategy.BY_DATA, "By data: the same work on parts of the material"),
    (Strategy.BY_STAGE, "By stage: analyse, change, verify"),
    (Strategy.NONE, "None: one agent does everything"),
]
WHEN = [
    (GateMode.OPTIMISTIC.value, "After each landing (optimistic)"),
    (GateMode.GATED.value, "Before each landing (gated)"),
    (GateMode.OFF.value, "At the end only (off)"),
]
WHERE = [
    (Landing.NONE.value, "Only on the swarm's own branch"),
    (Landing.PULL_REQUEST.value, "As a pull request"),
    (Landing.DIRECT.value, "Directly onto the branch it started from"),
]


class SwarmForm(PlainForm):
    repository = forms.ModelChoiceField(
        Repository.objects.none(),
        to_field_name="public_id",
        empty_label="Choose a repository",
        error_messages={
            "required": "Choose the repository that the agents work on.",
            "invalid_choice": "That repository is not one of yours; choose another.",
        },
    )
    request = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "true"}),
        strip=False,
        help_text="What should be done, in your own words. Markdown is welcome; the first line becomes the title.",
        error_messages={"required": "The request is empty. Write what should be done, in your own words."},
    )
    branch = forms.CharField(
        required=False,
        max_length=200,
        label="Start from branch",
        help_text="Empty: the repository's own. The result lands on a branch of the swarm's.",
    )
    strategy = forms.ChoiceField(choices=STRATEGIES, initial=DEFAULTS.strategy, label="How to split the work")
    plan_approval = forms.BooleanField(
        required=False, label="Show me the plan first", help_text="No agent starts before somebody approves the plan."
    )
    budget_usd = money_field()
    budget_tokens = tokens_field()
    deadline = deadline_field()
    max_subagents = number_field("max_subagents", "Agents at once")
    max_steps_per_subagent = number_field("max_steps_per_subagent", "Turns per attempt")
    max_total_steps = number_field("max_total_steps", "Tool calls in all")
    subagent_timeout_secs = number_field("subagent_timeout_secs", "Seconds per attempt")
    max_retries = number_field("max_retries", "Retries per subtask")
    parallel_enabled = forms.BooleanField(
        required=False, initial=DEFAULTS.parallel_enabled, label="Work in parallel", help_text="Off: one at a time."
    )

    model = forms.ChoiceField(required=False, help_text="The first connected model, unless you choose another.")
    agent = agent_field()

    working_dir = forms.CharField(
        required=False,
        max_length=500,
        label="Only in this directory",
        help_text="Such as services/api. Empty: the whole repository.",
    )
    critical_path_threshold = number_field(
        "critical_path_threshold", "Longest chain of subtasks", "Above it the planner is asked to cut it."
    )
    max_concurrent_requests = number_field(
        "max_concurrent_requests", "Model calls at once", "Empty: found out by itself.", required=False
    )
    request_delay_ms = number_field(
        "request_delay_ms", "Delay after a refused call, ms", "Where the service says nothing itself."
    )
    base_delay_ms = number_field("base_delay_ms", "First delay before a retry, ms")
    max_delay_ms = number_field("max_delay_ms", "Longest delay before a retry, ms")
    gate = forms.ChoiceField(
        required=False, label="When the checks decide", choices=[("", "As the repository has it"), *WHEN]
    )
    landing = forms.ChoiceField(
        required=False, label="Where the result goes", choices=[("", "As the repository has it"), *WHERE]
    )
    cache = forms.BooleanField(
        required=False,
        initial=DEFAULTS.cache,
        label="Use earlier findings",
        help_text="Off: research and verification are always done anew.",
    )

    BUDGETS = ("budget_usd", "budget_tokens", "deadline")
    LIMITS = ("max_subagents", "max_steps_per_subagent", "max_total_steps", "subagent_timeout_secs", "max_retries")
    RARE = (
        "working_dir",
        "critical_path_threshold",
        "max_concurrent_requests",
        "request_delay_ms",
        "base_delay_ms",
        "max_delay_ms",
        "gate",
        "landing",
        "cache",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["repository"]
        assert isinstance(choice, forms.ModelChoiceField)  # noqa: S101 - for the type checker
        choice.queryset = repositories_of(user, Action.SUBMIT).order_by("is_demo", "name")
        real = [row.public_id for row in choice.queryset.filter(is_demo=False)[:2]]
        if len(real) == 1 and not self.initial.get("repository"):
            self.initial["repository"] = real[0]
        endpoints = ModelEndpoint.objects.filter(team__in=user.teams_for(Action.SUBMIT), enabled=True, is_demo=False)
        names = [f"{endpoint.name}/{endpoint.model}" for endpoint in endpoints]
        models = self.fields["model"]
        assert isinstance(models, forms.ChoiceField)  # noqa: S101 - for the type checker
        models.choices = [("", "First connected"), *((name, name) for name in dict.fromkeys(names))]
        offer_agents(self, user)

    def clean_request(self) -> str:
        return str(sentence_of(check_request, self.cleaned_data["request"]))

    def clean_branch(self) -> str:
        return str(sentence_of(check_branch, self.cleaned_data["branch"].strip()))

    def clean_working_dir(self) -> str:
        given = self.cleaned_data["working_dir"].strip()
        return str(sentence_of(_working_dir, given)) if given else ""

    def clean_deadline(self) -> Any:
        moment = self.cleaned_data["deadline"]
        if moment and moment <= timezone.now():
            raise ValidationError(f"{passed(moment)} Give a later one.")
        return moment

    def clean_max_delay_ms(self) -> int:
        first, longest = self.cleaned_data.get("base_delay_ms"), int(self.cleaned_data["max_delay_ms"])
        if first is not None and first > longest:
            raise ValidationError("The longest delay must not be less than the first.")
        return longest

    def config(self) -> dict[str, Any]:
        """Empty means what the domain's default or the repository says."""
        own = ("model", "agent", "strategy", "plan_approval", "parallel_enabled")
        names = [name for name in (*own, *self.LIMITS, *self.BUDGETS, *self.RARE) if name in self.fields]
        given = {name: self.cleaned_data[name] for name in names}
        return {name: value for name, value in given.items() if value not in ("", None)}

    @property
    def budgets(self) -> list[forms.BoundField]:
        return [self[name] for name in self.BUDGETS]

    @property
    def limits(self) -> list[forms.BoundField]:
        return [self[name] for name in self.LIMITS]

    @property
    def rare(self) -> list[forms.BoundField]:
        return [self[name] for name in self.RARE]

    @property
    def limits_open(self) -> bool:
        """Folded away, unless something in there is wrong."""
        folded = ("branch", "strategy", "model", "parallel_enabled", *self.LIMITS, *self.BUDGETS)
        return self.rare_open or any(self[name].errors for name in folded)

    @property
    def rare_open(self) -> bool:
        return any(self[name].errors for name in self.RARE)


def _working_dir(given: str) -> str:
    return parse_config({"working_dir": given}).working_dir or ""


def sentence_of(check: Any, value: str) -> Any:
    """The domain's refusal as this field's error."""
    try:
        return check(value)
    except InvalidInput as error:
        raise ValidationError(str(error)) from error

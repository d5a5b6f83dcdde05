"""What a team works on, and with which model services."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from typing_extensions import override

from orchestration.domain.endpoints import ModelRole, read_roles
from orchestration.domain.errors import InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.policies import read_policies
from orchestration.domain.publishing import Landing
from orchestration.models.accounts import Team
from orchestration.models.fields import money, one_of, public_id

# Which secrets of the server's environment may be sent to a repository's host: those that are meant for it.
TOKEN_NAME = r"\A[A-Z][A-Z0-9_]*_TOKEN(_[A-Z0-9_]+)?\Z"  # noqa: S105 - the name of one


def check_roles(text: str) -> None:
    try:
        read_roles(text)
    except InvalidInput as error:
        raise ValidationError(str(error)) from None


def check_policies(value: object) -> None:
    try:
        read_policies(value)
    except InvalidInput as error:
        raise ValidationError(str(error)) from None


class Repository(models.Model):
    public_id = public_id()
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="repositories")
    name = models.CharField(max_length=80)
    url = models.CharField(max_length=2000, help_text="An https URL or a local path that an operator allowed.")
    branch = models.CharField(max_length=200, blank=True, help_text="Empty: the repository's default branch.")
    checks = models.JSONField(
        default=list,
        blank=True,
        help_text="Shell commands, run in the sandbox on the result; every one must exit with 0.",
    )
    check_timeout_s = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(1), MaxValueValidator(7200)]
    )
    gate = models.CharField(
        max_length=12,
        choices=[(mode.value, mode.value) for mode in GateMode],
        default=GateMode.OPTIMISTIC.value,
        help_text="When the checks run: before each landing (gated), after it (optimistic), or at the end only (off).",
    )
    strict_commits = models.BooleanField(
        default=False, help_text="Gated: every landed commit must be green itself, and not only the last of several."
    )
    gates_at_once = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1), MaxValueValidator(16)], help_text="Of each swarm."
    )
    landing = models.CharField(
        max_length=12,
        choices=[(mode.value, mode.value) for mode in Landing],
        default=Landing.NONE.value,
        help_text="Where a result goes: a pull request on GitHub, straight onto the branch, or nowhere (none).",
    )
    draft_pull_requests = models.BooleanField(
        default=False, help_text="Not everything done, or a check red: a draft, marked ready once all of it is green."
    )
    token_env = models.CharField(
        max_length=100,
        blank=True,
        validators=[RegexValidator(TOKEN_NAME, "Give a name like SHOP_TOKEN: capitals, and TOKEN as a word in it.")],
        help_text="Name of the environment variable with the token for an https repository; never the token itself.",
    )
    token_user = models.CharField(
        max_length=100, blank=True, default="x-access-token", help_text="The name that goes with the token."
    )
    token_kept = models.BooleanField(
        default=False, editable=False, help_text="A token was given on its page; it lies encrypted, and never here."
    )
    merge_policies = models.JSONField(
        default=list,
        blank=True,
        validators=[check_policies],
        help_text='What to do where a file conflicts: [["CHANGELOG.md", "union"], ["dist/**", "ours"]].',
    )
    budget_usd = money(null=True, blank=True, default=None, help_text="Of each swarm, unless it says otherwise.")
    budget_tokens = models.PositiveBigIntegerField(null=True, blank=True, help_text="Of each swarm, likewise.")
    monthly_budget_usd = money(null=True, blank=True, default=None, help_text="Of all swarms in a calendar month.")
    max_agents = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Attempts of all its swarms that may run at once; empty: no limit of its own.",
    )
    agent = models.ForeignKey(
        "Agent",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="repositories",
        help_text="Who works, unless the request says otherwise; empty: the built-in agent.",
    )
    network = models.BooleanField(default=False, help_text="Whether commands in the sandbox may use the network.")
    is_demo = models.BooleanField(default=False, editable=False)
    path_allowed = models.BooleanField(
        default=False,
        help_text="An operator vouches for it: a path outside SWARM_LOCAL_REPOSITORIES, or the GitHub App's access.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    looked_after_at = models.DateTimeField(default=timezone.now, editable=False)
    packed_at = models.DateTimeField(null=True, editable=False)
    locks_removed = models.PositiveIntegerField(
        default=0, editable=False, help_text="What killed git children had left."
    )
    loose_objects = models.PositiveIntegerField(null=True, editable=False, help_text="When it was last looked after.")
    packs = models.PositiveIntegerField(null=True, editable=False, help_text="Likewise.")

    class Meta:
        verbose_name_plural = "repositories"
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="repository_name_unique_in_team"),
            one_of("gate", GateMode, "repository_gate_known"),
            one_of("landing", Landing, "repository_landing_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @override
    def clean(self) -> None:
        if self.agent and self.agent.team_id != self.team_id:
            raise ValidationError({"agent": f"{self.agent} belongs to another team; choose one of {self.team}."})


class ModelEndpoint(models.Model):
    """A model service. The key itself is never here: a variable holds it, or the keyring beneath the row's id.

    One that ran swarms stays as a row when it is removed, for their figures.
    """

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI chat completions"
        ANTHROPIC = "anthropic", "Anthropic messages"

    public_id = public_id()
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.OPENAI)
    base_url = models.URLField(max_length=500)
    model = models.CharField(max_length=200)
    key_env = models.CharField(max_length=100, blank=True, help_text="Name of the environment variable with the key.")
    key_kept = models.BooleanField(
        default=False, editable=False, help_text="A key was given on its page; it lies encrypted, and never here."
    )
    address_allowed = models.BooleanField(
        default=True, help_text="An operator vouches for its address, so that it may be one of a private network."
    )
    input_price = money(help_text="US dollars per million input tokens.")
    output_price = money(help_text="US dollars per million output tokens.")
    max_concurrent = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    context_window = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(2000), MaxValueValidator(20_000_000)],
        help_text="Tokens that the model takes, its answer included. Empty: what is known of the model, and learned.",
    )
    weight = models.PositiveIntegerField(default=100, help_text="Higher is asked first.")
    roles = models.CharField(
        max_length=100,
        blank=True,
        validators=[check_roles],
        help_text=f"Who may use it, with commas between: {', '.join(ModelRole)}. Empty: everybody.",
    )
    enabled = models.BooleanField(default=True)
    is_demo = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    tested_at = models.DateTimeField(null=True, editable=False)
    test_works = models.BooleanField(null=True, editable=False)
    test_said = models.TextField(blank=True, editable=False)
    test_latency_ms = models.PositiveIntegerField(null=True, editable=False, help_text="Until its first words.")
    removed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-weight", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="endpoint_name_unique_in_team"),
            models.CheckConstraint(condition=models.Q(kind__in=["openai", "anthropic"]), name="endpoint_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name

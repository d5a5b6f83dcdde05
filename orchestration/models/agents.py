"""The agents that a team has beside ours: programs that an operator installed and describes here."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from typing_extensions import override

from orchestration.domain.agents import AgentKind, AgentSpec, Permissions, check_agent, table, texts
from orchestration.domain.errors import InvalidInput
from orchestration.models.accounts import Team
from orchestration.models.fields import public_id


def seconds(default: int, help_text: str) -> models.PositiveIntegerField[int, int]:
    bounds = [MinValueValidator(1), MaxValueValidator(3600)]
    return models.PositiveIntegerField(default=default, validators=bounds, help_text=help_text)


class Agent(models.Model):
    """Templates may name {openai_url} {anthropic_url} {token} {model} {workspace} {home}; command agents also {prompt}
    and {prompt_file}."""

    class Kind(models.TextChoices):
        BUILTIN = AgentKind.BUILTIN.value, "Built in"
        ACP = AgentKind.ACP.value, "Agent Client Protocol"
        COMMAND = AgentKind.COMMAND.value, "Command line"

    class Allowed(models.TextChoices):
        WORKSPACE = Permissions.WORKSPACE.value, "Yes inside the workspace, otherwise no"
        ALL = Permissions.ALL.value, "Yes; the sandbox is the fence"
        NONE = Permissions.NONE.value, "No, except to look and to think"

    public_id = public_id()
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="agents")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.ACP)
    argv = models.JSONField(
        default=list, blank=True, help_text='The command line: ["/opt/agent/bin/agent", "acp"]. The full path first.'
    )
    environment = models.JSONField(
        default=dict,
        blank=True,
        help_text='Variables: {"OPENAI_BASE_URL": "{openai_url}", "OPENAI_API_KEY": "{token}"}.',
    )
    files = models.JSONField(
        default=dict, blank=True, help_text='Files beneath its home: {".config/agent.json": "the content"}.'
    )
    mounts = models.JSONField(
        default=list,
        blank=True,
        help_text="Directories that it sees read-only beside the system's; where it is installed is found by itself.",
    )
    permissions = models.CharField(
        max_length=10,
        choices=Allowed.choices,
        default=Allowed.WORKSPACE,
        help_text="What it is told when it asks whether it may.",
    )
    auth_method = models.CharField(
        max_length=100, blank=True, help_text="The sign-in to use, by the agent's name for it; empty: where it asks."
    )
    session_mode = models.CharField(
        max_length=100, blank=True, help_text="The session's mode, by the agent's name for it; empty: its default."
    )
    start_timeout_s = seconds(60, "How long it may take to open a session.")
    silence_timeout_s = seconds(300, "How long it may neither say anything nor ask a model.")
    memory_mb = models.PositiveIntegerField(
        default=4096,
        validators=[MinValueValidator(64), MaxValueValidator(1_000_000)],
        help_text="Of all its processes together.",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="agent_name_unique_in_team"),
            models.CheckConstraint(condition=models.Q(kind__in=["builtin", "acp", "command"]), name="agent_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def spec(self) -> AgentSpec:
        """Raises InvalidInput where a field has not its shape."""
        return AgentSpec(
            name=self.name,
            kind=AgentKind(self.kind),
            argv=texts(self.argv, "Argv"),
            environment=table(self.environment, "Environment"),
            files=table(self.files, "Files"),
            mounts=texts(self.mounts, "Mounts"),
            permissions=Permissions(self.permissions),
            auth_method=self.auth_method,
            session_mode=self.session_mode,
            start_timeout_s=self.start_timeout_s,
            silence_timeout_s=self.silence_timeout_s,
            memory_mb=self.memory_mb,
        )

    @override
    def clean(self) -> None:
        try:
            check_agent(self.spec)
        except InvalidInput as error:
            raise ValidationError(str(error)) from None

"""Who works on an attempt: our own agent, or one that an operator described, behind its own gateway."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from orchestration.adapters import storage
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.late import LateWorkspace
from orchestration.adapters.sandbox import Box, Limits
from orchestration.agents.assignment import Agent as AnyAgent
from orchestration.agents.assignment import Assignment, Report, Workplace
from orchestration.agents.builtin import BuiltinAgent
from orchestration.agents.command import CommandAgent
from orchestration.agents.conversation import Clock
from orchestration.agents.mcp import ToolServer
from orchestration.agents.programs import Outside
from orchestration.agents.toolbox import Toolbox
from orchestration.domain.agents import BUILTIN, AgentKind, AgentSpec
from orchestration.domain.config import SwarmConfig
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import SubmittedHandoff
from orchestration.domain.steering import begun_again
from orchestration.domain.tools import ASK_HUMAN, OUTSIDE_TOOLS
from orchestration.models import Agent, Attempt, Repository
from orchestration.stages import briefing
from orchestration.stages.forward import open_gateway
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.rows import config_of, store_of
from orchestration.stages.tell import told_already


def choose_agent(repository: Repository, config: SwarmConfig) -> str:
    """Whom a new swarm is to employ, by name: what was asked for, or the repository's. Raises InvalidInput."""
    if repository.is_demo:
        return BUILTIN
    name = config.agent or (repository.agent.name if repository.agent else BUILTIN)
    rows = Agent.objects.filter(team=repository.team, is_active=True)
    if name != BUILTIN and not rows.filter(name=name).exists():
        there = ", ".join([BUILTIN, *rows.values_list("name", flat=True)])
        raise InvalidInput(f"Configuration: there is no agent {name!r} that may be used; there is: {there}.")
    return name


def agent_of(attempt: Attempt, report: AttemptReport, workspace: LateWorkspace) -> AnyAgent:
    """The agent that works on this attempt, noted on its row. Raises AdapterError where it is not there any more."""
    swarm = attempt.subtask.swarm
    name = config_of(swarm).agent or BUILTIN
    if name == BUILTIN or swarm.repository.is_demo:
        return BuiltinAgent()
    row = Agent.objects.filter(team_id=swarm.repository.team_id, name=name, is_active=True).first()
    if row is None:
        raise AdapterError(Failure.PERMANENT, f"The agent {name} was removed or switched off after the request came.")
    Attempt.objects.filter(pk=attempt.pk).update(agent=row.name)
    spec = row.spec
    return BuiltinAgent() if spec.kind is AgentKind.BUILTIN else _Employed(spec, attempt, report, workspace)


class _Employed:
    """Opens the gateway around the agent, and tells it its task in words that need no tool of ours."""

    def __init__(self, spec: AgentSpec, attempt: Attempt, report: AttemptReport, workspace: LateWorkspace) -> None:
        self._spec = spec
        self._attempt = attempt
        self._report = report
        self._workspace = workspace

    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        before = assignment.resumption
        clock = Clock(assignment.timeout_s, before.used_s if before else 0.0)
        task = outside_task(self._attempt, assignment)
        if before:
            report.ran(ASK_HUMAN.name, {"question": before.question}, before.answer, ok=True, duration_ms=0)
            task = "\n\n".join([task, *told_already(self._attempt), begun_again(before)])
        tools = self._tools(workplace, report, clock, cancellation)
        try:
            with open_gateway(
                self._attempt, self._report, cancellation, network=self._shares_network, left=clock.left, tools=tools
            ) as access:
                agent = outside_agent(Outside(self._spec, access, self._open, tools))
                assignment = replace(assignment, task=task, timeout_s=clock.left())
                return agent.run(assignment, workplace, report, cancellation)
        except AdapterError:
            if tools.suspended and not cancellation.is_set:
                raise tools.suspended from None
            raise

    def _tools(self, workplace: Workplace, report: Report, clock: Clock, cancellation: Cancellation) -> ToolServer:
        toolbox = Toolbox(workplace, report, clock, cancellation, [tool.name for tool in OUTSIDE_TOOLS])
        return ToolServer(toolbox, report, clock, told_elsewhere=self._spec.kind is AgentKind.ACP)

    @property
    def _shares_network(self) -> bool:
        repository = self._attempt.subtask.swarm.repository
        return repository.network or not storage.sandbox_for(demo=False).isolated

    def _open(self, shown: tuple[Path, ...], limits: Limits) -> AbstractContextManager[Box]:
        network = self._attempt.subtask.swarm.repository.network
        return storage.sandbox_for(demo=False).open(self._workspace().path, limits=limits, network=network, shown=shown)


def outside_agent(outside: Outside) -> AnyAgent:
    if outside.spec.kind is AgentKind.COMMAND:
        return CommandAgent(outside)
    from orchestration.agents.acp import AcpAgent  # noqa: PLC0415 - half a second that few servers need

    return AcpAgent(outside)


def outside_task(attempt: Attempt, assignment: Assignment) -> str:
    swarm, subtask = attempt.subtask.swarm, attempt.subtask
    return briefing.outside_task(swarm, subtask, config_of(swarm), store_of(swarm), assignment.task)

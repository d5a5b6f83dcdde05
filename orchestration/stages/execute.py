"""Runs one attempt: claim, workspace, sandbox, agent, evidence. Whatever the end is, the work is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from django.db import connection
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.gateway import RetryPolicy
from orchestration.adapters.git.late import LateWorkspace
from orchestration.adapters.llm.waiting import Listener
from orchestration.adapters.sandbox import Box, LateBox
from orchestration.agents.assignment import Assignment, Inbox, Suspended, Workplace
from orchestration.agents.builtin import BuiltinAgent
from orchestration.agents.conversation import Clock, OutOfTime
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Message, ToolSpec
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import Claim, SubmittedHandoff, objections, verdict
from orchestration.domain.resolving import Rung
from orchestration.domain.states import AttemptStatus, SubtaskStatus, SwarmStatus
from orchestration.domain.steering import Resumption
from orchestration.models import Attempt
from orchestration.stages import ask, briefing, caching, keeping, sharing
from orchestration.stages.accounting import OverBudget, Spending
from orchestration.stages.drafting import Drafting
from orchestration.stages.employ import agent_of
from orchestration.stages.handoff import Ending, settle
from orchestration.stages.inspection import Inspection
from orchestration.stages.leases import heartbeat, lease_end, new_token, release_connection
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.resolution import Settling, role_of, settling_of
from orchestration.stages.rows import attempt_row, config_of, endpoint_for, store_of
from orchestration.stages.splitting import proposal_problems
from orchestration.stages.tell import Ear
from orchestration.stages.transition import Superseded, moves

logger = logging.getLogger(__name__)
CHECK_TIMEOUT_S = 300.0


def execute(attempt_id: int) -> None:
    """Does nothing where the attempt is not there to be taken: somebody else has it, or it was cancelled."""
    attempt = attempt_row(attempt_id)
    resumption = ask.resumption_of(attempt)
    if not _claim(attempt):
        return
    with heartbeat.keep(attempt) as cancellation:
        ending = _run(attempt, cancellation, resumption)
        if isinstance(ending, ask.Rest):
            ask.suspend(attempt, ending)
            return
        settle(attempt, ending)
    if attempt.subtask.cache:  # it was asked before the attempt began, or is never asked
        caching.remember(attempt.pk)


def _claim(attempt: Attempt) -> bool:
    """Ours from here on, at the integration head of this moment: its dependencies have landed before. One that has
    waited for a person goes on from where it was."""
    swarm = attempt.subtask.swarm
    if attempt.status != AttemptStatus.ASSIGNED or swarm.status != SwarmStatus.RUNNING:
        return False
    base = attempt.base_sha or store_of(swarm).tip(swarm.branch) or swarm.base_sha
    try:
        with moves(swarm) as together:
            together.advance(
                attempt,
                AttemptStatus.RUNNING,
                lease_token=new_token(),
                lease_expires_at=lease_end(),
                last_sign_at=timezone.now(),
                base_sha=base,
                **(ask.resumed(attempt) if attempt.base_sha else {"started_at": timezone.now()}),
            )
            together.advance(attempt.subtask, SubtaskStatus.RUNNING)
    except Superseded:
        return False
    return True


def _run(attempt: Attempt, cancellation: Cancellation, resumption: Resumption | None) -> Ending | ask.Rest:
    """The attempt's ending, also for everything that goes wrong on the way."""
    swarm = attempt.subtask.swarm
    pool = storage.workspace_pool(swarm.repository.public_id)
    settling = settling_of(attempt)
    try:
        workspace = LateWorkspace(pool, attempt.head_sha or (settling.start if settling else attempt.base_sha))
        if resumption or settling:
            workspace().add_commit(attempt.base_sha)  # what it has done is a child of it, and is committed on it again
    except AdapterError as error:
        return _ended_by(error, attempt.head_sha or attempt.base_sha)
    with workspace:
        return _Run(attempt, workspace, cancellation, resumption, settling).run()


class _Run:
    """One attempt in its workspace; the agent's Report is this, its figures' part delegated."""

    def __init__(
        self,
        attempt: Attempt,
        workspace: LateWorkspace,
        cancellation: Cancellation,
        resumption: Resumption | None,
        settling: Settling | None = None,
    ) -> None:
        swarm = attempt.subtask.swarm
        self._settling = settling
        self._resumption = resumption
        self._attempt = attempt
        self._swarm = swarm
        self._config: SwarmConfig = config_of(swarm)
        self._clock = Clock(self._config.subagent_timeout_secs, resumption.used_s if resumption else 0.0)
        self._workspace = workspace
        self._cancellation = cancellation
        self._report = AttemptReport(swarm, attempt, self._config.max_total_steps)
        self.listener: Listener | None = self._report.aloud
        self.inbox: Inbox = Ear(swarm, attempt.subtask, attempt, turns=lambda: self._report.turns)
        self._inspection = Inspection(
            store_of(swarm),
            workspace,
            attempt,
            working_dir=self._config.working_dir,
            most_s=self._check_s,
            merges=settling,
        )
        looks = settling is None and attempt.subtask.kind == "change"
        self._drafting = Drafting(store_of(swarm), workspace, attempt, looks=looks)
        self._endpoint = endpoint_for(swarm, role_of(attempt))
        self._box: Box | None = None

    def run(self) -> Ending | ask.Rest:
        release_connection()
        ending: Ending | ask.Rest
        try:
            ending = self._work()
        except Suspended as asked:
            ending = ask.Rest(asked, self._inspection.sha)
        except (AdapterError, InvalidInput) as error:
            ending = _ended_by(error, self._keep_unfinished())
        self._report.flush()
        if isinstance(ending, Ending):
            keeping.keep_checks(self._swarm, self._attempt, ending.checks)
            keeping.keep_transcript(self._attempt)
        return ending

    def _work(self) -> Ending:
        repository = self._swarm.repository
        sandbox = storage.sandbox_for(demo=repository.is_demo)
        with LateBox(lambda: sandbox.open(self._workspace().path, network=repository.network)) as self._box:
            if self._settling and self._attempt.rung == Rung.REGENERATE:
                return self._judge(self._make_anew(self._settling, self._box))
            workplace = Workplace(cache(lambda: WorkspaceFiles(self._workspace().path)), self._box)
            agent = agent_of(self._attempt, self._report, self._workspace)
            self._drafting.outside = not isinstance(agent, BuiltinAgent)
            handoff = agent.run(self._assignment(), workplace, self, self._cancellation)
            return self._judge(handoff)

    def _make_anew(self, settling: Settling, box: Box) -> SubmittedHandoff:
        """No agent works: the repository's command does."""
        handoff = settling.make_anew(box, self._check_s(), self._cancellation)
        self.objections(handoff)
        return handoff

    def _assignment(self) -> Assignment:
        config, subtask = self._config, self._attempt.subtask
        own = self._settling.task(self._attempt) if self._settling else briefing.worker_task(self._swarm, subtask)
        return Assignment(
            system=briefing.worker_system(self._swarm, subtask, config, store_of(self._swarm)),
            task=own,
            endpoint=self._endpoint,
            max_steps=config.max_steps_per_subagent,
            timeout_s=config.subagent_timeout_secs,
            retries=RetryPolicy(config.max_retries, config.base_delay_ms, config.max_delay_ms),
            resumption=self._resumption,
            kind=subtask.kind,
        )

    def _judge(self, handoff: SubmittedHandoff) -> Ending:
        """A claim of complete was inspected when it was made; of a lesser claim the work is only kept."""
        unsplit = ""
        if handoff.split and not self._settling:
            problems = proposal_problems(self._attempt.subtask, handoff.split)
            if not problems:
                return self._proposal(handoff)
            unsplit = f" Its split could not be followed: {' '.join(problems)}"
        evidence = self._inspection.evidence
        if evidence is None or handoff.status is not Claim.COMPLETE:
            evidence = self._inspection.look(handoff.summary, None, self._cancellation)
        found = verdict(handoff.status, self._attempt.subtask.kind, evidence)
        return Ending(
            status=found.status,
            reason=found.reason + (unsplit if found.status is not AttemptStatus.COMPLETE else ""),
            head_sha=self._inspection.sha,
            handoff=handoff,
            suspicious=found.suspicious,
            checks=evidence.checks,
            resolved=self._resolved() if found.status is AttemptStatus.COMPLETE else (),
        )

    def _resolved(self) -> Sequence[dict[str, str]]:
        return self._settling.resolved(self._inspection.sha) if self._settling else ()

    def _proposal(self, handoff: SubmittedHandoff) -> Ending:
        """The agent wants its subtask split. What it changed so far lands first where it holds by itself: the parts
        begin with it. Otherwise it is only kept."""
        kind = self._attempt.subtask.kind
        evidence = self._inspection.look(handoff.summary, self._box, self._cancellation)
        return Ending(
            status=AttemptStatus.PARTIAL,
            reason=f"The agent proposed to split it into {len(handoff.split)} parts.",
            head_sha=self._inspection.sha,
            handoff=handoff,
            checks=evidence.checks,
            split=True,
            lands=kind == "change" and not objections(kind, evidence),
        )

    def _check_s(self) -> float:
        """For one acceptance check: they are part of the attempt, and end with its time. Raises OutOfTime."""
        return min(CHECK_TIMEOUT_S, self._clock.left())

    def _keep_unfinished(self) -> str:
        """Nothing is lost on any exit; where even that fails, the last commit that was made stands."""
        if not self._workspace.is_taken:
            return self._inspection.sha
        try:
            return self._inspection.commit("unfinished work")
        except (AdapterError, InvalidInput) as error:
            logger.warning("Unfinished work of attempt %s was not kept: %s", self._attempt.public_id, error)
            return self._inspection.sha

    # The agent's Report.

    def around(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> AbstractContextManager[None]:
        self._drafting.look()
        return Spending(self._attempt, self._swarm, self._cancellation).call(self._endpoint, messages, tools, left)

    def turn(self, reply: Any) -> None:
        self._report.turn(reply)

    def may_run(self, wanted: int) -> int:
        return self._report.may_run(wanted)

    def leave(self) -> None:
        connection.close()

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None:
        self._drafting.changed()
        self._report.ran(tool, arguments, result, ok=ok, duration_ms=duration_ms)

    def alive(self) -> None:
        self._report.alive()
        self._drafting.alive()

    def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str:
        return self._report.save_artifact(type_=type_, name=name, mime=mime, content=content)

    def keep_output(self, tool: str, text: str) -> str:
        return self._report.keep_output(tool, text)

    def share_result(self, key: str, value: Any, tags: Sequence[str]) -> str:
        return sharing.share(self._attempt, key, value, tags)

    def get_results(self, *, key: str, tags: Sequence[str], prefix: str, producer: str) -> str:
        return sharing.tell(self._swarm, key=key, tags=tags, prefix=prefix, producer=producer)

    def ask_human(self, question: str, options: Sequence[str]) -> str | None:
        known = ask.known_answer(self._swarm, question, options)
        if known is None:
            self._keep_for_later()
        return known

    def _keep_for_later(self) -> None:
        """Work that cannot be committed would be lost while the attempt waits: the agent is told why instead."""
        try:
            self._inspection.commit("unfinished work, while it waits for an answer")
        except AdapterError as error:
            if error.kind is not Failure.PERMANENT:
                raise
            raise InvalidInput(f"Your work cannot be kept while you wait: {error}") from error

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]:
        if self._box is None:
            raise AdapterError(Failure.PERMANENT, "The sandbox is closed.")
        if handoff.split and self._settling:
            return ["A conflict is settled whole: it cannot be split."]
        if handoff.split:
            return proposal_problems(self._attempt.subtask, handoff.split)
        return self._inspection.object_to(handoff, self._box, self._cancellation)


def _ended_by(error: AdapterError | InvalidInput, head_sha: str) -> Ending:
    failure = error.kind if isinstance(error, AdapterError) else Failure.PERMANENT
    if isinstance(error, OutOfTime):
        return Ending(AttemptStatus.TIMED_OUT, str(error), head_sha)
    if isinstance(error, OverBudget):
        return Ending(AttemptStatus.CANCELLED, str(error), head_sha, failure=failure)
    if failure is Failure.CANCELLED:
        return Ending(AttemptStatus.LOST, str(error), head_sha)
    return Ending(AttemptStatus.FAILED, str(error), head_sha, failure=failure)

"""Runs one gate: the repository's checks on a candidate, in a pooled workspace in the sandbox. It decides nothing."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box
from orchestration.adapters.secrets import clean
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import CheckResult
from orchestration.domain.merging import aside_s
from orchestration.domain.states import GateStatus, SwarmStatus
from orchestration.models import Artifact, GateRun, Repository, Swarm
from orchestration.stages.leases import heartbeat, lease_end, new_token, release_connection
from orchestration.stages.transition import Moves, Superseded, moves

logger = logging.getLogger(__name__)
LOG = "gate_log"
TAIL_CHARACTERS = 4000
GONE = "The process that ran it is gone."


@dataclass(frozen=True, slots=True)
class Verdict:
    status: GateStatus
    reason: str = ""
    results: tuple[CheckResult, ...] = ()

    @property
    def log(self) -> str:
        return "\n".join(f"$ {one.command}\n{one.output.rstrip()}\n[{one.ending}]\n" for one in self.results)


def definition_of(repository: Repository) -> str:
    """What a verdict is about beside the files: it holds for these commands on these terms and no others."""
    terms = [repository.checks, repository.check_timeout_s, repository.network]
    return hashlib.sha256(json.dumps(terms).encode()).hexdigest()


def gate(run_id: int) -> None:
    """Does nothing unless the run waits for a worker. Whatever goes wrong with the machine is no verdict."""
    run = GateRun.objects.select_related("swarm__repository").filter(pk=run_id).first()
    if run is None or not _claim(run):
        return
    with heartbeat.keep(run) as cancellation:
        verdict = _verdict(run, cancellation)
    _record(run, verdict)


def lose(run: GateRun) -> None:
    """Its lease ran out. Nobody is blamed, and the merge queue has it run again."""
    _record(run, Verdict(GateStatus.INFRA, GONE))


def _claim(run: GateRun) -> bool:
    if run.status != GateStatus.WAITING or run.swarm.status == SwarmStatus.CANCELLED:
        return False
    if definition_of(run.swarm.repository) != run.definition:
        return _move(run, GateStatus.CANCELLED, "The repository's checks were changed.") and False
    return _move(
        run,
        GateStatus.RUNNING,
        lease_token=new_token(),
        lease_expires_at=lease_end(),
        started_at=timezone.now(),
    )


def _move(run: GateRun, to: GateStatus, reason: str = "", **fields: Any) -> bool:
    try:
        with moves(run.swarm) as together:
            together.advance(run, to, reason=reason, **fields)
    except Superseded:
        return False
    return True


def _verdict(run: GateRun, cancellation: Cancellation) -> Verdict:
    repository = run.swarm.repository
    release_connection()
    try:
        pool = storage.workspace_pool(repository.public_id)
        sandbox = storage.sandbox_for(demo=repository.is_demo)
        workspace = pool.acquire(run.commit)
        try:
            with sandbox.open(workspace.path, network=repository.network) as box:
                results = _results(box, repository, cancellation)
        finally:
            pool.release(workspace)
    except (AdapterError, InvalidInput, OSError) as error:
        if cancellation.is_set:
            return Verdict(GateStatus.CANCELLED, str(error))
        return Verdict(GateStatus.INFRA, str(error))
    red = next((one for one in results if not one.passed), None)
    if red is None:
        return Verdict(GateStatus.GREEN, results=results)
    return Verdict(GateStatus.RED, f"`{red.command}` is red ({red.ending}).", results)


def _results(box: Box, repository: Repository, cancellation: Cancellation) -> tuple[CheckResult, ...]:
    """Every command: whoever is told of a red wants them all. Raises AdapterError where one came to no end."""
    results = []
    for command in repository.checks:
        ran = box.run(command, timeout_s=repository.check_timeout_s, cancellation=cancellation)
        limit = f"killed after {repository.check_timeout_s} s" if ran.timed_out else ran.limit
        if ran.exit_code is None and not limit:
            raise AdapterError(Failure.TRANSIENT, f"`{command}` was killed, and not by us.")
        results.append(CheckResult(command, ran.exit_code, clean(ran.output), ran.duration_ms, limit))
    return tuple(results)


def _record(run: GateRun, verdict: Verdict) -> None:
    """The verdict with its evidence; what comes too late, for the lease was lost, is nobody's."""
    try:
        log = _kept_log(verdict.log)
    except AdapterError as error:
        verdict, log = Verdict(GateStatus.INFRA, f"Its log could not be kept: {error}"), {}
    try:
        with moves(run.swarm) as together:
            _write(together, run, verdict, log)
    except Superseded:
        logger.info("Gate %s was cancelled or taken over while it ran.", run.public_id)


def _write(together: Moves, run: GateRun, verdict: Verdict, log: dict[str, Any]) -> None:
    together.advance(
        run,
        verdict.status,
        reason=verdict.reason,
        lease=run.lease_token,
        results=_told(verdict.results),
        duration_ms=sum(one.duration_ms for one in verdict.results),
        **log,
    )
    if verdict.status is GateStatus.RED:
        _publish_log(run)
    swarm = Swarm.objects.filter(pk=run.swarm_id)
    if verdict.status is GateStatus.INFRA:
        failures = swarm.values_list("gate_failures", flat=True).get()
        until = timezone.now() + timedelta(seconds=aside_s(failures))
        swarm.update(gate_failures=F("gate_failures") + 1, gate_not_before=until)
    elif verdict.status is not GateStatus.CANCELLED:
        swarm.update(gate_failures=0, gate_not_before=None)


def _kept_log(log: str) -> dict[str, Any]:
    if not log:
        return {}
    raw = log.encode()
    return {"log_tail": log[-TAIL_CHARACTERS:], "log_sha256": storage.blobs().put(raw), "log_size": len(raw)}


def _publish_log(run: GateRun) -> None:
    """What a person has to read: a download like everything else that a swarm made."""
    Artifact.objects.create(
        swarm=run.swarm,
        type=LOG,
        name=f"gate-{run.public_id}.log",
        mime="text/plain",
        sha256=run.log_sha256,
        size=run.log_size,
    )


def _told(results: Sequence[CheckResult]) -> list[dict[str, Any]]:
    return [
        {"command": one.command, "passed": one.passed, "ending": one.ending, "duration_ms": one.duration_ms}
        for one in results
    ]

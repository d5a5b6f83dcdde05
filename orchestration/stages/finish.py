"""The swarm's end: the repository's checks on the result, the branch put where it can be seen, the outcome."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from django.db.models import Q

from orchestration.adapters import storage
from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.handoffs import CheckResult
from orchestration.domain.outcome import Outcome, outcome
from orchestration.domain.publishing import Landing
from orchestration.domain.states import (
    ENTRY_OPEN,
    PUBLICATION_OPEN,
    SUBTASK_LOST,
    SWARM_OVER,
    EntryStatus,
    PublicationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import CheckRun, Publication, Swarm
from orchestration.models.figures import statistics_of
from orchestration.stages import publish
from orchestration.stages.inspection import run_checks
from orchestration.stages.keeping import keep_checks
from orchestration.stages.leases import heartbeat, hold, release_connection
from orchestration.stages.prepare import address_of
from orchestration.stages.publish import Outward
from orchestration.stages.rows import status_by_name, store_of
from orchestration.stages.taking import REVERT, TARGET
from orchestration.stages.tell import expire_in
from orchestration.stages.transition import Superseded, moves, note

logger = logging.getLogger(__name__)


def finish(swarm_id: int) -> None:
    """Does nothing unless the swarm's end is due and its queue is empty. A crash half-way repeats it harmlessly."""
    swarm = Swarm.objects.select_related("repository").get(pk=swarm_id)
    if not _is_due(swarm):
        return
    with hold(lease_name(swarm)) as lease:
        swarm.refresh_from_db()
        if lease is None or not _is_due(swarm):  # whoever had the lease has ended it
            return
        with heartbeat.keep_lease(lease) as cancellation:
            try:
                _finish(swarm, cancellation)
            except AdapterError as error:  # only a cancel: every other one is part of the outcome
                logger.info("The end of swarm %s was given up: %s", swarm.public_id, error)


def lease_name(swarm: Swarm) -> str:
    return f"finish:{swarm.pk}"


def _is_due(swarm: Swarm) -> bool:
    """At the end of the work; and after the swarm's own end while something of it is still to land outward."""
    if swarm.status != SwarmStatus.FINALIZING:
        open_ones = Publication.objects.filter(swarm=swarm, status__in=PUBLICATION_OPEN)
        if swarm.status not in SWARM_OVER or not open_ones.exists():
            return False
    if swarm.status == SwarmStatus.CANCELLED:
        return True
    return not swarm.merge_entries.filter(status__in=ENTRY_OPEN).exists() and not publish.rests(swarm)


def _finish(swarm: Swarm, cancellation: Cancellation) -> None:
    if swarm.status == SwarmStatus.CANCELLED:
        publish.give_up(swarm, cancellation)
        return
    while True:
        checks = _check(swarm, cancellation)
        cancellation.check()
        landed = swarm.merge_entries.filter(status=EntryStatus.LANDED).count()
        reasons = dict(swarm.subtasks.values_list("name", "status_reason"))
        end = outcome(_planned(swarm), landed, checks, swarm.planning_error, reasons)
        step, kept = _outward(swarm, end, landed, cancellation)
        if step is Outward.LATER:
            return
        if step is Outward.DONE:
            break
    trouble = _publish(swarm) if landed else ""
    if swarm.status == SwarmStatus.FINALIZING:
        _end(swarm, end, trouble, kept)


def _planned(swarm: Swarm) -> dict[str, SubtaskStatus]:
    """What became of the plan. Of what others pushed, the publication tells; and what was not taken back of a swarm
    that had ended leaves its end as it was."""
    ours = Q(origin=TARGET)
    if swarm.stats:
        ours |= Q(origin=REVERT, status__in=SUBTASK_LOST)
    others = set(swarm.subtasks.filter(ours).values_list("name", flat=True))
    return {name: status for name, status in status_by_name(swarm).items() if name not in others}


def _outward(swarm: Swarm, end: Outcome, landed: int, cancellation: Cancellation) -> tuple[Outward, str]:
    """With the sentence why the result stays here, where it does."""
    landing = publish.landing_of(swarm)
    if landing is Landing.NONE or not landed:
        return Outward.DONE, ""
    green = end.status is SwarmStatus.SUCCEEDED
    if landing is Landing.DIRECT and not green:
        return Outward.DONE, publish.hold_back(swarm)
    step = publish.land_outward(swarm, publish.Result(swarm.head_sha, green=green), cancellation)
    swarm.refresh_from_db()
    row = publish.publication_of(swarm)
    return step, row.status_reason if row and row.status == PublicationStatus.CANCELLED else ""


def _check(swarm: Swarm, cancellation: Cancellation) -> Sequence[CheckResult]:
    """The repository's checks on the branch as it is now; one that cannot be run is red, never left out."""
    commands = swarm.repository.checks
    if not commands:
        return ()
    if known := _known_green(swarm):
        return known
    pool = storage.workspace_pool(swarm.repository.public_id)
    sandbox = storage.sandbox_for(demo=swarm.repository.is_demo)
    release_connection()
    try:
        workspace = pool.acquire(swarm.head_sha)
        try:
            with sandbox.open(workspace.path, network=swarm.repository.network) as box:
                results: Sequence[CheckResult] = run_checks(
                    box, commands, most_s=lambda: swarm.repository.check_timeout_s, cancellation=cancellation
                )
        finally:
            pool.release(workspace)
    except (AdapterError, InvalidInput) as error:
        cancellation.check()
        results = [CheckResult(command, None, str(error), 0, limit=str(error)) for command in commands]
    _record(swarm, results)
    keep_checks(swarm, None, results)
    return results


def _known_green(swarm: Swarm) -> tuple[CheckResult, ...]:
    """What passed on exactly this commit is not run again while the result waits to land outward."""
    runs = swarm.check_runs.filter(attempt=None, sha=swarm.head_sha).order_by("pk")
    latest = {run.command: run for run in runs}
    if not all(command in latest and latest[command].passed for command in swarm.repository.checks):
        return ()
    rows = [latest[command] for command in swarm.repository.checks]
    return tuple(CheckResult(row.command, row.exit_code, row.output, row.duration_ms) for row in rows)


def _record(swarm: Swarm, results: Sequence[CheckResult]) -> None:
    with moves(swarm) as together:
        for one in results:
            CheckRun.objects.create(
                swarm=swarm,
                sha=swarm.head_sha,
                command=one.command,
                passed=one.passed,
                exit_code=one.exit_code,
                output=one.output,
                duration_ms=one.duration_ms,
            )
            together.record("swarm.checked", command=one.command, passed=one.passed, ending=one.ending)


def _publish(swarm: Swarm) -> str:
    """Puts the branch into the requester's own repository where that is a local path; the sentence of what failed."""
    try:
        address = address_of(swarm.repository)
        if address.kind != "local":
            return ""
        store_of(swarm).publish(Path(address.url), swarm.branch, swarm.head_sha)
    except (AdapterError, InvalidInput) as error:
        logger.warning("Swarm %s was not published: %s", swarm.public_id, error)
        return f"The branch {swarm.branch} could not be put into {swarm.repository.url}: {error}"
    note(swarm, "swarm.published", branch=swarm.branch, where=address.url, head=swarm.head_sha)
    return ""


def _end(swarm: Swarm, end: Outcome, trouble: str, kept: str) -> None:
    status = end.status
    if trouble and status is SwarmStatus.SUCCEEDED:
        status = SwarmStatus.PARTLY_SUCCEEDED
    reason = " ".join(part for part in (end.reason, trouble, kept) if part)
    try:
        with moves(swarm) as together:
            stats = swarm.stats or statistics_of(swarm)  # what was taken back later is no part of the work
            together.advance(swarm, status, reason=reason, verified=end.verified, stats=stats)
    except Superseded:
        logger.info("Swarm %s was ended by somebody else.", swarm.public_id)
    expire_in(swarm)

"""Takes in what others pushed to the target meanwhile: an ordinary entry of the merge queue, with its gates."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.domain.publishing import Trouble
from orchestration.domain.states import SUBTASK_LOST, SWARM_OVER, AttemptStatus, SubtaskStatus, SwarmStatus
from orchestration.models import Attempt, MergeEntry, Publication, Subtask, Swarm
from orchestration.stages.inspection import PIN
from orchestration.stages.leases import new_token
from orchestration.stages.rows import store_of
from orchestration.stages.transition import Moves, moves, status_of

TARGET, REVERT = "target", "revert"
INSTRUCTION = (
    "Others pushed to {target} while this swarm was at work: it stands at {tip} now. Bring their changes and this "
    "swarm's together. Keep what both meant."
)


def taken_in(swarm: Swarm, publication: Publication, tip: str) -> Subtask:
    """The subtask that lands `tip`, made where there is none yet; what was to land an older one is not needed."""
    there = swarm.subtasks.filter(origin=TARGET, attempts__head_sha=tip).order_by("pk").last()
    anew = publication.trouble == Trouble.CONFLICT  # it came to nothing before, and a person wants it tried again
    if there and not (anew and status_of(there) in SUBTASK_LOST):
        return there
    subtask = Subtask(
        swarm=swarm,
        name=free_name(swarm, "take-in"),
        instruction=INSTRUCTION.format(target=publication.target, tip=tip),
        origin=TARGET,
        priority=1,
    )
    queue_commit(subtask, head=tip, reason=f"{publication.target} has moved to {tip[:8]}.", instead_of=failed(swarm))
    Publication.objects.filter(pk=publication.pk).update(trouble="")
    return subtask


def failed(swarm: Swarm) -> list[Subtask]:
    return list(swarm.subtasks.filter(origin=TARGET, status__in=[SubtaskStatus.CONFLICT, SubtaskStatus.FAILED]))


def queue_commit(
    subtask: Subtask,
    *,
    head: str,
    reason: str,
    reverts: Sequence[Subtask] = (),
    instead_of: Sequence[Subtask] = (),
) -> None:
    """A subtask of ours, whose commit is there already: its one attempt is over before it is seen. A swarm that is over
    opens again for it."""
    swarm = subtask.swarm
    subtask.iteration = swarm.iterations.filter(parent=None).latest("number")
    attempt = Attempt(number=1, base_sha=swarm.base_sha, head_sha=head)
    store_of(swarm).pin(PIN, attempt.public_id, head)
    with moves(swarm) as together:
        for old in instead_of:
            together.advance(old, SubtaskStatus.CANCELLED, reason=reason)
        subtask.save()
        subtask.reverts.set(reverts)
        together.created(subtask)
        attempt.subtask = subtask
        attempt.save()
        together.created(attempt)
        _hand_off(together, subtask, attempt, reason)
        entry = MergeEntry(swarm=swarm, subtask=subtask, attempt=attempt, head_sha=head, priority=subtask.priority)
        entry.save()
        together.created(entry)
        if status_of(swarm) in SWARM_OVER:
            together.advance(swarm, SwarmStatus.FINALIZING, reason=reason)


def _hand_off(together: Moves, subtask: Subtask, attempt: Attempt, reason: str) -> None:
    together.advance(subtask, SubtaskStatus.ASSIGNED, reason=reason)
    together.advance(attempt, AttemptStatus.RUNNING, reason=reason, lease_token=new_token())
    together.advance(subtask, SubtaskStatus.RUNNING, reason=reason)
    together.advance(attempt, AttemptStatus.COMPLETE, reason=reason)
    together.advance(subtask, SubtaskStatus.HANDED_OFF, reason=reason)


def free_name(swarm: Swarm, wanted: str) -> str:
    """That name, or the first of it with a number that no subtask has."""
    wanted = wanted[:45].rstrip("-")
    taken = set(swarm.subtasks.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (wanted, *numbered) if name not in taken)

"""What a person does about a conflict that no agent could settle: guides the agent, settles it, or gives it up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from orchestration.adapters.git.runner import shown
from orchestration.adapters.git.settling import GONE, OURS, THEIRS, sides_of, union, with_entries
from orchestration.adapters.git.values import Person, Staged
from orchestration.adapters.secrets import clean, redactor
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.handoffs import Claim
from orchestration.domain.resolving import Rung, Step
from orchestration.domain.rights import Action
from orchestration.domain.states import AttemptStatus, EntryStatus, SubtaskStatus
from orchestration.domain.steering import said
from orchestration.models import Attempt, Handoff, MergeEntry, User
from orchestration.stages.handoff import enqueue
from orchestration.stages.inspection import COMMITTER, PIN
from orchestration.stages.leases import lease_end, new_token
from orchestration.stages.resolution import Settling
from orchestration.stages.resolve import climb, put_back
from orchestration.stages.rows import store_of
from orchestration.stages.transition import Superseded, moves

CHANGED = "It changed in this moment; look again."
MAX_TEXT = 1_000_000  # characters of a file that is edited in the page
_MARKER = re.compile(r"^(<<<<<<<|>>>>>>>)( |$)", re.MULTILINE)
_FILES = frozenset({"100644", "100755"})


class Take(StrEnum):
    OURS = "ours"  # what landed
    THEIRS = "theirs"  # what is to land
    BOTH = "both"  # where they conflict, the lines of what landed and then of what is to land
    EDITED = "edited"


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one path."""

    take: Take
    text: str = ""


def guide(entry: MergeEntry, person: User, text: str) -> None:
    """Its agent tries once more, and is told this."""
    _require(entry, person)
    words = str(clean(said(text, "message")))
    step = Step(Rung.CONTINUED, f"In conflict: the subtask's agent tries again, as {person.username} told it.")
    try:
        with moves(entry.swarm) as together:
            climb(entry, step, together, guidance=words)
    except Superseded:
        raise InvalidInput(CHANGED) from None


def give_up(entry: MergeEntry, person: User) -> None:
    """Its work does not land. It stays pinned, and the planner hears of it."""
    _require(entry, person)
    reason = f"Its conflict was given up by {person.username}."
    try:
        with moves(entry.swarm) as together:
            together.advance(entry, EntryStatus.REJECTED, reason=reason)
            together.advance(entry.subtask, SubtaskStatus.FAILED, reason=reason)
    except Superseded:
        raise InvalidInput(CHANGED) from None


def settle(entry: MergeEntry, person: User, choices: Mapping[str, Choice]) -> None:
    """Every path as the person says, everything else as git merged it: back to its place in the queue."""
    _require(entry, person)
    swarm = entry.swarm
    settling = Settling(entry, store_of(swarm).tip(swarm.branch) or swarm.head_sha)
    try:
        if settling.is_settled:  # the branch has moved, and nothing is left to say
            put_back(entry)
            return
        commit = _commit(settling, person, choices)
        resolved = settling.resolved(commit)
        attempt = Attempt(agent=person.username, base_sha=settling.tip, resolves=entry, rung=Rung.PERSON)
        settling.store.pin(PIN, attempt.public_id, commit)
    except Superseded:
        raise InvalidInput(CHANGED) from None
    except AdapterError as error:
        raise InvalidInput(f"It could not be settled: {error}") from error
    try:
        _record(settling, attempt, commit, resolved)
    except Superseded:
        raise InvalidInput(CHANGED) from None


def _commit(settling: Settling, person: User, choices: Mapping[str, Choice]) -> str:
    entry, store = settling.entry, settling.store
    sides = sides_of(settling.conflict) if settling.conflict else {}
    if strange := sorted(choices.keys() - {shown(path) for path in settling.settlement.left}):
        raise InvalidInput(f"{strange[0]} does not conflict: look again.")
    put = {path: _entry(settling, shown(path), sides[path], choices) for path in settling.settlement.left}
    tree = with_entries(store, settling.settlement.tree, put) if put else settling.settlement.tree
    commit = store.commit(
        tree,
        (settling.tip, entry.head_sha),
        f"Settle the conflict of {entry.subtask.name}\n",
        author=Person(person.username, person.email or "people@localhost"),
        committer=COMMITTER,
        when=timezone.now(),
    )
    if strayed := settling.strays(commit):
        raise InvalidInput(f"What git did in {', '.join(strayed[:5])} cannot be settled here: guide the agent instead.")
    return commit


def _entry(settling: Settling, path: str, sides: Mapping[int, Staged], choices: Mapping[str, Choice]) -> str:
    choice = choices.get(path)
    if choice is None:
        raise InvalidInput(f"Say what becomes of {path}: it conflicts as well.")
    if choice.take is Take.BOTH:
        return _both(settling, path, sides)
    if choice.take is not Take.EDITED:
        side = sides.get(OURS if choice.take is Take.OURS else THEIRS)
        return f"{side.mode} {side.blob}" if side else GONE
    text = _as_before(settling, sides, choice.text.replace("\r\n", "\n"))
    _check(path, text)
    modes = [sides[number].mode for number in (OURS, THEIRS) if number in sides and sides[number].mode in _FILES]
    return f"{modes[0] if modes else '100644'} {settling.store.write_object('blob', text.encode())}"


def _as_before(settling: Settling, sides: Mapping[int, Staged], text: str) -> str:
    """A browser sends every line's end in its own way: they become what they were on both sides."""
    contents = settling.store.blobs([sides[number].blob for number in (OURS, THEIRS) if number in sides])
    return text.replace("\n", "\r\n") if all(b"\r\n" in content for content in contents) else text


def _both(settling: Settling, path: str, sides: Mapping[int, Staged]) -> str:
    entry = union(settling.store, sides)
    if entry is None:
        raise InvalidInput(f"{path} is no text on both sides, so the lines of both cannot be taken.")
    return entry


def _check(path: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"{path} has more than {MAX_TEXT:,} characters: guide the agent instead.")
    if _MARKER.search(text):
        raise InvalidInput(f"Conflict markers stand in {path}.")
    if redactor().is_in(text.encode()):
        raise InvalidInput(f"{path} holds a secret of this server, plain or encoded: take it out.")


def _record(settling: Settling, attempt: Attempt, commit: str, resolved: list[dict[str, str]]) -> None:
    """An attempt like any other, whose agent is the person."""
    subtask = settling.entry.subtask
    with moves(settling.entry.swarm) as together:
        together.advance(subtask, SubtaskStatus.HANDED_OFF)
        attempt.subtask, attempt.number, attempt.started_at = subtask, subtask.attempts.count() + 1, timezone.now()
        attempt.save()
        together.created(attempt)
        together.advance(attempt, AttemptStatus.RUNNING, lease_token=new_token(), lease_expires_at=lease_end())
        reason = f"{attempt.agent} settled the conflict."
        together.advance(attempt, AttemptStatus.COMPLETE, reason=reason, head_sha=commit)
        _hand_off(settling, attempt, reason)
        enqueue(attempt, commit, resolved, together)


def _hand_off(settling: Settling, attempt: Attempt, reason: str) -> None:
    stat = settling.store.diffstat(attempt.base_sha, attempt.head_sha)
    Handoff.objects.create(
        attempt=attempt,
        status=Claim.COMPLETE,
        summary=reason,
        files_changed=[file.path for file in stat.files],
        insertions=stat.insertions,
        deletions=stat.deletions,
    )


def _require(entry: MergeEntry, person: User) -> None:
    if not person.may(Action.STEER, entry.swarm.repository.team):
        raise InvalidInput("Only members of the repository's team may settle its conflicts.")
    if entry.status != EntryStatus.CONFLICT or entry.subtask.status != SubtaskStatus.CONFLICT:
        raise InvalidInput(f"{entry.subtask.name} is {entry.subtask.status.replace('_', ' ')}; nothing is to settle.")

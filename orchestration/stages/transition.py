"""The only writer of a status. The domain's table says whether a change may be, a conditional UPDATE says
whether we are the one, and its event is written in the same transaction with the swarm's next `seq`.

Rows are locked item first, swarm last: so the events of a transaction are numbered at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Cast
from django.utils import timezone

from orchestration.adapters import live, queue
from orchestration.adapters.secrets import clean
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.events import BOARD_GROUP, KINDS, NUDGES, Stage, draft_group, group_of, kind_of
from orchestration.domain.states import (
    ENTRY_OPEN,
    PUBLICATION_OPEN,
    SUBTASK_SETTLED,
    SWARM_OVER,
    AttemptStatus,
    DeliveryStatus,
    EntryStatus,
    GateStatus,
    IterationStatus,
    PublicationStatus,
    QuestionStatus,
    Status,
    SubtaskStatus,
    SwarmStatus,
    is_final,
    require,
)
from orchestration.models import (
    Attempt,
    Delivery,
    Event,
    GateRun,
    MergeEntry,
    PlanIteration,
    Publication,
    Question,
    Subtask,
    Swarm,
)
from orchestration.models.prepared import PreparedUpdate, insert
from orchestration.stages.due import may_be_due

PLAIN = (str, int, datetime)  # what a prepared statement takes; it gets JSON as its text
MAX_FACT = 1000  # characters of people's and agents' words in an event
Row = Swarm | Subtask | Attempt | MergeEntry | GateRun | Publication | PlanIteration | Delivery | Question

_KIND: Mapping[type[models.Model], type[Status]] = {
    Swarm: SwarmStatus,
    Subtask: SubtaskStatus,
    Attempt: AttemptStatus,
    MergeEntry: EntryStatus,
    GateRun: GateStatus,
    Publication: PublicationStatus,
    PlanIteration: IterationStatus,
    Delivery: DeliveryStatus,
    Question: QuestionStatus,
}

_count = PreparedUpdate(
    lambda pk, more: (Swarm.objects.filter(pk=pk), {"last_seq": F("last_seq") + more}), tells="last_seq"
)


class Superseded(SwarmsiteError):
    """Somebody else changed the row first; the whole transaction was rolled back."""


class Moves:
    """Changes that happen together or not at all. Made by `moves`, never directly."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._nudges: dict[tuple[Stage, int], None] = {}

    def advance(self, row: Row, to: Status, *, reason: str = "", lease: str | None = None, **fields: Any) -> None:
        """Raises Superseded where `row` is no longer as it was read, or `lease` is no longer its token."""
        old, reason = status_of(row), clean(reason)
        require(old, to)
        fields = clean(fields) | {"status": to.value, "status_reason": reason} | _ending(row, to)
        if _change(row, old, lease, fields) != 1:
            raise Superseded(f"{row} is no longer {old}.")
        for name, value in fields.items():
            setattr(row, name, value)
        self._note(row, kind_of(to), {"from": old.value, "reason": reason})

    def created(self, row: Row) -> None:
        """The first event of a row that was just saved."""
        self._note(row, kind_of(status_of(row)), {})

    def record(self, kind: str, **facts: Any) -> None:
        """An event that is no status change."""
        if kind not in KINDS:
            raise ValueError(f"{kind} is no event of domain/events.py.")
        self._events.append((kind, clean(facts)))
        self._wake(kind, self._swarm)

    def _note(self, row: Row, kind: str, facts: dict[str, Any]) -> None:
        self._events.append((kind, _identity(row) | facts))
        self._wake(kind, row)

    def _wake(self, kind: str, row: Row) -> None:
        for stage in NUDGES.get(kind, ()):
            own = {Stage.EXECUTE: row.pk, Stage.GATE: row.pk, Stage.SUBPLAN: _waits_for_parts(row)}
            whom = own.get(stage, self._swarm.pk)
            if whom is not None:
                self._nudges[stage, whom] = None

    def write(self) -> None:
        """Numbers and stores the events; the swarm's row is locked from here to the commit."""
        if not self._events:
            return
        [last] = _count.told(pk=self._swarm.pk, more=len(self._events))
        first = last - len(self._events) + 1
        insert(
            [
                Event(swarm=self._swarm, seq=first + offset, kind=kind, facts=facts)
                for offset, (kind, facts) in enumerate(self._events)
            ]
        )

        def tell() -> None:  # no partial: Django's log of a hook that fails asks for its name
            _tell(self._swarm, last, tuple(self._nudges))

        transaction.on_commit(tell, robust=True)


def _change(row: Row, old: Status, lease: str | None, fields: dict[str, Any]) -> int:
    model = type(row)
    as_text = {name: json.dumps(fields[name]) for name in _jsons[model] & fields.keys() if fields[name] is not None}
    written = fields | as_text
    if all(value is None or type(value) in PLAIN for value in written.values()):
        return _changes[model](pk=row.pk, was=old.value, held=lease, **written)
    return _still(model, row.pk, old.value, lease).update(**fields)


def _still(model: type[models.Model], pk: int, was: str, held: str | None) -> models.QuerySet[Any]:
    """The row, if it is as it was read and the lease is still its holder's."""
    rows = model._default_manager.filter(pk=pk, status=was)  # noqa: SLF001 - Django's own name
    return rows if held is None else rows.filter(Q(("lease_token", held)))


def _changes_of(model: type[models.Model]) -> PreparedUpdate:
    def build(pk: int, was: str, held: str | None, **written: Any) -> tuple[models.QuerySet[Any], dict[str, Any]]:
        as_json = {name: Cast(Value(written[name]), models.JSONField()) for name in _jsons[model] & written.keys()}
        return _still(model, pk, was, held), written | as_json

    return PreparedUpdate(build)


def _jsons_of(model: type[models.Model]) -> frozenset[str]:
    fields = model._meta.concrete_fields  # noqa: SLF001 - Django's own name
    return frozenset(field.name for field in fields if isinstance(field, models.JSONField))


_changes = {model: _changes_of(model) for model in _KIND}
_jsons = {model: _jsons_of(model) for model in _KIND}


@contextmanager
def moves(swarm: Swarm) -> Iterator[Moves]:
    """One transaction of changes in one swarm. Superseded and every other error roll all of it back."""
    with transaction.atomic():
        together = Moves(swarm)
        yield together
        together.write()


def advance(swarm: Swarm, row: Row, to: Status, **how: Any) -> bool:
    """One change alone; False where somebody else got there first."""
    try:
        with moves(swarm) as together:
            together.advance(row, to, **how)
    except Superseded:
        return False
    return True


def note(swarm: Swarm, kind: str, **facts: Any) -> None:
    """One event alone."""
    with moves(swarm) as together:
        together.record(kind, **facts)


def look_again(swarm: Swarm, stage: Stage) -> None:
    """A nudge without an event: for what is nothing that a log should tell."""
    queue.nudge(stage, swarm.pk)


def progressed(swarm: Swarm) -> None:
    """Figures moved without an event: open pages look again."""
    live.announce(group_of(swarm.public_id), swarm.last_seq)


def speak(subtask_id: str, attempt: int, text: str) -> None:
    """To the open pages of a subtask: what its model says at the moment. It is no fact, and nobody keeps it."""
    live.say(draft_group(subtask_id), attempt, text)


def status_of(row: Row) -> Status:
    return _KIND[type(row)](row.status)


def _waits_for_parts(row: Row) -> int | None:
    """Whose subplan is to be looked at when this row changed."""
    if isinstance(row, Subtask) and row.status == SubtaskStatus.WAITING:
        return row.pk
    return row.parent_id if isinstance(row, Subtask | PlanIteration) else None


def _tell(swarm: Swarm, seq: int, nudges: tuple[tuple[Stage, int], ...]) -> None:
    for stage, row_id in nudges:
        if may_be_due(stage, swarm):
            queue.nudge(stage, row_id)
    live.announce(group_of(swarm.public_id), seq)
    live.announce(BOARD_GROUP, seq)


def _ending(row: Row, to: Status) -> dict[str, Any]:
    """When it was over; a row that comes back to life is not over any more."""
    over = to in SUBTASK_SETTLED if isinstance(to, SubtaskStatus) else is_final(to)
    if isinstance(to, SwarmStatus):
        over = to in SWARM_OVER
    if isinstance(to, EntryStatus):
        over = to not in ENTRY_OPEN
    if isinstance(to, PublicationStatus):
        over = to not in PUBLICATION_OPEN
    return {"finished_at": timezone.now() if over else None}


def _identity(row: Row) -> dict[str, Any]:
    """Facts enough to find the row in a replay, and its name for people."""
    match row:
        case Swarm() | Subtask():
            return {"id": row.public_id} | ({"name": row.name} if isinstance(row, Subtask) else {})
        case Attempt():
            return {
                "id": row.public_id,
                "number": row.number,
                "subtask": row.subtask.public_id,
                "name": row.subtask.name,
            }
        case MergeEntry():
            return {"id": row.public_id} | _subtask_facts(row.subtask)
        case GateRun() | PlanIteration():
            return _run_facts(row)
        case Publication():
            return {"id": row.public_id, "mode": row.mode, "target": row.target, "commit": row.new}
        case Delivery() | Question():
            return _spoken_facts(row)


def _run_facts(row: GateRun | PlanIteration) -> dict[str, Any]:
    if isinstance(row, PlanIteration):
        return {"number": row.number}
    return {"id": row.public_id, "commit": row.commit, "entries": row.entries}


def _spoken_facts(row: Delivery | Question) -> dict[str, Any]:
    if isinstance(row, Question):
        answered = {"answer": row.answer[:MAX_FACT], "by": row.answered_by.username} if row.answered_by else {}
        return {"id": row.public_id, "text": row.text[:MAX_FACT], "options": row.options} | answered
    return {"id": row.message.public_id} | (_subtask_facts(row.subtask) if row.subtask else {})


def _subtask_facts(subtask: Subtask) -> dict[str, Any]:
    return {"subtask": subtask.public_id, "name": subtask.name}

"""A process that dies between any two steps of a resolution: the next one goes on, and it lands once, as was settled.

The steps are those of `bench crash`, which kills real processes at each of them; here the tightest, on every database.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.events import Stage
from orchestration.domain.states import EntryStatus
from orchestration.management.bench.settling import STEPS
from orchestration.management.bench.stops import At, Stop
from orchestration.models import Attempt, MergeEntry, Swarm
from orchestration.stages.maintain import maintain
from orchestration.stages.mediate import Choice, Take, settle
from orchestration.stages.rows import store_of
from orchestration.stages.tick import take_over
from orchestration.stages.transition import Moves
from tests.stages.test_mediate import again, stuck
from tests.stages.test_merge import content
from tests.stages.test_merge_crashes import Killed, dying
from tests.stages.test_resolve import BOTH, in_conflict, tries
from tests.stages.world import Model, Nudges, World, hand_off, statuses, write

TIGHTEST = ["R2 decision half written", "R4 claimed", "R6 committed", "R7 pinned", "R8 hand-off half written"]


def kill_at(stop: Stop, patch: pytest.MonkeyPatch) -> None:
    if isinstance(stop, At):
        patch.setattr(stop.owner, stop.name, dying(getattr(stop.owner, stop.name), stop.when))
        return
    real = Moves.advance

    def advance(self: Moves, row: Any, to: Any, **how: Any) -> None:
        real(self, row, to, **how)
        if to is stop:
            raise Killed

    patch.setattr(Moves, "advance", advance)


def audit(swarm: Swarm, settled: str) -> None:
    """Landed once, as it was settled, in the place of its conflict, with nobody left at work."""
    assert statuses(swarm) == {"first": "complete", "second": "complete"}
    assert content(swarm, "a.txt") == settled
    assert content(swarm, "second.txt") == "by second\n"
    own = MergeEntry.objects.filter(subtask__name="second").order_by("pk")
    assert [entry.status for entry in own] == ["superseded", "landed"]
    assert own[1].enqueued_at == own[0].enqueued_at
    swarm.refresh_from_db()
    landings = [name for _, name in store_of(swarm).trailers(swarm.base_sha, swarm.head_sha, "MQ-Request")]
    assert sorted(landings) == sorted(MergeEntry.objects.filter(status="landed").values_list("public_id", flat=True))
    assert not Attempt.objects.filter(status__in=["assigned", "running"]).exists()


@pytest.mark.parametrize("step", TIGHTEST)
def test_a_crash_at_any_step_of_an_agents_resolution_is_gone_on_from(
    world: World, model: Model, nudges: Nudges, monkeypatch: pytest.MonkeyPatch, step: str
):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    with monkeypatch.context() as crash:
        kill_at(STEPS[step], crash)
        nudges(Stage.MERGE, swarm.pk)
        with pytest.raises(Killed):
            nudges.run()
    nudges.take()  # its messages died with it
    Attempt.objects.update(created_at=F("created_at") - timedelta(minutes=1))  # what nobody claimed is not new any more
    take_over()
    nudges.run()
    audit(swarm, BOTH)
    assert [ending for _, ending in tries()] in (["complete"], ["lost", "complete"])


@pytest.mark.parametrize(
    "stop",
    [At("after", BareRepository, "pin"), EntryStatus.SUPERSEDED],
    ids=["pinned", "half recorded"],
)
def test_a_crash_while_a_person_settles_it_leaves_the_conflict_for_another_try(
    world: World, model: Model, nudges: Nudges, monkeypatch: pytest.MonkeyPatch, stop: Stop
):
    swarm, entry = stuck(world, model, nudges)
    with monkeypatch.context() as crash:
        kill_at(stop, crash)
        with pytest.raises(Killed):
            settle(entry, world.ada, {"a.txt": Choice(Take.EDITED, BOTH)})
    assert (again(entry).status, again(entry).rung, statuses(swarm)["second"]) == ("conflict", "person", "conflict")
    settle(again(entry), world.ada, {"a.txt": Choice(Take.EDITED, BOTH)})
    nudges.run()
    audit(swarm, BOTH)


def test_what_a_person_settled_outlives_the_tidying_before_it_lands(world: World, model: Model, nudges: Nudges):
    swarm, entry = stuck(world, model, nudges)
    settle(entry, world.ada, {"a.txt": Choice(Take.EDITED, BOTH)})
    maintain(swarm.repository_id)
    head = MergeEntry.objects.get(status="queued").head_sha
    assert head in store_of(swarm).pins("attempts").values()

"""Conflicts that agents settle: who is asked, what they are told, what their merge must keep to, and who comes next."""

from __future__ import annotations

from typing import NoReturn

import pytest

from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.demo.service import Request
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import NOTHING_OF_ITS_OWN
from orchestration.models import Attempt, Event, MergeEntry, Swarm
from orchestration.stages import execute
from orchestration.stages.merge import merge
from orchestration.stages.resolution import Settling
from orchestration.stages.resolve import resolve
from orchestration.stages.rows import store_of
from orchestration.stages.taking import TARGET
from orchestration.stages.tick import tick
from tests.stages.test_merge import content, entries
from tests.stages.world import Answer, Model, Nudges, World, bash, hand_off, statuses, write

BOTH = "FIRST\nSECOND\ntwo\nthree\n"


def in_conflict(world: World, **files: str) -> tuple[Swarm, MergeEntry]:
    """`first` has landed, `second` changed the same line, and `beside` without any conflict."""
    return conflict_in(world, world.running(), **files)


def conflict_in(world: World, swarm: Swarm, **files: str) -> tuple[Swarm, MergeEntry]:
    world.queued(swarm, "first", {"a.txt": "FIRST\ntwo\nthree\n", "first.txt": "by first\n"})
    loser = world.queued(swarm, "second", {"a.txt": "SECOND\ntwo\nthree\n", "second.txt": "by second\n"} | files)
    MergeEntry.objects.filter(attempt__subtask__name="first").update(priority=1)
    return swarm, loser


def run(swarm: Swarm, nudges: Nudges) -> None:
    merge(swarm.pk)
    nudges.run()


def tries() -> list[tuple[str, str]]:
    return list(Attempt.objects.exclude(rung="").order_by("pk").values_list("rung", "status"))


def steps() -> list[str]:
    return [event.facts["rung"] for event in Event.objects.filter(kind="merge_entry.resolving").order_by("seq")]


@pytest.fixture
def heard(model: Model) -> list[Request]:
    """Every request of the second's agent, as it came."""
    requests: list[Request] = []
    answer = model.__class__.__call__

    def listen(self: Model, request: Request) -> Answer:
        if request.subtask == "second":
            requests.append(request)
        return answer(self, request)

    model.__class__ = type("Listening", (model.__class__,), {"__call__": listen})
    return requests


def test_the_same_subtask_goes_on_and_its_merge_lands(world: World, model: Model, nudges: Nudges):
    swarm, loser = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off(summary="Kept both lines.")]
    run(swarm, nudges)
    assert statuses(swarm) == {"first": "complete", "second": "complete"}
    assert content(swarm, "a.txt") == BOTH
    assert content(swarm, "second.txt") == "by second\n"
    assert content(swarm, "first.txt") == "by first\n"
    assert tries() == [("continued", "complete")]
    loser.refresh_from_db()
    assert (loser.status, loser.status_reason) == ("superseded", "Its conflict was settled by attempt 2.")


def test_its_result_is_a_merge_of_the_tip_and_its_own_commit(world: World, model: Model, nudges: Nudges):
    swarm, loser = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    entry = MergeEntry.objects.get(subtask__name="second", status="landed")
    store = store_of(swarm)
    parents = store.run("rev-parse", f"{entry.head_sha}^1", f"{entry.head_sha}^2").text.split()
    assert parents == [entry.attempt.base_sha, loser.head_sha]
    assert store.is_ancestor(loser.head_sha, store.tip(swarm.branch) or "")
    assert entry.attempt.head_sha in store.pins("attempts").values()


def test_it_keeps_its_age_in_the_queue(world: World, model: Model, nudges: Nudges):
    swarm, loser = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    entry = MergeEntry.objects.get(subtask__name="second", status="landed")
    assert (entry.enqueued_at, entry.priority, entry.rounds) == (loser.enqueued_at, loser.priority, 1)


def test_its_agent_is_told_the_three_sides_and_what_the_others_meant(
    world: World, model: Model, nudges: Nudges, heard: list[Request]
):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    told = heard[0].first_text
    assert told.startswith(f"swarm: {swarm.public_id}\nsubtask: second\n")
    for side in ("one\ntwo\nthree", "FIRST\ntwo\nthree", "SECOND\ntwo\nthree"):
        assert side in told
    assert "Wrote first." in told
    assert "Wrote second." in told
    assert "first: Do it." in told or "first: " in told


def test_the_files_that_it_begins_with_are_the_merge_with_markers(
    world: World, model: Model, nudges: Nudges, heard: list[Request]
):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [bash("cat a.txt first.txt second.txt"), write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    seen = str(heard[1].messages[-1])
    assert all(word in seen for word in ("<<<<<<<", "FIRST", "SECOND", ">>>>>>>", "by first", "by second"))


@pytest.mark.any_database
def test_markers_that_were_left_are_not_believed(world: World, model: Model, nudges: Nudges):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [hand_off()]
    run(swarm, nudges)
    assert statuses(swarm)["second"] == "conflict"
    assert content(swarm, "a.txt") == "FIRST\ntwo\nthree\n"
    assert {status for _, status in tries()} == {"failed"}
    assert "Conflict markers stand in a.txt." in str(Attempt.objects.filter(rung="fresh").get().status_reason)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("path", "text"),
    [("first.txt", "mine now\n"), ("second.txt", "other\n"), ("new.txt", "x\n"), ("src/b.py", "b=9\n")],
)
def test_what_was_merged_beside_the_conflict_must_stay(
    world: World, model: Model, nudges: Nudges, path: str, text: str
):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), write(path, text), hand_off()]
    run(swarm, nudges)
    assert statuses(swarm)["second"] == "conflict"
    reason = Attempt.objects.filter(rung="continued").first()
    assert reason
    assert reason.status_reason == f"These were merged without a conflict and must stay as they were: {path}."


@pytest.mark.any_database
@pytest.mark.parametrize("files", [{}, {"second.txt": "by second\n"}], ids=["all of it", "of the file"])
def test_its_agent_may_keep_what_landed(
    world: World, model: Model, nudges: Nudges, files: dict[str, str | bytes | None]
):
    """A deletion that landed stands; where nothing else of the subtask is left, that is said and no failure."""
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": None}, priority=1)
    world.queued(swarm, "second", files | {"a.txt": "SECOND\ntwo\nthree\n"})
    model.workers["second"] = [bash("rm a.txt"), hand_off()]
    run(swarm, nudges)
    assert statuses(swarm) == {"first": "complete", "second": "complete"}
    assert (content(swarm, "a.txt"), content(swarm, "second.txt")) == (None, files.get("second.txt"))
    assert tries() == [("continued", "complete")]
    doubt = Attempt.objects.get(rung="continued").handoff.suspicious
    assert doubt == ("" if files else NOTHING_OF_ITS_OWN)


@pytest.mark.any_database
def test_a_file_that_one_side_deleted_stays_where_its_agent_leaves_it(world: World, model: Model, nudges: Nudges):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "FIRST\ntwo\nthree\n"}, priority=1)
    world.queued(swarm, "second", {"a.txt": None})
    model.workers["second"] = [hand_off()]
    run(swarm, nudges)
    assert statuses(swarm) == {"first": "complete", "second": "complete"}
    assert content(swarm, "a.txt") == "FIRST\ntwo\nthree\n"


def test_what_others_pushed_outside_the_swarms_directory_can_be_settled(world: World, model: Model, nudges: Nudges):
    """It is taken in as a subtask, and its conflict is where it is."""
    swarm, loser = conflict_in(world, world.running(working_dir="src"))
    loser.subtask.__class__.objects.filter(pk=loser.subtask_id).update(origin=TARGET)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    assert tries() == [("continued", "complete")]
    assert content(swarm, "a.txt") == BOTH


def where_a_directory_stands(world: World) -> Swarm:
    """`first` has landed a directory of the name that `second` wants for a file."""
    swarm = world.running()
    world.queued(swarm, "first", {"thing/inner.txt": "inner\n"}, priority=1)
    world.queued(swarm, "second", {"thing": "a file\n"})
    return swarm


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("command", "landed"), [("mv thing~* thing.txt", "a file\n"), ("rm thing~*", None)], ids=["another", "none"]
)
def test_a_name_in_conflict_may_become_another(  # noqa: PLR0917 - fixtures
    world: World, model: Model, nudges: Nudges, heard: list[Request], command: str, landed: str | None
):
    swarm = where_a_directory_stands(world)
    model.workers["second"] = [hand_off(), bash(command), hand_off()]
    run(swarm, nudges)
    assert tries() == [("continued", "complete")]
    assert (content(swarm, "thing.txt"), content(swarm, "thing/inner.txt")) == (landed, "inner\n")
    assert "CONFLICT (file/directory)" in heard[0].first_text
    assert "Git made up these names" in heard[1].last_text, "it is told when it leaves that name"


@pytest.mark.any_database
def test_beside_a_name_in_conflict_nothing_else_may_change(world: World, model: Model, nudges: Nudges):
    swarm = where_a_directory_stands(world)
    model.workers["second"] = [bash("mv thing~* thing.txt; echo x >> src/b.py"), hand_off()]
    run(swarm, nudges)
    assert statuses(swarm)["second"] == "conflict"
    assert str(Attempt.objects.filter(rung="continued").last().status_reason).endswith("as they were: src/b.py.")


def test_a_red_acceptance_check_is_not_believed(world: World, model: Model, nudges: Nudges):
    swarm, loser = in_conflict(world)
    loser.subtask.acceptance_checks = ["grep -q FIRST a.txt"]
    loser.subtask.save()
    model.workers["second"] = [write("a.txt", "SECOND\ntwo\nthree\n"), hand_off()]
    run(swarm, nudges)
    assert statuses(swarm)["second"] == "conflict"
    assert content(swarm, "a.txt") == "FIRST\ntwo\nthree\n"


def test_two_tries_of_its_agent_then_another_agent_then_a_person(
    world: World, model: Model, nudges: Nudges, heard: list[Request]
):
    swarm, loser = in_conflict(world)
    model.workers["second"] = [hand_off("failed", summary="I cannot.")]
    run(swarm, nudges)
    assert tries() == [("continued", "failed"), ("continued", "failed"), ("fresh", "failed")]
    assert steps() == ["continued", "continued", "fresh", "person"]
    assert [("You did neither of them" in one.first_text) for one in heard] == [False, False, True]
    assert "Attempt 2 at it came to nothing" in heard[1].first_text
    loser.refresh_from_db()
    assert (loser.status, loser.rung) == ("conflict", "person")
    assert loser.subtask.status_reason == (
        "Conflicts with what landed before in a.txt. 3 tries came to nothing. It needs you."
    )
    swarm.refresh_from_db()
    assert swarm.status == "running"


def test_the_fresh_agent_settles_it_where_the_first_could_not(world: World, model: Model, nudges: Nudges):
    swarm, _ = in_conflict(world)
    able = [write("a.txt", BOTH), hand_off()]
    answer = model.__class__.__call__

    def speak(self: Model, request: Request) -> Answer:
        self.workers["second"] = able if "neither of them" in request.first_text else [hand_off("blocked")]
        return answer(self, request)

    model.__class__ = type("Changing", (model.__class__,), {"__call__": speak})
    run(swarm, nudges)
    assert tries() == [("continued", "blocked"), ("continued", "blocked"), ("fresh", "complete")]
    assert content(swarm, "a.txt") == BOTH


def test_what_depends_on_it_waits_and_the_others_land_meanwhile(world: World, model: Model, nudges: Nudges):
    swarm, loser = in_conflict(world)
    from tests import factories

    factories.make_subtask(swarm, name="later", status="pending", needs=[loser.subtask], scope=["later.txt"])
    world.queued(swarm, "third", {"third.txt": "x\n"})
    model.workers["second"] = [hand_off("blocked")]
    run(swarm, nudges)
    assert statuses(swarm) == {"first": "complete", "second": "conflict", "later": "pending", "third": "complete"}


def test_it_is_tried_on_the_newest_tip_when_the_conflict_is_gone(world: World, nudges: Nudges):
    swarm, _ = in_conflict(world)
    merge(swarm.pk)
    swarm.refresh_from_db()
    world.queued(swarm, "undo", {"a.txt": "one\ntwo\nthree\n"}, base=swarm.head_sha)
    merge(swarm.pk)
    nudges.run()
    assert content(swarm, "a.txt") == "SECOND\ntwo\nthree\n"
    assert tries() == []
    assert statuses(swarm)["second"] == "complete"


def test_a_decision_whose_nudge_was_lost_is_made_at_the_next_tick(world: World, model: Model, nudges: Nudges):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    merge(swarm.pk)
    nudges.take()
    tick()
    nudges.run()
    assert statuses(swarm)["second"] == "complete"


def test_a_decision_is_made_once(world: World, nudges: Nudges):
    swarm, _ = in_conflict(world)
    merge(swarm.pk)
    resolve(swarm.pk)
    resolve(swarm.pk)
    assert steps() == ["continued"]
    assert statuses(swarm)["second"] == "pending"


def test_resolutions_in_the_same_file_run_one_after_another(world: World, model: Model, nudges: Nudges):
    """Side by side, the one that lands second would conflict again."""
    swarm, _ = in_conflict(world)
    world.queued(swarm, "third", {"a.txt": "THIRD\ntwo\nthree\n"})
    merge(swarm.pk)
    resolve(swarm.pk)
    from orchestration.stages.dispatch import dispatch

    dispatch(swarm.pk)
    assert sorted(statuses(swarm).values()) == ["assigned", "complete", "pending"]
    keep_all = bash("sed -i -e '/^<<<<<<</d' -e '/^=======$/d' -e '/^>>>>>>>/d' a.txt")
    model.workers |= {"second": [keep_all, hand_off()], "third": [keep_all, hand_off()]}
    nudges.run()
    assert set(statuses(swarm).values()) == {"complete"}
    assert tries() == [("continued", "complete"), ("continued", "complete")]
    assert sorted((content(swarm, "a.txt") or "").split()) == ["FIRST", "SECOND", "THIRD", "three", "two"]


def test_a_resolution_whose_process_died_is_begun_again_from_its_merge(world: World, model: Model, nudges: Nudges):
    from datetime import timedelta

    from django.utils import timezone

    from tests.stages.world import claimed

    swarm, _ = in_conflict(world)
    merge(swarm.pk)
    resolve(swarm.pk)
    from orchestration.stages.dispatch import dispatch

    dispatch(swarm.pk)
    attempt = claimed(Attempt.objects.get(rung="continued"))
    Attempt.objects.filter(pk=attempt.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    nudges.take()
    tick()
    nudges.run()
    assert tries() == [("continued", "lost"), ("continued", "complete")]
    assert entries()["second"] in {"landed", "superseded"}
    assert content(swarm, "a.txt") == BOTH


@pytest.mark.parametrize("broken", ["files", "merge"])
def test_a_resolution_that_cannot_begin_has_failed_and_done_nothing(
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch, broken: str
):
    def fail(*_: object) -> NoReturn:
        raise AdapterError(Failure.PERMANENT, "Not today.")

    class Unmerged(Settling):
        start = property(fail)

    swarm, _ = in_conflict(world)
    merge(swarm.pk)
    if broken == "files":
        monkeypatch.setattr(WorkspacePool, "acquire", fail)
    else:
        monkeypatch.setattr(execute, "settling_of", lambda attempt: Unmerged(attempt.resolves, attempt.base_sha))
    nudges.run()
    assert {status for _, status in tries()} == {"failed"}
    for attempt in Attempt.objects.exclude(rung=""):
        assert (attempt.status_reason, attempt.head_sha) == ("Not today.", attempt.base_sha)


def test_thirty_branches_with_ten_real_conflicts_all_land(world: World, model: Model, nudges: Nudges):
    swarm = world.running()
    for number in range(20):
        world.queued(swarm, f"good-{number}", {f"pair-{number}.txt": f"by good {number}\n"})
    for number in range(10):
        name = f"rival-{number}"
        world.queued(swarm, name, {f"pair-{number}.txt": f"by rival {number}\n"})
        model.workers[name] = [write(f"pair-{number}.txt", f"by good {number}\nby rival {number}\n"), hand_off()]
    run(swarm, nudges)
    assert list(entries().values()).count("landed") == 30
    assert MergeEntry.objects.filter(status="superseded").count() == 10
    assert [content(swarm, f"pair-{n}.txt") for n in range(10)] == [f"by good {n}\nby rival {n}\n" for n in range(10)]
    assert set(statuses(swarm).values()) == {"complete"}

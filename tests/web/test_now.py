"""What the page says of the moment, and which lines of the log it leaves out."""

from __future__ import annotations

import pytest

from orchestration.domain.events import KINDS
from orchestration.models import Repository, Swarm
from orchestration.web.activity import QUIET, activity
from orchestration.web.now import names_of
from orchestration.web.panels import SwarmPanels
from tests import factories as make
from tests.web import scenes


@pytest.fixture
def repository(db: None) -> Repository:
    return make.make_repository()


def told(swarm: Swarm) -> str:
    return SwarmPanels(swarm, may_steer=False).happening


def test_the_first_plan_is_told_before_there_is_anything_else(repository: Repository):
    swarm = make.make_swarm(repository, status="planning")
    swarm.iterations.all().delete()
    make.make_iteration(swarm, status="running")
    assert told(swarm) == "The planner reads the repository and splits the request into subtasks."


def test_who_works_what_conflicts_and_what_is_landing_are_told(repository: Repository):
    assert told(scenes.busy_swarm(repository)) == (
        "2 agents work at the same time, each in a copy of the files of its own: store-write and docs. "
        "migration-of-old-sessions changes lines that another subtask changed as well in shop/settings.py and "
        "shop/sessions/schema.py; that is settled next. "
        "store-read is done and on the way to the swarm's branch."
    )


def test_who_settles_a_conflict_is_told(repository: Repository):
    swarm = scenes.busy_swarm(repository)
    entry = swarm.merge_entries.get(status="conflict")
    make.make_attempt(entry.subtask, status="running", resolves=entry, rung="continued")
    assert "an agent is putting both together." in told(swarm)
    swarm.merge_entries.filter(pk=entry.pk).update(rung="person")
    assert "that needs a person." in told(swarm)


def test_a_conflict_whose_subtask_is_settled_is_told_no_more(repository: Repository):
    swarm = scenes.busy_swarm(repository)
    swarm.subtasks.filter(name="migration-of-old-sessions").update(status="complete")
    assert "changed as well" not in told(swarm)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("landed", "The repository's checks do not pass on the branch as it is after index."),
        ("gating", "The repository's checks do not pass on the branch with index."),
    ],
)
def test_a_red_build_is_told_until_a_green_one(repository: Repository, entry: str, said: str):
    swarm = make.make_swarm(repository, status="running")
    row = make.make_entry(make.make_attempt(make.make_subtask(swarm, name="index"), status="complete"), status=entry)
    make.make_gate(swarm, row, status="red")
    assert said in told(swarm)
    make.make_gate(swarm, row, status="green")
    assert "do not pass" not in told(swarm)


def test_a_red_that_was_a_flake_alarms_nobody(repository: Repository):
    swarm = make.make_swarm(repository, status="running")
    make.make_gate(swarm, status="red", flake=True)
    assert told(swarm) == ""


def test_the_end_is_told_and_what_is_over_speaks_for_itself(repository: Repository):
    assert "checks run once more" in told(make.make_swarm(repository, status="finalizing"))
    assert told(make.make_swarm(repository, status="succeeded")) == ""
    assert told(make.make_swarm(repository, status="paused")) == ""


def test_names_are_joined_as_people_join_them():
    assert names_of([]) == ""
    assert names_of(["a"]) == "a"
    assert names_of(["a", "b", "a"]) == "a and b"
    assert names_of(["a", "b", "c", "d"]) == "a, b, c and d"
    assert names_of("abcdef") == "a, b, c and 3 more"


def test_the_machines_steps_between_are_not_in_the_log_for_people(repository: Repository):
    assert QUIET <= KINDS
    swarm = make.make_swarm(repository)
    for kind in (*sorted(QUIET), "subtask.complete"):
        make.make_event(swarm, kind, name="index")
    assert [event.kind for event in activity(swarm, [])] == ["subtask.complete"]


def test_a_gates_line_names_whom_it_tried(repository: Repository):
    swarm = make.make_swarm(repository)
    entry = make.make_entry(make.make_attempt(make.make_subtask(swarm, name="index")))
    make.make_event(swarm, "gate.red", entries=[entry.public_id], reason="`make test` failed.")
    (event,) = activity(swarm, [entry])
    assert event.facts["name"] == "index"


def test_a_handoff_that_was_not_believed_is_told_while_it_is_mended(repository: Repository):
    swarm = make.make_swarm(repository, status="running")
    attempt = make.make_attempt(make.make_subtask(swarm, name="names", status="running"))
    make.make_step(attempt, tool="handoff", ok=True)
    assert "did not pass" not in told(swarm)
    make.make_step(attempt, tool="handoff", ok=False)
    assert "names was handed off as done, but its checks did not pass, so it is being mended." in told(swarm)
    make.make_step(
        make.make_attempt(make.make_subtask(swarm, status="complete"), status="complete"), tool="handoff", ok=False
    )
    assert told(swarm).count("did not pass") == 1

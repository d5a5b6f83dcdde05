"""Every fact has one name, and every name that wakes a stage wakes one that can do something with it."""

from __future__ import annotations

import re

import pytest

from orchestration.domain import events, states
from orchestration.domain.events import KINDS, NOUN_OF, NUDGES, OTHER, Noun, Stage, kind_of
from orchestration.domain.states import (
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
)

STATUSES: tuple[Status, ...] = tuple(status for kind in NOUN_OF for status in kind)


def test_every_kind_of_row_has_a_noun_of_its_own():
    merging, people = [EntryStatus, GateStatus, PublicationStatus], [DeliveryStatus, QuestionStatus]
    assert list(NOUN_OF) == [SwarmStatus, SubtaskStatus, AttemptStatus, *merging, IterationStatus, *people]
    assert set(NOUN_OF.values()) == set(Noun)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: f"{type(status).__name__}.{status}")
def test_every_status_has_an_event(status: Status):
    assert kind_of(status) in KINDS


def test_no_two_statuses_share_an_event():
    kinds = [kind_of(status) for status in STATUSES]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds).isdisjoint(OTHER)
    assert set(kinds) | OTHER == KINDS


def test_the_name_says_which_row_it_was():
    assert kind_of(SwarmStatus.RUNNING) == "swarm.running"
    assert kind_of(EntryStatus.LANDED) == "merge_entry.landed"
    assert kind_of(IterationStatus.RUNNING) == "plan.running"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_noun_dot_what_and_fits_its_column(kind: str):
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", kind)
    assert len(kind) <= 40


def test_only_known_events_wake_a_stage_and_each_wakes_some():
    assert set(NUDGES) <= KINDS
    assert all(NUDGES.values())
    assert {stage for stages in NUDGES.values() for stage in stages} == set(Stage) - {
        Stage.MAINTAIN
    }  # the tick's alone


def test_execute_is_woken_by_an_attempt_alone():
    """Its message carries an attempt's id, the others carry a swarm's."""
    assert [kind for kind, stages in NUDGES.items() if Stage.EXECUTE in stages] == ["attempt.assigned"]
    assert NUDGES["attempt.assigned"] == (Stage.EXECUTE,)


@pytest.mark.parametrize("status", sorted(states.SUBTASK_SETTLED))
def test_whatever_settles_a_subtask_frees_a_place_and_may_end_the_plan(status: SubtaskStatus):
    assert {Stage.DISPATCH, Stage.PLAN} <= set(NUDGES[kind_of(status)])


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("swarm.submitted", Stage.PLAN),
        ("subtask.pending", Stage.DISPATCH),
        ("merge_entry.queued", Stage.MERGE),
        ("swarm.finalizing", Stage.FINISH),
        ("plan.lost", Stage.PLAN),
    ],
)
def test_work_that_waits_is_nudged_at_once(kind: str, stage: Stage):
    assert stage in NUDGES[kind]


def test_a_swarm_that_is_over_wakes_nobody():
    assert {kind_of(status) for status in states.SWARM_OVER}.isdisjoint(NUDGES)


def test_a_swarm_has_a_live_channel_of_its_own():
    assert events.group_of("abc") == "swarm.abc"
    assert events.group_of("abc") != events.group_of("abd")
    # The channel layer allows letters, digits, hyphens, underscores and full stops, under 100 of them.
    assert re.fullmatch(r"[a-zA-Z0-9._-]{1,99}", events.group_of("a" * 12))
    assert not events.BOARD_GROUP.startswith(events.group_of(""))

"""The table of lives: complete, without traps, and without a way back from an end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain import states
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.states import (
    INITIAL,
    TRANSITIONS,
    AttemptStatus,
    DeliveryStatus,
    EntryStatus,
    GateStatus,
    IllegalTransition,
    IterationStatus,
    PublicationStatus,
    QuestionStatus,
    Status,
    SubtaskStatus,
    SwarmStatus,
)

KINDS: tuple[type[Status], ...] = (
    SwarmStatus,
    SubtaskStatus,
    AttemptStatus,
    EntryStatus,
    GateStatus,
    PublicationStatus,
    IterationStatus,
    DeliveryStatus,
    QuestionStatus,
)
ALL: tuple[Status, ...] = tuple(status for kind in KINDS for status in kind)

# The words that other programs read (contracts.md): renaming one breaks them.
PUBLISHED = {
    SwarmStatus: "planning awaiting_approval running paused finalizing succeeded partly_succeeded failed cancelled",
    SubtaskStatus: "pending blocked assigned running waiting handed_off conflict complete failed timed_out cancelled",
    AttemptStatus: "assigned running waiting complete partial blocked failed timed_out cancelled lost",
    DeliveryStatus: "waiting delivered answered expired",
    GateStatus: "waiting running green red infra cancelled",
    PublicationStatus: "pending pushing waiting refused landed cancelled",
    EntryStatus: "queued merging gating conflict landed rejected superseded cancelled",
}


def after(old: Status) -> set[Status]:
    """What it may become. Asked of the kind itself: words such as "running" belong to several kinds."""
    return {new for new in type(old) if states.may(old, new)}


def words_of(kind: type[Status]) -> set[Status]:
    return {status for status in ALL if type(status) is kind}


def reachable(start: Status) -> set[Status]:
    seen: set[Status] = set()
    todo = [start]
    while todo:
        status = todo.pop()
        if status not in seen:
            seen.add(status)
            todo += after(status)
    return seen


def ids(values: Iterable[Status]) -> list[str]:
    return [f"{type(value).__name__}.{value}" for value in values]


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_the_published_words_are_the_statuses(kind: type[Status]):
    assert [status.value for status in kind] == PUBLISHED[kind].split()


def test_kinds_that_share_a_word_keep_their_own_lives():
    assert states.may(SwarmStatus.RUNNING, SwarmStatus.FINALIZING)
    assert states.may(SubtaskStatus.RUNNING, SubtaskStatus.HANDED_OFF)
    assert states.may(AttemptStatus.RUNNING, AttemptStatus.LOST)
    assert states.may(IterationStatus.RUNNING, IterationStatus.DONE)
    assert states.may(SubtaskStatus.BLOCKED, SubtaskStatus.PENDING)
    assert states.is_final(AttemptStatus.BLOCKED)


def test_every_kind_has_a_table_with_a_line_for_every_status_and_one_beginning():
    assert list(TRANSITIONS) == list(INITIAL) == list(KINDS)
    for kind, table in TRANSITIONS.items():
        assert set(table) == set(kind)
        assert {type(status) for status in (INITIAL[kind], *table, *frozenset().union(*table.values()))} == {kind}


def test_a_status_of_another_kind_is_never_next_even_where_the_words_are_equal():
    assert states.may(SwarmStatus.RUNNING, SwarmStatus.FAILED)
    assert not states.may(SwarmStatus.RUNNING, SubtaskStatus.FAILED)


def test_nothing_changes_into_itself():
    assert not [status for status in ALL if states.may(status, status)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_status_can_be_reached_from_the_beginning(kind: type[Status]):
    assert reachable(INITIAL[kind]) == set(kind)


@pytest.mark.parametrize("status", ALL, ids=ids(ALL))
def test_whatever_is_not_over_can_still_end(status: Status):
    assert any(states.is_final(later) for later in reachable(status))


@pytest.mark.parametrize("old", ALL, ids=ids(ALL))
def test_an_end_is_where_nothing_changes_any_more(old: Status):
    assert states.is_final(old) == (not after(old))
    for new in words_of(type(old)) - after(old):
        with pytest.raises(IllegalTransition, match=f"{old} does not become {new}"):
            states.require(old, new)


def test_the_ends_are_these():
    assert {kind: {status.value for status in kind if states.is_final(status)} for kind in KINDS} == {
        SwarmStatus: {"cancelled"},
        SubtaskStatus: {"complete", "cancelled"},
        AttemptStatus: {"complete", "partial", "blocked", "failed", "timed_out", "cancelled", "lost"},
        EntryStatus: {"landed", "rejected", "superseded", "cancelled"},
        GateStatus: {"green", "red", "infra", "cancelled"},
        PublicationStatus: {"cancelled"},
        IterationStatus: {"done", "failed", "lost"},
        DeliveryStatus: {"expired"},
        QuestionStatus: {"answered", "expired"},
    }


def test_every_swarm_that_is_not_over_can_fail_and_be_cancelled():
    for status in states.SWARM_ACTIVE:
        assert states.may(status, SwarmStatus.FAILED)
        assert states.may(status, SwarmStatus.CANCELLED)


def test_every_subtask_that_is_not_at_its_end_can_be_cancelled():
    for status in SubtaskStatus:
        assert states.is_final(status) or states.may(status, SubtaskStatus.CANCELLED), status


def test_every_live_attempt_can_be_lost_or_cancelled():
    for status in states.ATTEMPT_LIVE:
        assert states.may(status, AttemptStatus.LOST)
        assert states.may(status, AttemptStatus.CANCELLED)


@pytest.mark.parametrize(
    ("status", "before"),
    [
        (SwarmStatus.SUCCEEDED, {SwarmStatus.FINALIZING}),
        (SwarmStatus.PARTLY_SUCCEEDED, {SwarmStatus.FINALIZING}),
        (EntryStatus.LANDED, {EntryStatus.MERGING}),
        (AttemptStatus.COMPLETE, {AttemptStatus.RUNNING}),
    ],
    ids=str,
)
def test_success_has_one_way_in(status: Status, before: set[Status]):
    assert {old for old in type(status) if states.may(old, status)} == before


def test_no_subtask_is_complete_before_it_ran():
    for status in (SubtaskStatus.PENDING, SubtaskStatus.BLOCKED, SubtaskStatus.ASSIGNED):
        assert not states.may(status, SubtaskStatus.COMPLETE)
        assert not states.may(status, SubtaskStatus.HANDED_OFF)


def test_the_groups_agree_with_the_table():
    assert {status for status in SwarmStatus if states.is_final(status)} < states.SWARM_OVER
    assert set(SwarmStatus) == states.SWARM_OVER | states.SWARM_ACTIVE
    assert {status for status in AttemptStatus if not states.is_final(status)} == states.ATTEMPT_LIVE
    assert states.ATTEMPT_HOLDS_SLOT < states.ATTEMPT_LIVE
    assert not any(states.is_final(status) for status in states.ENTRY_OPEN)
    assert {SubtaskStatus.COMPLETE} == states.SUBTASK_SETTLED - states.SUBTASK_LOST
    assert states.SUBTASK_LOST < states.SUBTASK_SETTLED


def test_a_swarm_that_is_over_opens_again_only_to_take_back_what_landed():
    assert after(SwarmStatus.CANCELLED) == set()
    for status in states.SWARM_OVER - {SwarmStatus.CANCELLED}:
        assert after(status) == {SwarmStatus.FINALIZING}, status


def test_what_is_settled_stays_so_unless_somebody_acts():
    """No settled subtask runs by itself: its only way back is through pending, or on through the merge queue."""
    for status in states.SUBTASK_SETTLED:
        onward = after(status) - states.SUBTASK_SETTLED
        assert onward <= {SubtaskStatus.PENDING, SubtaskStatus.HANDED_OFF}, status


@pytest.mark.parametrize("old", ALL, ids=ids(ALL))
def test_require_lets_through_what_may_be(old: Status):
    for new in after(old):
        states.require(old, new)


def test_an_illegal_change_is_said_in_a_sentence_with_both_names():
    with pytest.raises(SwarmsiteError) as caught:
        states.require(SubtaskStatus.COMPLETE, SubtaskStatus.RUNNING)
    assert str(caught.value) == "SubtaskStatus: complete does not become running."


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_a_walk_of_allowed_changes_never_comes_back_from_an_end(kind: type[Status], data: st.DataObject):
    status, ended = INITIAL[kind], False
    for _ in range(data.draw(st.integers(0, 30))):
        wish = data.draw(st.sampled_from(sorted(words_of(kind))))
        if states.may(status, wish):
            assert not ended
            status = wish
        ended = states.is_final(status)
    assert status in reachable(INITIAL[kind])


@given(steps=st.lists(st.sampled_from(list(EntryStatus)), max_size=40))
def test_an_entry_lands_at_most_once_and_only_out_of_merging(steps: list[EntryStatus]):
    path = [EntryStatus.QUEUED]
    for wish in steps:
        if states.may(path[-1], wish):
            path.append(wish)
    assert path.count(EntryStatus.LANDED) <= 1
    if EntryStatus.LANDED in path:
        assert path[-1] is EntryStatus.LANDED
        assert path[-2] is EntryStatus.MERGING


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_diagram_draws_every_change_and_no_other(kind: type[Status]):
    lines = states.diagram(kind).splitlines()
    assert lines[0] == "stateDiagram-v2"
    drawn = {tuple(line.strip().split(" --> ")) for line in lines[1:]}
    expected = {(str(old), str(new)) for old in kind for new in after(old)}
    expected |= {(str(old), "[*]") for old in kind if states.is_final(old)} | {("[*]", str(INITIAL[kind]))}
    assert drawn == expected
    assert len(lines) == len(drawn) + 1

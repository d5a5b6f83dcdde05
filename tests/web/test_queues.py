"""The merge queue's pages: who waits for what, what was tried, who was innocent, and the figures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.domain.merging import in_order
from orchestration.domain.queueing import FOUND, MOVED, PARTS, UNFAITHFUL
from orchestration.domain.resolving import Rung
from orchestration.models import MergeEntry, Repository, Swarm
from orchestration.reads.reports import whole
from orchestration.stages import branch, landing
from orchestration.stages.queueing import waiting
from orchestration.web.queue_words import PART_WORDS, SETTLERS
from orchestration.web.queues import MOST_OF_SWARM, MOST_SETTLED, MOST_UNFOLDED, RepositoryQueue, SwarmQueue
from tests import factories as make
from tests.web.conftest import House
from tests.web.scenes import gated, text_of

QUESTIONS = 18  # of a page with everything on it


def entry(swarm: Swarm, name: str, **fields: object) -> MergeEntry:
    return make.make_entry(make.make_attempt(make.make_subtask(swarm, name=name), status="complete"), **fields)


@pytest.fixture
def swarm(house: House) -> Swarm:
    return gated(house.swarm)


def page(house: House, swarm: Swarm, who: str = "viewer") -> str:
    return house.client(who).get(f"/swarms/{swarm.public_id}/queue/").content.decode()


def reasons(swarm: Swarm) -> dict[str, str]:
    return {line.entry.subtask.name: line.reason for line in SwarmQueue(swarm).waiting}


def test_an_empty_queue_says_what_will_stand_there(house: House, swarm: Swarm):
    text = text_of(page(house, swarm))
    for words in ("Nothing waits.", "Nothing has landed yet.", "No gate has run.", "nothing to count"):
        assert words in text
    repository = text_of(
        house.client("viewer").get(f"/repositories/{house.repository.public_id}/queue/").content.decode()
    )
    assert "Nothing waits in any swarm." in repository


def test_strangers_see_neither(house: House, swarm: Swarm):
    for path in (f"/swarms/{swarm.public_id}/queue/", f"/repositories/{house.repository.public_id}/queue/"):
        assert house.client("stranger").get(path).status_code == 404
        assert house.client("anonymous").get(path).status_code == 302


def test_every_waiting_entry_says_why_in_the_queues_own_order(swarm: Swarm):
    last = entry(swarm, "last", priority=9)
    first = entry(swarm, "first", priority=1)
    builds = entry(swarm, "builds-on-last", priority=9)
    builds.subtask.dependencies.add(last.subtask)
    entry(swarm, "aside", priority=9, not_before=timezone.now() + timedelta(minutes=5), status_reason="No space.")
    ordered = [line.entry.pk for line in SwarmQueue(swarm).waiting]
    assert ordered[:3] == in_order(waiting(swarm)) == [first.pk, last.pk, builds.pk]
    said = reasons(swarm)
    assert said["first"] == "It is next."
    assert said["last"] == "After the one before it."
    assert said["builds-on-last"] == "After last, which it builds on."
    assert said["aside"].startswith("Put aside for 4 m 5")
    assert said["aside"].endswith("because the machine failed: No space.")


def test_what_is_being_landed_stands_first_and_what_is_checked_next(swarm: Swarm):
    entry(swarm, "queued", priority=1)
    two, one = entry(swarm, "two", status="gating", chain_place=1), entry(swarm, "one", status="gating", chain_place=0)
    entry(swarm, "untried", status="gating", chain_place=2)
    entry(swarm, "moving", status="merging")
    make.make_gate(swarm, one, two, status="running", lease_token="t")
    said = reasons(swarm)
    assert list(said) == ["moving", "one", "two", "untried", "queued"]
    assert said["moving"] == "It is being put on the branch."
    assert said["one"] == "The checks run on it, together with two."
    assert said["untried"] == "The next gate that holds it is about to start."


def test_a_queue_that_stands_still_says_so_once_and_promises_nothing(house: House, swarm: Swarm):
    make.make_gate(swarm)
    entry(swarm, "one")
    assert SwarmQueue(swarm).waiting[0].lands_at is not None
    swarm.queue_reason = "The branch itself is red."
    swarm.save()
    (line,) = SwarmQueue(swarm).waiting
    assert line.reason == "It is next, once anything lands again."
    assert line.lands_at is None
    assert "Nothing lands at the moment. The branch itself is red." in text_of(page(house, swarm))


def test_where_gates_stop_nobody_a_red_branch_is_told_and_nothing_said_to_stand_still(house: House, swarm: Swarm):
    swarm.config |= {"gate": "optimistic"}
    swarm.queue_reason = "The checks are red on the branch."
    swarm.save()
    entry(swarm, "one")
    (line,) = SwarmQueue(swarm).waiting
    assert line.reason == "It is next."
    text = text_of(page(house, swarm))
    assert "The checks are red on the branch." in text
    assert "Nothing lands" not in text


def test_an_estimate_is_never_before_what_is_put_aside_is_tried_and_none_while_it_is_landing(swarm: Swarm):
    make.make_gate(swarm, duration_ms=10_000)
    now = timezone.now()
    later = now + timedelta(minutes=5)
    entry(swarm, "aside", not_before=later, status_reason="No space.")
    entry(swarm, "moving", status="merging")
    found = {line.entry.subtask.name: line.lands_at for line in SwarmQueue(swarm, now=now).waiting}
    assert found["moving"] is None
    assert found["aside"] is not None
    assert found["aside"] > later


def test_a_long_queue_is_folded_and_goes_on_counting(house: House, swarm: Swarm):
    for number in range(MOST_UNFOLDED + 5):
        entry(swarm, f"n-{number}")
    html = page(house, swarm)
    assert "<summary>5 more</summary>" in html
    assert f'<ol class="rows" start="{MOST_UNFOLDED + 1}">' in html
    assert f"Position {MOST_UNFOLDED + 5} " in text_of(html)


def test_of_a_repository_each_swarm_stands_by_itself_with_what_keeps_it(house: House, swarm: Swarm):
    swarm.queue_reason = "The branch itself is red."
    swarm.save()
    for number in range(MOST_OF_SWARM + 2):
        entry(swarm, f"n-{number}", priority=9)
    entry(swarm, "urgent", priority=1)
    entry(swarm, "moving", status="merging", priority=9)
    other = make.make_swarm(house.repository, title="Print receipts")
    entry(other, "alone")
    first, second = RepositoryQueue(house.repository).shares
    assert (first.swarm, first.more, second.swarm) == (swarm, 4, other)
    assert [one.subtask.name for one in first.shown[:3]] == ["moving", "urgent", "n-0"]
    text = text_of(house.client("viewer").get(f"/repositories/{house.repository.public_id}/queue/").content.decode())
    for words in ("14 waiting", "and 4 more", "The branch itself is red.", "Print receipts 1 waiting"):
        assert words in text


def test_the_estimate_comes_from_the_gates_of_all_the_repositorys_swarms(swarm: Swarm):
    entry(swarm, "one")
    now = timezone.now()
    assert SwarmQueue(swarm, now=now).waiting[0].lands_at is None
    for took in (1000, 30_000, 90_000):
        make.make_gate(make.make_swarm(swarm.repository), duration_ms=took)
    make.make_gate(make.make_swarm(make.make_repository()), duration_ms=1)
    make.make_gate(swarm, status="infra", duration_ms=1)
    assert SwarmQueue(swarm, now=now).waiting[0].lands_at == now + timedelta(seconds=30)


def test_the_search_for_the_red_one_and_who_was_innocent_are_shown(house: House, swarm: Swarm):
    good, bad = entry(swarm, "good", status="landed", gated=False), entry(swarm, "bad", status="rejected")
    make.make_gate(swarm, good, bad, status="red", log_tail="E: <b>broken</b>")
    make.make_gate(swarm, good, why="to find who is red")
    make.make_gate(swarm, bad, status="red", why="to find who is red")
    html = page(house, swarm)
    assert "Red with 2 together, so gates on fewer of them looked for who it is. bad is red with nobody" in text_of(
        html
    )
    assert 'data-depth="1"' in html
    assert "E: &lt;b&gt;broken&lt;/b&gt;" in html
    settled = {line.entry.subtask.name: line.innocent for line in SwarmQueue(swarm).settled}
    assert settled == {"good": True, "bad": False}
    assert "Stood in a red gate, and was innocent." in text_of(html)


def test_a_conflict_stands_first_with_its_files_and_who_tried_to_settle_it(house: House, swarm: Swarm):
    stuck = entry(swarm, "stuck", status="conflict", conflict_paths=["shop/<settings>.py"])
    entry(swarm, "fine", status="landed")
    make.make_attempt(stuck.subtask, status="failed", rung="continued", resolves=stuck, status_reason="It gave up.")
    html = page(house, swarm)
    assert [line.entry.subtask.name for line in SwarmQueue(swarm).settled] == ["stuck", "fine"]
    assert "shop/&lt;settings&gt;.py" in html
    text = text_of(html)
    assert "the subtask's own agent" in text.replace("&#x27;", "'")
    assert "It gave up." in text
    assert "0 of 1 by the subtask" in text


def test_a_long_past_is_folded(house: House, swarm: Swarm):
    for number in range(MOST_SETTLED + 3):
        entry(swarm, f"done-{number}", status="landed")
    html = page(house, swarm)
    assert "and 3 before" in text_of(html)
    assert "<summary>30 earlier</summary>" in html


def test_a_repositorys_queue_holds_all_its_swarms(house: House, swarm: Swarm):
    other = make.make_swarm(house.repository)
    entry(swarm, "one")
    entry(other, "two", status="conflict", conflict_paths=["a.py"], rung="person")
    entry(make.make_swarm(make.make_repository()), "foreign")
    text = text_of(house.client("viewer").get(f"/repositories/{house.repository.public_id}/queue/").content.decode())
    assert "one" in text
    assert "two" in text
    assert "a.py" in text
    assert "foreign" not in text
    assert "Needs you: settle the conflict of two" in text


def test_scripts_are_told_the_same_figures(swarm: Swarm):
    row = entry(swarm, "one", status="landed", intent_old="a" * 40, intent_new="b" * 40)
    make.make_event(swarm, "merge_entry.merging", id=row.public_id)
    make.make_event(swarm, "merge_entry.landed", id=row.public_id)
    told = whole(swarm)["merge_queue"]
    assert told["landed"] == 1
    assert told["intent_to_recorded_ms_p50"] is not None
    assert told["chain_longest"] == 1


def test_the_parts_of_a_landing_and_what_was_taken_up_after_crashes_are_told_in_words(house: House, swarm: Swarm):
    took = {"merge": 4.2, "check": 1.0, "commit": 0.5, "journal": 3.0, "swap": 12.0}
    row = entry(swarm, "one", status="landed", intent_old="a" * 40, intent_new="b" * 40, took=took)
    entry(swarm, "two", priority=3)
    make.make_event(swarm, "merge_entry.merging", id=row.public_id)
    make.make_event(swarm, "merge_entry.landed", id=row.public_id, reason=FOUND)
    Repository.objects.update(locks_removed=3, loose_objects=120, packs=2)
    for text in (
        text_of(page(house, swarm)),
        text_of(house.client("viewer").get(f"/repositories/{house.repository.public_id}/queue/").content.decode()),
    ):
        assert "merge 4.2 ms, content check 1.0 ms, commit 0.5 ms, intent 3.0 ms, swap 12 ms" in text
        assert "1 after it" in text
        assert "1 with 3" in text
        assert "Stale locks removed" in text
    told = whole(Swarm.objects.get(pk=swarm.pk))["merge_queue"]
    assert told["recoveries"] == {"after_swap": 1}
    assert (told["locks_removed"], told["loose_objects"], told["packs"]) == (3, 120, 2)


def test_the_words_that_figures_go_by_are_the_stages_own(swarm: Swarm):
    assert landing.Unfaithful(entry(swarm, "one"), ("a.py",)).reason.startswith(UNFAITHFUL)
    assert branch.MOVED == MOVED
    assert set(SETTLERS) == {rung.value for rung in Rung}
    assert tuple(PART_WORDS) == PARTS


@pytest.mark.parametrize("times", [1, 6])
def test_the_number_of_questions_does_not_grow(house: House, swarm: Swarm, times: int):
    for number in range(times):
        for status in ("queued", "gating", "landed", "conflict", "rejected"):
            row = entry(swarm, f"{status}-{number}", status=status)
            make.make_gate(swarm, row, status="red", log_sha256="0" * 64)
        make.make_attempt(row.subtask, status="complete", rung="fresh", resolves=row)
    client = house.client("viewer")
    for path in (f"/swarms/{swarm.public_id}/queue/", f"/repositories/{house.repository.public_id}/queue/"):
        with CaptureQueriesContext(connection) as asked:
            assert client.get(path).status_code == 200
        assert len(asked) <= QUESTIONS, [query["sql"][:120] for query in asked]


def test_what_a_round_of_gates_came_to_is_told(swarm: Swarm):
    one, two = entry(swarm, "one"), entry(swarm, "two")
    make.make_gate(swarm, one, status="red", tip="1" * 40)
    make.make_gate(swarm, status="green", tip="1" * 40)
    make.make_gate(swarm, two, status="red", tip="2" * 40)
    make.make_gate(swarm, status="red", tip="2" * 40)
    make.make_gate(swarm, one, status="red", flake=True, tip="3" * 40)
    make.make_gate(swarm, one, two, tip="3" * 40)
    make.make_gate(swarm, one, two, tip="4" * 40)
    said = {found.tip[0]: found.said for found in SwarmQueue(swarm).rounds}
    assert said == {
        "1": "one is red with nobody else in it. The branch itself is green.",
        "2": "two is red with nobody else in it. The branch itself is red, so nobody is to blame.",
        "3": "One was red by chance: a later green gate proved it.",
        "4": "",
    }


def test_a_conflict_that_needs_a_person_stands_before_those_that_are_being_settled(swarm: Swarm):
    for name, rung in (("asks", "person"), ("works", "continued")):
        entry(swarm, name, status="conflict", rung=rung)
    entry(swarm, "fine", status="landed")
    assert [line.entry.subtask.name for line in SwarmQueue(swarm).settled] == ["asks", "works", "fine"]

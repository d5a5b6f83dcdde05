"""The swarm page: every waiting thing says why, every graphic has a list, nothing of a model is believed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from orchestration.models import Subtask, Swarm
from orchestration.web.activity import MOST_EVENTS
from orchestration.web.panels import MOST_LISTED, MOST_ROWS, SwarmPanels
from tests import factories as make
from tests.web import scenes
from tests.web.conftest import House

EVIL = "<script>alert(1)</script>"


def page_of(house: House, swarm: Swarm, who: str = "member") -> str:
    return house.client(who).get(f"/swarms/{swarm.public_id}/").content.decode()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.fixture
def busy(house: House) -> Swarm:
    return scenes.busy_swarm(house.repository, requester=house.member)


def test_the_header_has_the_figures(house: House, busy: Swarm):
    said = text_of(page_of(house, busy))
    for part in ("Done 4 of 14", "Agents 2 of 100", "Elapsed 18 m", "Landed 4", "Cost $4.18", "Tokens 1.9 M"):
        assert part in said


def test_progress_is_also_in_words(house: House, busy: Swarm):
    page = page_of(house, busy)
    assert 'role="progressbar"' in page
    assert 'aria-valuetext="4 of 14 done, 1 failed, 1 in conflict, 1 landing, 2 running"' in page


def test_every_subtask_is_a_link_in_the_graph_and_in_the_list(house: House, busy: Swarm):
    page = page_of(house, busy)
    for subtask in busy.subtasks.all():
        assert page.count(f'href="/subtasks/{subtask.public_id}/"') >= 2
        assert f'id="node-{subtask.name}"' in page
        assert f'id="line-{subtask.public_id}"' in page


def test_what_waits_says_why(house: House, busy: Swarm):
    page = text_of(page_of(house, busy))
    assert "Waits for store-read and store-write." in page
    assert "All 3 attempts failed." in page
    assert "Both changed the same lines." in page


def test_a_conflict_names_its_files(house: House, busy: Swarm):
    page = page_of(house, busy)
    assert "shop/settings.py" in page
    assert "shop/sessions/schema.py" in page


def test_an_agent_shows_its_last_tool_and_sign_of_life(house: House, busy: Swarm):
    page = page_of(house, busy)
    assert "edit_file shop/sessions/store.py" in page
    assert "Last sign of life" in page


def test_the_timeline_has_a_segment_for_each_attempt(house: House, busy: Swarm):
    panels = SwarmPanels(busy, may_steer=False)
    rows = {placed.row.title: placed for placed in panels.timeline.rows}
    assert len(rows["docs"].segments) == 2
    assert [segment.run.role for segment in rows["docs"].segments] == ["failed", "running"]
    assert "docs, attempt 1: failed, 2 m" in page_of(house, busy)


def test_the_chain_that_decided_the_time_is_marked(busy: Swarm):
    panels = SwarmPanels(busy, may_steer=False)
    marked = {placed.row.title for placed in panels.timeline.rows if placed.row.critical}
    assert marked == set(panels.critical)
    assert "survey" in marked


def test_the_queue_puts_what_merges_first_and_numbers_it(house: House, busy: Swarm):
    later = make.make_attempt(make.make_subtask(busy, name="late", status="handed_off"), status="complete")
    urgent = make.make_attempt(make.make_subtask(busy, name="urgent", status="handed_off"), status="complete")
    make.make_entry(later, priority=5)
    make.make_entry(urgent, priority=1)
    places = [place for place in SwarmPanels(busy, may_steer=False).queue if place.position]
    assert [(place.position, place.entry.subtask.name) for place in places] == [
        (1, "store-read"),
        (2, "urgent"),
        (3, "late"),
    ]


def test_activity_is_told_in_sentences(house: House, busy: Swarm):
    page = text_of(page_of(house, busy))
    assert "member handed in the request." in page
    assert "metrics: attempt 1 failed: The acceptance check `make lint` did not pass." in page


def test_activity_is_the_last_of_many(busy: Swarm):
    for _ in range(MOST_EVENTS + 5):
        make.make_event(busy, "subtask.pending", name="x")
    events = SwarmPanels(busy, may_steer=False).events
    assert len(events) == MOST_EVENTS
    assert events[0].seq == busy.last_seq


def test_the_scratchpad_of_the_last_call_that_wrote_one(house: House, busy: Swarm):
    make.make_iteration(busy, scratchpad="Only the **load test** is left.")
    make.make_iteration(busy, scratchpad="", status="failed", status_reason="The model did not answer.")
    page = page_of(house, busy)
    assert "<strong>load test</strong>" in page
    assert "Goals and coverage" not in page
    assert "The model did not answer." in page


def test_what_the_planner_was_not_sent_again_is_told_and_a_subplanners_notes_are_not_its_own(house: House, busy: Swarm):
    make.make_iteration(busy, scratchpad="Mine.", sent_characters=1200, saved_characters=45_000)
    make.make_iteration(busy, scratchpad="Of a part.", parent=make.make_subtask(busy))
    page = text_of(page_of(house, busy))
    assert "It was sent 1200 characters; 45000 that had not changed were not sent again." in page
    assert "Mine." in page
    assert "Of a part." not in page


def test_a_planner_at_work_is_an_agent_too(house: House, busy: Swarm):
    make.make_iteration(busy, status="running", scratchpad="", lease_token="x")
    assert "Agents 3 of 100" in text_of(page_of(house, busy))


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("planning", {"pause", "cancel"}),
        ("awaiting_approval", {"approve", "cancel"}),
        ("running", {"pause", "cancel"}),
        ("paused", {"resume", "cancel"}),
        ("finalizing", {"cancel"}),
        ("succeeded", set()),
        ("cancelled", set()),
    ],
)
def test_it_offers_what_can_be_done_now(house: House, status: str, offered: set[str]):
    swarm = make.make_swarm(house.repository, status=status)
    page = page_of(house, swarm)
    actions = {"pause", "resume", "approve", "cancel"}
    assert {action for action in actions if f"/swarms/{swarm.public_id}/{action}/" in page} == offered


def test_a_success_without_checks_is_said_plainly(house: House):
    bare = make.make_repository(house.team, checks=[])
    swarm = make.make_swarm(bare, status="succeeded", verified=False)
    make.make_entry(make.make_attempt(make.make_subtask(swarm, status="complete"), status="complete"), status="landed")
    page = text_of(page_of(house, swarm))
    assert "unverified" in page
    assert "nobody has tested the result" in page
    assert "every check passed" not in page


def test_a_verified_success_says_how_to_fetch_it(house: House):
    swarm = make.make_swarm(house.repository, status="succeeded", verified=True)
    make.make_entry(make.make_attempt(make.make_subtask(swarm, status="complete"), status="complete"), status="landed")
    page = page_of(house, swarm)
    assert "every check passed on it" in page
    assert f"git fetch {'/'}" in page
    assert f".git {swarm.branch}</code>" in page


def test_a_local_repository_has_the_branch_itself(house: House):
    local = make.make_repository(house.team, url="/srv/my code/shop")
    swarm = make.make_swarm(local, status="partly_succeeded", status_reason="1 of 2 subtasks did not complete.")
    make.make_entry(make.make_attempt(make.make_subtask(swarm, status="complete"), status="complete"), status="landed")
    page = page_of(house, swarm)
    assert f"git -C &#x27;/srv/my code/shop&#x27; log --stat {swarm.branch}" in page
    assert "1 of 2 subtasks did not complete." in page


def test_nothing_is_offered_to_fetch_before_the_end(house: House, busy: Swarm):
    assert "git fetch" not in page_of(house, busy)


def test_checks_of_the_last_commit_are_shown_with_their_output(house: House):
    swarm = make.make_swarm(house.repository, status="partly_succeeded")
    make.make_check(swarm, sha="1" * 40, command="make old")
    make.make_check(swarm, sha="2" * 40, command="make test", output="12 passed")
    make.make_check(swarm, sha="2" * 40, command="make lint", passed=False, exit_code=1, output="E501 " + EVIL)
    page = page_of(house, swarm)
    assert "make old" not in page
    assert "12 passed" in page
    assert "E501 &lt;script&gt;" in page


def test_statistics_of_the_end_are_those_that_were_written(house: House):
    swarm = make.make_swarm(house.repository, status="succeeded", stats={"speedup": 7.25, "subagents_spawned": 41})
    page = text_of(page_of(house, swarm))
    assert "Speed-up against that estimate 7.25" in page
    assert "Attempts 41" in page


def test_model_calls_are_told_by_role(house: House, busy: Swarm):
    for purpose, tokens in (("planner", 1200), ("worker", 3000), ("worker", 4000)):
        busy.model_calls.create(
            endpoint=busy.endpoint, purpose=purpose, input_tokens=tokens, output_tokens=10, cost_usd="0.5"
        )
    told = SwarmPanels(busy, may_steer=False).stats["usage"]
    assert [(row["role"], row["endpoint"], row["calls"], row["input_tokens"]) for row in told] == [
        ("planner", busy.endpoint.name, 1, 1200),
        ("worker", busy.endpoint.name, 2, 7000),
    ]
    assert f"worker {busy.endpoint.name} 2 7.0 k 20 $1.00" in text_of(page_of(house, busy))


def test_the_comparison_with_a_single_agent_is_called_an_estimate(house: House, busy: Swarm):
    page = text_of(page_of(house, busy))
    assert "A single agent, estimated" in page
    assert "Speed-up, estimated" in page
    assert "No single agent was really run." in page


def test_the_statistics_name_the_chain_and_the_merges(house: House, busy: Swarm):
    page = text_of(page_of(house, busy))
    assert "The chain that decided the time" in page
    assert "Planner, call 1" in page
    assert "Landed 4 Conflicted 1 Rejected 0 Handed off, half landed within" in page


def test_what_never_was_measured_is_not_told_as_zero(house: House):
    make.make_entry(make.make_attempt(make.make_subtask(house.swarm), status="complete"))
    page = text_of(page_of(house, house.swarm))
    assert "Landed 0 Conflicted 0 Rejected 0" in page
    assert "landed within" not in page
    assert "Cache" not in page


def test_a_demo_is_labelled(house: House):
    demo = make.make_swarm(make.make_repository(house.team, is_demo=True))
    assert "a script that tells one fixed story, whatever it is asked" in page_of(house, demo)
    assert "fixed story" not in page_of(house, house.swarm)


def test_nothing_that_people_or_models_wrote_becomes_markup(house: House):
    swarm = make.make_swarm(house.repository, title=EVIL, request=EVIL, status_reason=EVIL, base_branch=EVIL)
    swarm.iterations.update(scratchpad=EVIL, problems=[EVIL])
    subtask = make.make_subtask(swarm, name=EVIL[:50], status="running", status_reason=EVIL)
    make.make_attempt(subtask, doing=EVIL, status_reason=EVIL)
    other = make.make_subtask(swarm, status="conflict")
    make.make_entry(
        make.make_attempt(other, status="complete"), status="conflict", conflict_paths=[EVIL], status_reason=EVIL
    )
    make.make_event(swarm, "subtask.failed", name=EVIL, reason=EVIL)
    for path in (f"/swarms/{swarm.public_id}/", f"/swarms/{swarm.public_id}/subtasks/", "/"):
        page = house.client("member").get(path).content.decode()
        assert EVIL not in page
        assert "&lt;script&gt;" in page


def test_a_large_swarm_folds_what_is_finished(house: House):
    iteration = house.swarm.iterations.get()
    Subtask.objects.bulk_create(
        Subtask(swarm=house.swarm, iteration=iteration, name=f"done-{at}", instruction="x", status="complete")
        for at in range(300)
    )
    for subtask in house.swarm.subtasks.all()[: MOST_ROWS + 10]:
        make.make_attempt(subtask, status="complete")
    make.make_attempt(make.make_subtask(house.swarm, name="moving", status="running"))
    panels = SwarmPanels(house.swarm, may_steer=False)
    assert len(panels.graph.boxes) == 2
    assert len(panels.lines) == MOST_LISTED
    assert panels.lines[0].subtask.name == "moving"
    assert len(panels.timeline.rows) == MOST_ROWS
    assert panels.folded_rows == 11
    page = page_of(house, house.swarm)
    assert "300 subtasks" in page
    assert f"{301 - MOST_LISTED} more are on a page of their own" in page
    assert len(page) < 120_000


def test_the_page_of_all_subtasks_has_pages_and_states(house: House, busy: Swarm):
    client = house.client("viewer")
    everything = client.get(f"/swarms/{busy.public_id}/subtasks/").content.decode()
    assert everything.count("data-item") == len(scenes.PLAN)
    pending = client.get(f"/swarms/{busy.public_id}/subtasks/?state=pending").content.decode()
    assert "middleware" in pending
    assert ">survey</a>" not in pending
    for query in ("state=nonsense", "page=99", "page=x"):
        assert client.get(f"/swarms/{busy.public_id}/subtasks/?{query}").status_code == 200


def test_a_wait_after_a_failed_planner_call_is_told(house: House):
    later = timezone.now() + timedelta(seconds=90)
    swarm = make.make_swarm(house.repository, status="planning", plan_not_before=later)
    assert "it is asked again in 1 m" in page_of(house, swarm)


def test_cancel_asks_first_and_says_what_it_stops(house: House, busy: Swarm):
    page = text_of(house.client("member").get(f"/swarms/{busy.public_id}/cancel/").content.decode())
    assert "This stops 2 running agents and 9 subtasks that are not finished." in page
    busy.refresh_from_db()
    assert busy.status == "running"


def test_an_over_swarm_has_nothing_to_cancel(house: House):
    swarm = make.make_swarm(house.repository, status="failed")
    assert (
        "there is nothing to cancel"
        in house.client("member").get(f"/swarms/{swarm.public_id}/cancel/").content.decode()
    )


def test_a_planned_nothing_is_told_at_every_stage(house: House):
    for status, said in (("planning", "first plan is on its way"), ("failed", "Nothing was planned.")):
        swarm = make.make_swarm(house.repository, status=status)
        assert said in page_of(house, swarm)

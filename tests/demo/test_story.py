"""What the demo model says, told from the request alone: as planner, as worker, after a restart, over the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestration.adapters import prompts
from orchestration.demo.plan import FIRST_PLAN, FOLLOW_UPS, TASKS
from orchestration.demo.service import ScriptedService
from orchestration.demo.story import FIRST_WORDS, ONLY_STORY, OTHER_REQUEST, story
from orchestration.demo.wire import events
from orchestration.domain.demonstration import REQUEST
from orchestration.domain.handoffs import Claim, parse_handoff
from orchestration.domain.planning import SubmittedPlan, judge, parse_plan
from orchestration.domain.states import SubtaskStatus
from tests.demo.playing import (
    PLANNER_TOOLS,
    WORKER_TOOLS,
    Integration,
    Message,
    ask,
    body,
    heard,
    opening,
    request,
    said,
    work,
    worker_opening,
)

S = SubtaskStatus
FIRST_NAMES = [task.name for task in FIRST_PLAN]
FOLLOW_UP_NAMES = [each.task.name for each in FOLLOW_UPS]


def first_time(text: str = REQUEST, context: str = "Latest commits:\nabc Mina: Start") -> list[Message]:
    values = {"swarm_id": "s1", "request": text, "repository": "Larder", "base": "abc", "history": ""}
    return opening(prompts.render("planner-first", context=context, **values))


def listed(statuses: Mapping[str, str]) -> str:
    """The tasks as they are told; a line's reason may name other subtasks, as real ones do."""
    lines = [
        f"- {name}: {status}" + (" (Waits for aisle-table, plan-files.)" if status == "pending" else "")
        for name, status in statuses.items()
    ]
    handoffs = "Handed off since you last planned:\nplan-files (complete): x"
    return "\n".join(["Tasks so far (name: status):", *lines, "", handoffs])


def again(statuses: Mapping[str, str]) -> list[Message]:
    """A later iteration: the conversation of the first one goes on."""
    messages = first_time()
    planned(messages)
    return [*messages, asked(listed(statuses))]


def asked(context: str) -> Message:
    return {"role": "user", "content": prompts.render("planner-again", iteration="2", context=context)}


def planned(messages: list[Message]) -> SubmittedPlan:
    """The plan that ends this conversation, its looks at the repository answered with nothing."""
    for _ in range(10):
        answer = ask(messages, PLANNER_TOOLS)
        submitted = [arguments for name, arguments in answer.calls if name == "submit_plan"]
        messages += [said(answer), *heard(answer, ["(nothing)"] * len(answer.calls))]
        if submitted:
            assert isinstance(submitted[0], Mapping)
            return parse_plan(submitted[0])
    raise AssertionError("no plan")


def names(plan: SubmittedPlan) -> list[str]:
    return [task.name for task in plan.tasks]


def all_of(status: SubtaskStatus, *tasks: str, **others: SubtaskStatus) -> dict[str, SubtaskStatus]:
    return dict.fromkeys(tasks or FIRST_NAMES, status) | {name.replace("_", "-"): each for name, each in others.items()}


# The planner.


def test_the_planner_looks_at_the_repository_before_it_plans():
    messages = first_time()
    answer = ask(messages, PLANNER_TOOLS)
    assert answer.text
    assert {"list_files", "read_file"} == {name for name, _ in answer.calls}


def test_the_first_plan_is_good_and_not_the_last():
    plan = planned(first_time())
    assert names(plan) == FIRST_NAMES
    assert not plan.done
    assert not judge(plan, {}, work_in_flight=False, working_dir=None)
    assert all(task.acceptance and task.priority for task in plan.tasks)
    assert all(task.acceptance_checks for task in plan.tasks if task.kind == "change")


def test_its_first_words_say_what_it_is():
    for messages in (first_time(), again(all_of(S.RUNNING)), again(all_of(S.COMPLETE, *TASKS))):
        assert planned(messages).scratchpad.startswith(FIRST_WORDS)


def test_another_request_gets_the_same_story_and_is_told_so():
    plan = planned(first_time("Rewrite it in Rust."))
    assert OTHER_REQUEST in plan.scratchpad
    assert names(plan) == FIRST_NAMES
    assert OTHER_REQUEST not in planned(first_time()).scratchpad


def test_nothing_is_added_while_nothing_was_suggested():
    plan = planned(again(all_of(S.RUNNING)))
    assert (names(plan), plan.done) == ([], False)


@pytest.mark.parametrize("follow_up", FOLLOW_UPS, ids=lambda each: each.task.name)
@pytest.mark.parametrize("status", [S.HANDED_OFF, S.COMPLETE])
def test_a_suggestion_becomes_a_subtask(follow_up: Any, status: SubtaskStatus):
    known = all_of(S.RUNNING) | {follow_up.origin: status}
    plan = planned(again(known))
    assert (names(plan), plan.done) == ([follow_up.task.name], False)
    assert follow_up.why in plan.scratchpad
    assert not judge(plan, known, work_in_flight=True, working_dir=None)


@pytest.mark.parametrize("follow_up", FOLLOW_UPS, ids=lambda each: each.task.name)
def test_the_suggestion_was_made_by_that_worker(follow_up: Any, tmp_path: Path):
    integration = Integration(tmp_path)
    workspace = integration.begin(follow_up.origin)
    handoff = work(TASKS[follow_up.origin], workspace, with_shell=False).handoff
    assert handoff["suggestions"]
    assert follow_up.origin in follow_up.task.dependencies


def test_both_suggestions_at_once_are_both_planned():
    assert names(planned(again(all_of(S.COMPLETE)))) == FOLLOW_UP_NAMES


def test_a_suggestion_is_planned_once():
    plan = planned(again(all_of(S.COMPLETE, *TASKS)))
    assert (names(plan), plan.done) == ([], True)


def test_it_is_done_while_the_last_ones_are_in_flight():
    plan = planned(again(all_of(S.COMPLETE, *FIRST_NAMES) | all_of(S.RUNNING, *FOLLOW_UP_NAMES)))
    assert (names(plan), plan.done) == ([], True)


@pytest.mark.parametrize("lost", [S.FAILED, S.TIMED_OUT, S.CANCELLED, S.BLOCKED])
def test_nothing_is_built_on_what_was_lost(lost: SubtaskStatus):
    known = all_of(S.COMPLETE, survey_conventions=lost, readable_amounts=lost)
    plan = planned(again(known))
    assert (names(plan), plan.done) == ([], True)
    assert not judge(plan, known, work_in_flight=False, working_dir=None)


def test_when_nothing_moves_any_more_it_is_done():
    """Whatever the mix of ends, an empty plan is never submitted without `done`."""
    for status in (S.COMPLETE, S.FAILED, S.BLOCKED):
        known = all_of(status, *TASKS)
        assert not judge(planned(again(known)), known, work_in_flight=False, working_dir=None)


def test_the_log_of_an_earlier_swarm_is_no_plan_of_this_one():
    text = first_time()[1]["content"] + "\n".join(f"abc Mina: {name}: complete" for name in FIRST_NAMES)
    assert names(planned(opening(text))) == FIRST_NAMES


def test_a_refused_first_plan_is_sent_again_and_a_later_one_gives_way():
    messages = first_time()
    planned(messages)
    messages[-1]["content"] = "That plan cannot be used. The name 'plan-files' occurs twice."
    assert names(planned(messages)) == FIRST_NAMES

    known = all_of(S.RUNNING)
    messages = again(known)
    assert not planned(messages).done
    messages[-1]["content"] = "That plan cannot be used. The plan has no tasks and nothing is running."
    second = planned(messages)
    assert second.done
    assert not judge(second, all_of(S.COMPLETE), work_in_flight=False, working_dir=None)


def test_a_planner_without_tools_to_look_plans_at_once():
    answer = ask(first_time(), ["submit_plan"])
    assert [name for name, _ in answer.calls] == ["submit_plan"]


# The workers.


@pytest.mark.parametrize("name", TASKS)
def test_a_worker_goes_on_rightly_from_any_turn(name: str, tmp_path: Path):
    """The same messages get the same answer, from a script that has seen nothing before."""
    integration = Integration(tmp_path)
    for each in _before(name):
        work(TASKS[each], integration.begin(each), with_shell=False)
        integration.land(each)
    played = work(TASKS[name], integration.begin(name), with_shell=False)
    backwards = [ask(messages, WORKER_TOOLS) for messages in reversed(played.turns)]
    assert backwards == played.answers[::-1]
    assert parse_handoff(played.handoff).status is Claim.COMPLETE


def _before(name: str) -> list[str]:
    """Everything that the subtask needs, in an order that works."""
    return list(dict.fromkeys(one for each in TASKS[name].dependencies for one in [*_before(each), each]))


def _handoffs(messages: list[Message]) -> list[str]:
    """The status of each handoff of a worker whose every handoff is refused."""
    found: list[str] = []
    while len(found) < 3:
        answer = ask(messages, WORKER_TOOLS)
        found += [str(arguments["status"]) for name, arguments in answer.calls if name == "handoff"]  # type: ignore[index]
        messages += [said(answer), *heard(answer, ["Not complete yet."] * len(answer.calls))]
    return found


def test_a_refused_handoff_is_tried_once_more_and_then_given_up_honestly():
    assert _handoffs(worker_opening(TASKS["plan-files"])) == ["complete", "complete", "failed"]


def test_an_unknown_subtask_is_blocked_with_the_reason():
    answer = ask(opening("swarm: s1\nsubtask: main\n\nRewrite it in Rust."), WORKER_TOOLS)
    assert answer.calls == (("handoff", {"status": "blocked", "summary": ONLY_STORY}),)


def test_a_worker_uses_only_what_it_is_offered():
    few = ("read_file", "handoff")
    messages = worker_opening(TASKS["survey-conventions"])
    for _ in range(10):
        answer = ask(messages, few)
        called = {name for name, _ in answer.calls}
        assert called
        assert called <= set(few)
        messages += [said(answer), *heard(answer, ["(nothing)"] * len(answer.calls))]
        if "handoff" in called:
            return
    raise AssertionError("no handoff")


def test_another_role_is_told_that_there_is_only_one_story():
    answer = ask(opening("swarm: s1"), ["submit_review"])
    assert (answer.text, answer.calls) == (ONLY_STORY, ())


# Time and tokens.


def seconds(messages: list[Message], offered: tuple[str, ...], speed: float = 1.0) -> float:
    asked = request(messages, offered)
    answer = story(speed)(asked)
    return answer.delay_s + answer.pace_s * len(list(events(asked, answer)))


def test_every_answer_takes_a_believable_time():
    for task in TASKS.values():
        for turn in range(3):
            messages = worker_opening(task) + [{"role": "assistant", "content": ""}] * turn
            assert 0.4 <= seconds(messages, WORKER_TOOLS) <= 4.0
    assert 0.4 <= seconds(first_time() + [{"role": "assistant", "content": ""}] * 2, PLANNER_TOOLS) <= 4.0


def test_speed_divides_all_of_it():
    messages = worker_opening(TASKS["plan-files"])
    assert seconds(messages, WORKER_TOOLS, speed=50) == pytest.approx(seconds(messages, WORKER_TOOLS) / 50)


def test_a_longer_conversation_costs_more():
    messages = worker_opening(TASKS["plan-files"])
    before = ask(messages, WORKER_TOOLS)
    after = ask([*messages, said(before), *heard(before, ["x" * 4000] * len(before.calls))], WORKER_TOOLS)
    assert before.usage is not None
    assert after.usage is not None
    assert before.usage.input_tokens > 500
    assert after.usage.input_tokens >= before.usage.input_tokens + 2000
    assert after.usage.output_tokens > 100


# Over the wire.


def test_the_story_streams_over_http_and_remembers_nothing_between_services():
    messages = worker_opening(TASKS["plan-files"])
    expected = ask(messages, WORKER_TOOLS)
    for _ in range(2):
        with ScriptedService(story(speed=100)) as service, httpx.Client(trust_env=False, timeout=60) as client:
            asked = {**body(messages, WORKER_TOOLS), "stream_options": {"include_usage": True}}
            with client.stream("POST", f"{service.base_url}/chat/completions", json=asked) as response:
                text, calls, pieces, tokens = _collected(response)
        assert text == expected.text
        assert calls == [
            (name, dict(arguments)) for name, arguments in expected.calls if not isinstance(arguments, str)
        ]
        assert pieces > len(calls) + 1
        assert expected.usage is not None
        assert tokens == expected.usage.input_tokens + expected.usage.output_tokens


def _collected(response: httpx.Response) -> tuple[str, list[tuple[str, Any]], int, int]:
    """Text, calls, how many pieces they came in, and the tokens told at the end."""
    text, pieces, tokens = "", 0, 0
    names: dict[int, str] = {}
    raw: dict[int, str] = {}
    for line in response.iter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line[6:])
        tokens = (event.get("usage") or {}).get("total_tokens", tokens)
        for choice in event["choices"]:
            delta = choice["delta"]
            pieces += bool(delta)
            text += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                names.setdefault(call["index"], call["function"].get("name"))
                raw[call["index"]] = raw.get(call["index"], "") + call["function"]["arguments"]
    return text, [(names[index], json.loads(raw[index])) for index in sorted(names)], pieces, tokens

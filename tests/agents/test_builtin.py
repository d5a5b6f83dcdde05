"""The built-in agent against a real service: whatever a model does, it ends with a handoff or with a reason."""

from __future__ import annotations

import os

import pytest

from orchestration.agents import builtin
from orchestration.agents.builtin import (
    GO_ON,
    MAX_PROSE,
    MAX_REFUSED_HANDOFFS,
    MAX_SAME_CALL,
    USE_TOOLS,
)
from orchestration.agents.conversation import OutOfTime
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Reply
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.tools import WORKER_TOOLS
from tests.agents.rig import DONE, SYSTEM, TASK, Desk, until
from tests.deadlines import clock_from, in_time_for

WRITE = ("write_file", {"path": "a.py", "content": "a = 1\n"})
READ = ("read_file", {"path": "a.py"})
MENDED = SubmittedHandoff(status=Claim.COMPLETE, summary="The parser is mended.")


# --- the work ---------------------------------------------------------------------------------------------------


def test_it_works_with_its_tools_and_hands_off(desk: Desk):
    edit = ("edit_file", {"path": "a.py", "old": "1", "new": "2"})
    assert desk.run(WRITE, edit, ("bash", {"command": "cat a.py; exit 3"}), DONE) == MENDED
    assert (desk.root / "a.py").read_text() == "a = 2\n"
    assert desk.model.told == [
        "Created a.py: 1 lines.",
        "Changed a.py: 1 place.",
        "a = 2\n\n[exit code 3]",
    ]


def test_the_first_request_carries_the_prompts_verbatim_and_all_tools(desk: Desk):
    desk.run(DONE)
    (request,) = desk.model.service.requests
    assert [(each["role"], each["content"]) for each in request.messages] == [("system", SYSTEM), ("user", TASK)]
    assert request.tools == tuple(tool.name for tool in WORKER_TOOLS)
    assert (request.swarm, request.subtask, request.closing) == ("s1", "one", "handoff")


def test_what_happened_is_reported_turn_by_turn(desk: Desk):
    desk.run(Answer("I write.", calls=(WRITE,)), ("read_file", {"path": "none"}), DONE)
    assert [reply.text for reply in desk.report.turns] == ["I write.", "", ""]
    assert [(tool, ok) for tool, _, _, ok in desk.report.calls] == [("write_file", True), ("read_file", False)]
    assert desk.report.calls[0][1] == WRITE[1]
    assert [result for _, _, result, _ in desk.report.calls] == desk.model.told


def test_signs_of_life_come_while_the_model_speaks(desk: Desk):
    desk.run(Answer("a long thought " * 20, calls=(DONE,), chunks=12, pace_s=0.05))
    assert desk.report.signs >= 2


def test_several_calls_in_one_turn_are_run_in_order_and_each_answered(desk: Desk):
    desk.run([WRITE, READ, ("no_such_tool", {}), ("read_file", "{"), READ], DONE)
    told = desk.model.told
    assert len(told) == 5
    assert told[0].startswith("Created")
    assert told[1] == told[4] == "     1\ta = 1"
    assert told[2].startswith("Error: there is no tool 'no_such_tool'")
    assert told[3].startswith("Error: The arguments of read_file are not valid JSON")


def test_a_handoff_that_is_believed_ends_it_at_once(desk: Desk):
    desk.run([WRITE, DONE, ("write_file", {"path": "late.py", "content": ""})])
    assert sorted(path.name for path in desk.root.iterdir()) == ["a.py"]
    assert desk.model.service.total == 1


# --- bad calls --------------------------------------------------------------------------------------------------


def test_bad_json_is_told_and_can_be_mended(desk: Desk):
    desk.run(Answer(calls=(WRITE,), fault="bad_json_arguments"), WRITE, DONE)
    assert desk.model.told[0].endswith("send one JSON object.")
    assert desk.model.told[1].startswith("Created")
    tool, arguments, result, ok = desk.report.calls[0]
    assert (tool, result, ok) == ("write_file", desk.model.told[0], False)
    assert arguments["raw"].startswith('{"path"')


def test_a_call_that_was_cut_off_is_told_so(desk: Desk):
    cut = Answer(calls=(WRITE,), fault="bad_json_arguments", finish_reason="length")
    desk.run(cut, DONE)
    assert desk.model.told[0].endswith(GO_ON)


def test_an_unknown_tool_is_answered_with_the_known_ones(desk: Desk):
    told = desk.tool("x" * 5000, {})
    assert "bash" in told
    assert "handoff" in told
    assert len(told) < 300


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", ".git/config"])
def test_a_path_outside_is_refused_and_the_agent_goes_on(desk: Desk, path: str):
    (desk.root.parent / "secret").write_text("secret")
    told = desk.tool("read_file", {"path": path})
    assert told.startswith("Error: ")
    assert path in told


# --- endings ----------------------------------------------------------------------------------------------------


def test_prose_again_and_again_ends_with_the_reason(desk: Desk):
    error = desk.fails("Let me think about it.")
    assert (error.kind, str(error)) == (Failure.PERMANENT, "The model answered 3 times without using a tool.")
    assert desk.model.service.total == MAX_PROSE
    assert desk.model.told == [USE_TOOLS] * (MAX_PROSE - 1)


def test_prose_in_between_is_forgiven(desk: Desk):
    assert desk.run("Hm.", "Hm.", READ, "Hm.", "Hm.", DONE) == MENDED


def test_an_empty_answer_is_prose(desk: Desk):
    assert "without using a tool" in str(desk.fails(""))


def test_a_handoff_in_prose_is_taken(desk: Desk):
    said = 'All done!\n```json\n{"status": "partial", "summary": "Half of it.", "concerns": ["slow"]}\n```'
    assert desk.run(said) == SubmittedHandoff(status=Claim.PARTIAL, summary="Half of it.", concerns=["slow"])


def test_a_malformed_handoff_in_prose_is_told_and_does_not_go_on_for_ever(desk: Desk):
    error = desk.fails('{"status": "finished", "summary": "x"}')
    assert "without using a tool" in str(error)
    assert desk.model.service.total == MAX_PROSE
    assert desk.model.told[0].startswith("Error: status: input should be 'complete'")


def test_json_that_is_no_handoff_is_prose(desk: Desk):
    assert desk.run('{"summary": "x"}', '{"status": "complete"}', DONE) == MENDED
    assert desk.model.told == [USE_TOOLS, USE_TOOLS]


def test_answers_that_were_cut_off_are_told_so(desk: Desk):
    desk.run(Answer("And then I will", finish_reason="length"), DONE)
    assert desk.model.told == [GO_ON]


def test_a_malformed_handoff_is_told_and_can_be_mended(desk: Desk):
    assert desk.run(("handoff", {"status": "done"}), DONE) == MENDED
    assert desk.model.told == [
        "Error: status: input should be 'complete', 'partial', 'blocked' or 'failed'. summary is missing."
    ]
    assert desk.report.calls == [("handoff", {"status": "done"}, desk.model.told[0], False)]


@pytest.mark.parametrize("arguments", [{"path": "a.py"}, "{", ""])
def test_the_same_call_again_and_again_ends_with_the_reason(desk: Desk, arguments: dict[str, str] | str):
    error = desk.fails(("read_file", arguments))
    assert error.kind is Failure.PERMANENT
    assert str(error) == "The agent made the same call of read_file 8 times in a row."
    assert desk.model.service.total == MAX_SAME_CALL


def test_the_same_calls_within_one_turn_count_too(desk: Desk):
    assert "the same call of read_file" in str(desk.fails([READ] * MAX_SAME_CALL))


def test_another_call_in_between_begins_the_count_anew(desk: Desk):
    assert desk.run([READ] * 7, WRITE, [READ] * 7, DONE) == MENDED


def test_spaces_and_order_make_no_other_call(desk: Desk):
    turns = [("read_file", '{"path": "a.py", "limit": 3}'), ("read_file", '{"limit":3,"path":"a.py"}')]
    assert "the same call of read_file 8 times" in str(desk.fails(turns * 4))


def test_going_round_in_circles_ends_with_the_reason(desk: Desk):
    error = desk.fails([READ, ("glob", {"pattern": "*"}), WRITE] * 10)
    assert str(error) == (
        "The agent went round in circles: its last 30 calls in a row were 3 different ones, write_file among them."
    )


def test_checking_the_same_after_each_change_is_no_circle(desk: Desk):
    rounds = [[("bash", {"command": "true"}), ("write_file", {"path": "a.py", "content": str(n)})] for n in range(20)]
    assert desk.run([call for one in rounds for call in one], DONE) == MENDED


def test_the_limit_of_turns_ends_it(desk: Desk):
    error = desk.fails(*[("bash", {"command": f"echo {number}"}) for number in range(9)], max_steps=5)
    assert (error.kind, str(error)) == (Failure.PERMANENT, "The agent did not hand off within 5 turns.")
    assert desk.model.service.total == 5


def test_a_handoff_in_the_very_last_turn_counts(desk: Desk):
    assert desk.run(READ, DONE, max_steps=2) == MENDED


def test_a_model_that_is_refused_is_the_reason(desk: Desk):
    error = desk.fails(Answer(status=401, error={"message": "bad key"}))
    assert error.kind is Failure.PERMANENT
    assert "bad key" in str(error)


def test_half_a_stream_is_transient(desk: Desk):
    assert desk.fails(Answer("half", fault="half_stream")).transient


def test_a_report_may_end_it(desk: Desk):
    def no_more(_: Reply) -> None:
        raise AdapterError(Failure.BUDGET, "The budget is used up.")

    desk.report.on_turn = no_more
    assert desk.fails(WRITE).kind is Failure.BUDGET
    assert not (desk.root / "a.py").exists()


# --- time and cancel --------------------------------------------------------------------------------------------


def test_the_time_limit_ends_a_slow_model(desk: Desk):
    error = desk.fails(READ, Answer(held="for ever"), timeout_s=0.5)
    assert isinstance(error, OutOfTime)
    assert str(error) == "The time limit of 0.5 s is used up."


def test_the_time_limit_ends_a_command_and_then_the_attempt(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builtin, "Clock", clock_from(lambda: desk.model.service.total == 1))
    error = desk.fails(("bash", {"command": "sleep 600", "timeout_s": 500}), DONE, timeout_s=0.3)
    assert isinstance(error, OutOfTime)
    assert "[killed after " in desk.report.calls[0][2]
    assert desk.model.service.total == 1


def test_the_time_limit_ends_a_turn_of_many_calls(desk: Desk):
    slow = [("bash", {"command": f"touch {number}; sleep 0.2"}) for number in range(100)]
    assert isinstance(desk.fails(slow, timeout_s=0.7), OutOfTime)
    assert len(list(desk.root.iterdir())) < 100


def test_a_cancel_ends_it_while_the_model_thinks(desk: Desk):
    future = desk.start(WRITE, Answer(held="for ever"))
    desk.model.service.wait_for(lambda: desk.model.service.total == 2)
    desk.cancellation.cancel("Cancelled by Ada.")
    error = future.exception(timeout=60)
    assert isinstance(error, AdapterError)
    assert (error.kind, str(error)) == (Failure.CANCELLED, "Cancelled by Ada.")
    assert (desk.root / "a.py").exists()


def test_a_cancel_ends_it_while_a_command_runs(desk: Desk):
    future = desk.start(("bash", {"command": "touch begun; sleep 600"}))
    until((desk.root / "begun").exists)
    desk.cancellation.cancel("Cancelled by Ada.")
    error = future.exception(timeout=60)
    assert isinstance(error, AdapterError)
    assert error.kind is Failure.CANCELLED


def test_a_cancel_ends_it_while_a_search_runs(desk: Desk):
    os.mkfifo(desk.root / "pipe")
    future = desk.start(("grep", {"pattern": "x", "path": "pipe"}))
    with (desk.root / "pipe").open("wb"):  # grep reads it, and nothing comes
        desk.cancellation.cancel("Cancelled by Ada.")
        error = future.exception(timeout=60)
    assert isinstance(error, AdapterError)
    assert error.kind is Failure.CANCELLED


def test_after_a_cancel_no_further_call_of_the_turn_is_run(desk: Desk):
    def cancel(_: Reply) -> None:
        desk.cancellation.cancel("Cancelled by Ada.")

    desk.report.on_turn = cancel
    assert desk.fails([WRITE, DONE]).kind is Failure.CANCELLED
    assert not (desk.root / "a.py").exists()


# --- objections -------------------------------------------------------------------------------------------------


def test_a_claim_that_is_refused_is_told_why_and_can_be_mended(desk: Desk):
    desk.report.refuses = [["Nothing was changed.", "`make test` printed:\nE"]]
    assert desk.run(DONE, WRITE, DONE) == MENDED
    assert desk.model.told[0] == (
        "Not complete yet. Nothing was changed.\n`make test` printed:\nE\nMend it, or hand off with an honest status."
    )
    assert desk.report.calls[0] == ("handoff", DONE[1], desk.model.told[0], False)


def test_a_claim_that_was_refused_twice_stands_the_third_time(desk: Desk):
    desk.report.refuses = [["Red."]] * 5
    assert desk.run(DONE) == MENDED
    assert len(desk.report.claims) == MAX_REFUSED_HANDOFFS + 1
    assert desk.model.service.total == 3


def test_a_claim_in_prose_is_looked_at_too(desk: Desk):
    desk.report.refuses = [["Red."]]
    said = '{"status": "complete", "summary": "The parser is mended."}'
    assert desk.run(said, said) == MENDED
    assert desk.model.told == ["Not complete yet. Red.\nMend it, or hand off with an honest status."]


@pytest.mark.parametrize("claim", [claim for claim in Claim if claim is not Claim.COMPLETE])
def test_who_claims_less_is_not_looked_at(desk: Desk, claim: Claim):
    desk.report.refuses = [["Red."]]
    handoff = desk.run(("handoff", {"status": str(claim), "summary": "I tried."}))
    assert handoff.status is claim
    assert desk.report.claims == []


# --- in a real sandbox ------------------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_it_works_in_a_real_sandbox(boxed: Desk):
    secret = boxed.root.parent / "secret"
    secret.write_text("secret")
    turns = [WRITE, ("bash", {"command": f"cat /workspace/a.py {secret}"}), ("grep", {"pattern": "a = ."}), DONE]
    assert boxed.run(*turns) == MENDED
    assert boxed.model.told[1].startswith("a = 1\ncat: ")
    assert boxed.model.told[2] == "a.py:1:a = 1"


@pytest.mark.sandbox
def test_a_command_that_never_ends_is_killed_and_the_agent_told(boxed: Desk):
    limit, told = in_time_for(lambda limit: ran_for(boxed, limit), lambda told: told.startswith("begun"))
    assert told == f"begun\n\n[killed after {limit:g} s]"


def ran_for(desk: Desk, limit: float) -> str:
    desk.run(("bash", {"command": "echo begun; sleep 600 & sleep 600", "timeout_s": limit}), DONE)
    return desk.model.told[-1]


@pytest.mark.sandbox
def test_a_command_that_prints_100_mb_is_told_in_its_head_and_tail(boxed: Desk):
    command = "echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last"
    told = boxed.tool("bash", {"command": command})
    assert told.startswith("first\nxxx")
    assert told.endswith("xxx\nlast\n\n[exit code 0]")
    assert len(told) < 31_000

"""Calls that only look run at the same time, few at once; everything else runs in its order, as if alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from typing_extensions import override

from orchestration.agents.builtin import MAX_SAME_CALL
from orchestration.agents.planner import plan
from orchestration.agents.together import AT_ONCE, together
from orchestration.domain.conversation import ToolCall
from orchestration.domain.tools import PARALLEL, PLANNER_TOOLS, WORKER_TOOLS, in_groups
from tests.agents.rig import DONE, Desk, Model, Remembered, make_store

PATIENCE_S = 60.0  # until a meeting is given up: only a broken product waits so long


@dataclass
class Meeting(Remembered):
    """Its results are there only once so many calls ask for them at the same time."""

    wanted: int = 2
    threads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._barrier = threading.Barrier(self.wanted)

    @override
    def get_results(self, *, key: str, tags: Sequence[str], prefix: str, producer: str) -> str:
        self.threads.append(threading.current_thread().name)
        self._barrier.wait(PATIENCE_S)
        return f"result {key}"


def get(key: str) -> tuple[str, dict[str, Any]]:
    return "get_results", {"key": key}


def read(path: str) -> tuple[str, dict[str, Any]]:
    return "read_file", {"path": path}


def write(path: str, content: str) -> tuple[str, dict[str, Any]]:
    return "write_file", {"path": path, "content": content}


# --- which calls are together -----------------------------------------------------------------------------------


def test_only_tools_that_change_nothing_are_marked():
    assert {
        "list_files", "read_file", "glob", "grep", "get_results", "git_log"
    } == PARALLEL  # fmt: skip
    assert {tool.name for tool in (*PLANNER_TOOLS, *WORKER_TOOLS)} - PARALLEL == {
        "submit_plan", "write_file", "edit_file", "bash", "save_artifact", "share_result", "ask_human", "handoff"
    }  # fmt: skip


def test_neighbours_that_look_are_one_group_and_order_is_kept():
    names = ["read_file", "grep", "write_file", "bash", "glob", "unknown", "get_results", "read_file"]
    calls = [ToolCall(str(number), name, "{}") for number, name in enumerate(names)]
    groups = [[call.id for call in group] for group in in_groups(calls)]
    assert groups == [["0", "1"], ["2"], ["3"], ["4"], ["5"], ["6", "7"]]


# --- at the same time -------------------------------------------------------------------------------------------


def test_looks_of_one_answer_wait_for_each_other_and_are_told_in_their_order(desk: Desk):
    """Were they run one after another, the first would wait for the second for ever."""
    desk.report = Meeting(wanted=3)
    desk.run([get("a"), get("b"), get("c")], DONE)
    assert desk.model.told == ["result a", "result b", "result c"]
    assert [call[1]["key"] for call in desk.report.calls] == ["a", "b", "c"]
    assert sorted(desk.report.threads) == sorted([threading.current_thread().name, "tool call", "tool call"])


def test_each_thread_that_was_made_says_when_it_ends(desk: Desk):
    desk.report = Meeting(wanted=3)
    desk.run([get("a"), get("b"), get("c")], DONE)
    assert desk.report.left == ["tool call", "tool call"]
    assert not [thread for thread in threading.enumerate() if thread.name == "tool call"]


def test_one_call_costs_no_thread(desk: Desk):
    desk.report = Meeting(wanted=1)
    desk.run(get("a"), [write("b.txt", "b"), get("b"), write("c.txt", "c")], DONE)
    assert desk.report.threads == [threading.current_thread().name] * 2
    assert desk.report.left == []


def test_no_more_run_at_once_than_the_bound():
    full, inside, most = threading.Barrier(AT_ONCE), [0], [0]
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        full.wait(PATIENCE_S)
        with lock:
            inside[0] -= 1
        return number

    futures = together(work, range(3 * AT_ONCE), leave=lambda: None)
    assert [one.result() for one in futures] == [*range(3 * AT_ONCE)]
    assert most == [AT_ONCE]


def test_searches_in_a_real_box_at_once(boxed: Desk):
    for number in range(4):
        (boxed.root / f"{number}.txt").write_text(f"needle {number}\n")
    boxed.run([("grep", {"pattern": f"needle {number}"}) for number in range(4)], DONE)
    assert boxed.model.told == [f"{number}.txt:1:needle {number}" for number in range(4)]


def test_the_planner_looks_at_several_things_at_once(model: Model, tmp_path: Any):
    store, sha = make_store(tmp_path, {"a.txt": "one\n", "b.txt": "two\n"})
    submitted = ("submit_plan", {"scratchpad": "s", "done": True, "tasks": []})
    looks = [read("a.txt"), ("grep", {"pattern": "two"}), read("none"), ("list_files", {}), read("b.txt")]
    model.says(looks, submitted)
    asked: list[int] = []
    plan(model.conversation(PLANNER_TOOLS), store, sha, lambda _: [], asked.append)
    said = [message["content"] for message in model.messages if message["role"] == "tool"]
    assert [text.split("\n")[0] for text in said] == [
        "one", "b.txt:1: two", "Error: There is no file 'none'.", "a.txt", "two"
    ]  # fmt: skip
    assert asked == [5]


# --- one after another ------------------------------------------------------------------------------------------


def test_what_is_read_after_a_write_sees_it(desk: Desk):
    (desk.root / "a.txt").write_text("old\n")
    desk.run([read("a.txt"), read("a.txt"), write("a.txt", "new\n"), read("a.txt"), read("a.txt")], DONE)
    assert [text.strip().split("\t")[-1] for text in desk.model.told] == [
        "old", "old", "Replaced a.txt: 1 lines.", "new", "new"
    ]  # fmt: skip


def test_writes_run_in_their_order(desk: Desk):
    desk.run([("bash", {"command": f"echo {number} >> order"}) for number in range(5)], DONE)
    assert (desk.root / "order").read_text().split() == ["0", "1", "2", "3", "4"]


def test_a_call_that_went_wrong_is_told_in_its_place(desk: Desk):
    (desk.root / "a.txt").write_text("here\n")
    desk.run([read("a.txt"), ("read_file", "{"), read("none"), read("a.txt")], DONE)
    first, broken, missing, last = desk.model.told
    assert first == last == "     1\there"
    assert broken.startswith("Error: The arguments of read_file are not valid JSON")
    assert missing.startswith("Error:")
    assert [ok for *_, ok in desk.report.calls] == [True, False, False, True]


# --- limits -----------------------------------------------------------------------------------------------------


def test_no_more_run_than_the_swarm_has_left(desk: Desk):
    desk.report.room = 2
    for name in "abcd":
        (desk.root / name).write_text(f"{name}\n")
    desk.fails([read(name) for name in "abcd"], max_steps=1)
    assert [call[1]["path"] for call in desk.report.calls] == ["a", "b"]


def test_the_same_look_again_and_again_in_one_answer_ends_it_as_ever(desk: Desk):
    (desk.root / "a.txt").write_text("a\n")
    error = desk.fails([read("a.txt")] * (MAX_SAME_CALL + 2))
    assert str(error) == f"The agent made the same call of read_file {MAX_SAME_CALL} times in a row."
    assert len(desk.report.calls) == MAX_SAME_CALL - 1


def test_a_cancel_ends_all_of_them(desk: Desk):
    """The box is asked by several threads; each of them learns of the cancel."""
    desk.cancellation.cancel("Ada cancelled it.")
    futures = together(lambda _: desk.cancellation.check(), [1, 2, 3], leave=lambda: None)
    assert [str(one.exception()) for one in futures] == ["Ada cancelled it."] * 3


def test_what_fails_in_one_leaves_the_others_whole():
    def work(number: int) -> int:
        if number == 1:
            raise ValueError(number)
        return number

    first, second, third = together(work, [0, 1, 2], leave=lambda: None)
    assert (first.result(), third.result()) == (0, 2)
    with pytest.raises(ValueError, match="1"):
        second.result()

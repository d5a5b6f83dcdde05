"""Events are read however the bytes are cut, and answers however the service stretches the format."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.adapters.llm.draft import Draft
from orchestration.adapters.llm.parts import load
from orchestration.adapters.llm.sse import EventReader
from orchestration.domain.conversation import ToolCall, Usage

STREAM = (
    b'\xef\xbb\xbfdata: {"a":1}\r\n\r\n: keep-alive\r\n\r\nevent: x\nid: 1\ndata:two\ndata: lines\n\ndata: \xc3\xa9\n\n'
)
EVENTS = [b'{"a":1}', b"two\nlines", b"\xc3\xa9"]


def read(chunks: list[bytes]) -> list[bytes]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


def test_comments_names_and_line_ends():
    assert read([STREAM]) == EVENTS


def test_byte_by_byte():
    assert read([bytes([byte]) for byte in STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_chunks_split_anywhere(cuts: list[int]):
    edges = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[start:end] for start, end in pairwise(edges)]) == EVENTS


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_end_of_the_body_completes_the_last_event(ending: bytes):
    reader = EventReader()
    assert reader.feed(b"data: last" + ending) == []
    assert reader.rest() == [b"last"]


def test_a_long_line_in_many_chunks_is_searched_once():
    reader = EventReader()
    for _ in range(20_000):
        assert reader.feed(b"x" * 1_000) == []
        assert reader._scanned == len(reader._buffer)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def part(index: int | None = None, id_: str = "", name: str = "", arguments: object = "") -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return delta(tool_calls=[{**place, "id": id_, "function": {"name": name, "arguments": arguments}}])


def drafted(*events: dict[str, Any]) -> Draft:
    draft = Draft()
    for event in events:
        draft.take(event)
    return draft


def test_text_adds_up():
    draft = drafted(delta(content="he"), delta(content=None), delta(content="llo"), delta(refusal=" no"))
    assert (draft.text(), draft.size) == ("hello no", 8)


def test_calls_interleaved_by_index():
    draft = drafted(
        part(0, "a", "grep", ""), part(1, "b", "glob", ""), part(0, arguments='{"x":'), part(1, arguments="{}"),
        part(0, arguments="1}"),
    )  # fmt: skip
    assert draft.calls() == (ToolCall("a", "grep", '{"x":1}'), ToolCall("b", "glob", "{}"))


def test_calls_that_all_have_index_0():
    draft = drafted(part(0, "a", "grep", "{"), part(0, arguments="}"), part(0, "b", "glob", "{"), part(0, "b", "", "}"))
    assert draft.calls() == (ToolCall("a", "grep", "{}"), ToolCall("b", "glob", "{}"))


def test_calls_without_an_index():
    draft = drafted(part(None, "a", "grep", "{"), part(None, arguments="}"), part(None, "b", "glob", "{}"))
    assert draft.calls() == (ToolCall("a", "grep", "{}"), ToolCall("b", "glob", "{}"))


def test_a_name_repeated_in_every_delta_is_one_call():
    draft = drafted(part(0, "a", "grep", "{"), part(0, "a", "grep", "}"), part(0, "", "grep", ""))
    assert draft.calls() == (ToolCall("a", "grep", "{}"),)


def test_calls_without_ids_get_ids_of_their_own():
    first, second = drafted(part(None, "", "grep", "{}"), part(None, "", "glob", "{}")).calls()
    assert (first.name, second.name) == ("grep", "glob")
    assert first.id.startswith("call_")
    assert first.id != second.id


def test_arguments_given_as_an_object_become_text():
    (call,) = drafted(part(0, "a", "grep", {"x": [1]})).calls()
    assert call.arguments == '{"x":[1]}'


@pytest.mark.parametrize(
    ("said", "calls", "finish"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("function_call", True, "tool_calls"),
        ("length", True, "length"),
        ("content_filter", False, "content_filter"),
        ("", True, "tool_calls"),
        ("", False, "stop"),
    ],
)
def test_the_reason_for_the_end(said: str, calls: bool, finish: str):
    draft = drafted(part(0, "a", "grep", "{}") if calls else delta(content="x"), {"choices": [{"finish_reason": said}]})
    assert draft.finish() == finish
    assert draft.complete == bool(said)


def test_a_whole_message_is_read_like_a_delta():
    call = {"id": "a", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    message = {"role": "assistant", "content": [{"type": "text", "text": "hi"}], "tool_calls": [call]}
    draft = drafted({"model": "m-1", "choices": [{"message": message, "finish_reason": "stop"}]})
    assert (draft.text(), draft.calls(), draft.model) == ("hi", (ToolCall("a", "grep", "{}"),), "m-1")


def test_usage_as_counted():
    counted = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    assert drafted({"choices": [], "usage": counted}).usage(sent=4_000) == Usage(10, 4, 8)
    other = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 6}
    assert drafted({"usage": other}, {"usage": None}).usage(sent=4_000) == Usage(10, 4, 6)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": 3}, "many"])
def test_usage_that_is_missing_is_estimated_and_says_so(usage: object):
    draft = drafted(delta(content="x" * 9, reasoning_content="y" * 3), {"usage": usage})
    assert draft.usage(sent=4_001) == Usage(1_001, 3, estimated=True)


def test_reasoning_counts_as_life_and_is_not_kept():
    draft = drafted(delta(reasoning="thinking"), delta(content="done"))
    assert (draft.size, draft.text()) == (12, "done")


def test_a_character_cut_in_two_between_events_is_whole_again():
    events = [
        load(rb'{"choices":[{"delta":{"content":"\ud83d"}}]}'),
        load(rb'{"choices":[{"delta":{"content":"\ude00"}}]}'),
    ]
    assert drafted(*events).text() == "\U0001f600"
    assert drafted(events[0]).text() == "\ufffd"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"choices": None},
        {"choices": "x"},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": "x"}}]},
        {"choices": [{"delta": {"tool_calls": [None]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": None}]}}]},
        {"usage": []},
    ],
)
def test_odd_events_break_nothing(event: dict[str, Any]):
    assert drafted(event).text() == ""
    orjson.dumps([call.name for call in drafted(event).calls()])

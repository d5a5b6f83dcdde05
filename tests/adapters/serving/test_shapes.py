"""What clients of both kinds send becomes one conversation, whatever their habits; what cannot be is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.adapters.serving.anthropic import Messages
from orchestration.adapters.serving.openai import ChatCompletions
from orchestration.adapters.serving.shape import Question
from orchestration.domain.conversation import Message, ToolCall, ToolSpec
from orchestration.domain.errors import InvalidInput
from tests.adapters.serving.rig import reply

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


def chat(*messages: dict[str, Any], **body: Any) -> Question:
    return ChatCompletions().question({"messages": list(messages), **body})


def anthropic(*messages: dict[str, Any], **body: Any) -> Question:
    return Messages().question({"messages": list(messages), **body})


def says(text: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def test_a_chat_with_tools_in_every_form_that_clients_write():
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}
    question = chat(
        says("Work well.", "developer"),
        says([{"type": "text", "text": "Mend"}, {"type": "text", "text": "it."}], cache_control={"type": "ephemeral"}),
        says(None, "assistant", tool_calls=[call], reasoning_content="hm"),
        says([{"type": "text", "text": "the file"}], "tool", tool_call_id="c1"),
        says("Done.", "assistant", tool_calls=None),
        tools=[{"type": "function", "function": {"name": "read", "parameters": SCHEMA}}, {"type": "web_search"}],
        tool_choice={"type": "function", "function": {"name": "read"}},
        max_completion_tokens=50,
        temperature=0.2,
        unknown={"field": 1},
    )
    assert question.messages == (
        Message("system", "Work well."),
        Message("user", "Mend\nit."),
        Message("assistant", "", (ToolCall("c1", "read", '{"path": "a"}'),)),
        Message("tool", "the file", tool_call_id="c1"),
        Message("assistant", "Done."),
    )
    assert question.tools == (ToolSpec("read", "", SCHEMA),)
    assert (question.tool_choice, question.max_output_tokens, question.stream) == ("read", 50, False)


def test_a_messages_history_with_tools_in_every_form_that_clients_write():
    use = {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}}
    note = {"type": "thinking", "thinking": "hm", "signature": "s"}
    results = [
        {"type": "text", "text": "Go on."},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "the file"}]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "no such file", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3"},
    ]
    question = anthropic(
        says("Mend it."),
        says([note, {"type": "text", "text": "I read."}, use], "assistant"),
        says(results),
        system=[{"type": "text", "text": "Work"}, {"type": "text", "text": "well.", "cache_control": {"ttl": "1h"}}],
        tools=[{"name": "read", "input_schema": SCHEMA}, {"type": "bash_20250124", "name": "bash"}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        max_tokens=32_000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "u"},
        stream=True,
    )
    assert question.messages == (
        Message("system", "Work\nwell."),
        Message("user", "Mend it."),
        Message("assistant", "I read.", (ToolCall("t1", "read", '{"path":"a"}'),)),
        Message("tool", "the file", tool_call_id="t1"),
        Message("tool", "Error: no such file", tool_call_id="t2"),
        Message("tool", "", tool_call_id="t3"),
        Message("user", "Go on."),
    )
    assert question.tools == (ToolSpec("read", "", SCHEMA),)
    assert (question.tool_choice, question.max_output_tokens, question.stream) == ("required", 32_000, True)


@pytest.mark.parametrize(
    ("given", "choice"),
    [("auto", "auto"), ("none", "none"), ("required", "required"), ("odd", None), (None, None), ({"type": "x"}, None)],
)
def test_a_choice_of_tools_is_carried_where_it_is_known(given, choice):
    assert chat(says("x"), tool_choice=given).tool_choice == choice


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "read"}, "read"),
        ({"type": "odd"}, None),
        (None, None),
    ],
)
def test_so_is_one_of_the_other_kind(given, choice):
    assert anthropic(says("x"), tool_choice=given).tool_choice == choice


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "The request has no messages."),
        ({"messages": "hello"}, "Messages must be a list of objects."),
        ({"messages": [says("x", "robot")]}, "A message has the role 'robot'"),
        (
            {"messages": [says([{"type": "image_url", "image_url": {"url": "data:"}}])]},
            "does not stand in the request",
        ),
        ({"messages": [says([{"type": "input_audio"}])]}, "carries text and images"),
        ({"messages": [says("", "assistant", tool_calls=[{"function": {"name": "x"}}])]}, "A tool call has no id."),
        ({"messages": [says("x")], "tools": [{"type": "function", "function": {}}]}, "A tool has no name."),
        ({"messages": [says("x")], "tools": {"a": 1}}, "Tools must be a list of objects."),
        ({"messages": [says("x")], "max_tokens": 0}, "must be a whole number above 0"),
        ({"messages": [says("x")], "max_tokens": True}, "must be a whole number above 0"),
        ({"messages": [says("x")], "n": 2}, "one answer a request"),
        ({"messages": [says(5)]}, "must be a list of objects"),
    ],
)
def test_a_chat_that_cannot_be_carried_is_refused_in_a_sentence(body, why):
    with pytest.raises(InvalidInput, match=why):
        ChatCompletions().question(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"messages": []}, "The request has no messages."),
        ({"messages": [says("x", "robot")]}, "A message has the role 'robot'"),
        ({"messages": [says([{"type": "image", "source": {}}])]}, "does not stand in the request"),
        ({"messages": [says([{"type": "document"}])]}, "carries text and images"),
        (
            {"messages": [says([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}])]},
            "An image of a tool_result block does not stand",
        ),
        ({"messages": [says([{"type": "tool_result", "content": "x"}])]}, "A tool_result block has no tool_use_id."),
        ({"messages": [says([{"type": "tool_use", "id": "t"}], "assistant")]}, "A tool_use block has no name."),
        ({"messages": [says("x")], "system": [{"type": "image"}]}, "the system prompt has a part"),
    ],
)
def test_so_is_one_in_messages(body, why):
    with pytest.raises(InvalidInput, match=why):
        Messages().question(body)


def events_of(stream: list[bytes]) -> list[dict[str, Any]]:
    lines = b"".join(stream).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def test_a_stream_has_an_end_that_says_what_it_took_where_that_was_asked_for():
    asked = chat(says("x"), stream=True, stream_options={"include_usage": True})
    told = events_of(list(ChatCompletions().events(asked, reply("x" * 5000))))
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in told[:-1]) == "x" * 5000
    assert told[-1]["choices"] == []
    assert told[-1]["usage"]["total_tokens"] == 15
    plain = events_of(list(ChatCompletions().events(chat(says("x")), reply())))
    assert not any("usage" in one for one in plain)
    assert len({one["id"] for one in told}) == 1


@pytest.mark.parametrize(
    ("finish", "chat_says", "messages_say"),
    [
        ("stop", "stop", "end_turn"),
        ("length", "length", "max_tokens"),
        ("content_filter", "content_filter", "refusal"),
        ("a service's own", "stop", "end_turn"),
    ],
)
def test_the_reason_of_the_end_is_one_that_clients_know(finish, chat_says, messages_say):
    answered = reply("x", finish=finish)
    assert ChatCompletions().answer(chat(says("x")), answered)["choices"][0]["finish_reason"] == chat_says
    assert Messages().answer(anthropic(says("x")), answered)["stop_reason"] == messages_say


def test_arguments_that_are_no_object_reach_each_client_as_it_can_bear():
    answered = reply("", ToolCall("c1", "read", '{"path": '), ToolCall("c2", "list", ""))
    calls = ChatCompletions().answer(chat(says("x")), answered)["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"path": ', "{}"]
    content = Messages().answer(anthropic(says("x")), answered)["content"]
    assert [block["input"] for block in content] == [{"not_json": '{"path": '}, {}]


def test_an_answer_of_nothing_is_still_one():
    whole = ChatCompletions().answer(chat(says("x")), reply(""))
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": None}
    assert Messages().answer(anthropic(says("x")), reply(""))["content"] == []
    kinds = [one["type"] for one in events_of(list(Messages().events(anthropic(says("x")), reply(""))))]
    assert kinds == ["message_start", "message_delta", "message_stop"]

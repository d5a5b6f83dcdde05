"""The openai provider against a real server: what is asked, and the whole reply that comes back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.conversation import Message, ToolCall, Usage
from tests.adapters.openai_rig import GREP, HEAD, MESSAGES, SECRET, STOP, TEXT, Asker, encode, endpoint

# What is asked


def test_the_request_streams_and_wants_the_count_of_tokens():
    body = encode()
    assert body == {
        "model": "m-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "You work."}, {"role": "user", "content": "swarm: s1\nDo it."}],
    }


def test_an_answer_without_a_word_does_not_empty_the_history():
    body = encode([*MESSAGES, Message("assistant", " "), Message("user", "Go on.")])
    assert body["messages"][2:] == [
        {"role": "assistant", "content": "(no answer)"},
        {"role": "user", "content": "Go on."},
    ]


def test_tools_and_their_history():
    calls = (ToolCall("a", "grep", '{"pattern": "x"}'), ToolCall("b", "grep", ""), ToolCall("c", "grep", '{"pat'))
    body = encode([*MESSAGES, Message("assistant", "", calls), Message("tool", "found", tool_call_id="a")], [GREP])
    said, found = body["messages"][2:]
    assert said["content"] is None
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == [
        '{"pattern": "x"}',
        "{}",
        '{"not_json": "{\\"pat"}',
    ]
    assert found == {"role": "tool", "tool_call_id": "a", "content": "found"}
    assert body["tools"][0]["function"] == {"name": "grep", "description": "Search.", "parameters": GREP.parameters}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_general_tool_choice(choice: str):
    assert encode(tools=[GREP], tool_choice=choice)["tool_choice"] == choice


def test_a_tool_can_be_demanded_by_name():
    assert encode(tools=[GREP], tool_choice="grep")["tool_choice"] == {"type": "function", "function": {"name": "grep"}}
    assert "tool_choice" not in encode(tool_choice="auto")


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("http://127.0.0.1:11434/v1", "max_tokens"),
        ("https://notopenai.com/v1", "max_tokens"),
    ],
)
def test_the_limit_of_the_output_has_the_name_that_the_service_knows(base_url: str, name: str):
    assert encode(to=endpoint(base_url), max_output_tokens=77)[name] == 77


def test_a_broken_character_in_a_text_is_replaced():
    assert encode([Message("user", "a\udcffb")])["messages"][0]["content"] == "a?b"


# What comes back


async def test_a_streamed_reply(asker: Asker):
    asker.answer = Answer("hello", calls=(("grep", {"pattern": "x"}), ("grep", {})), usage=Usage(100, 20, 50), chunks=2)
    prices = {"input_price": Decimal(3), "output_price": Decimal(15)}
    reply = await asker.ask(**prices)
    assert (reply.text, reply.finish_reason, reply.usage) == ("hello", "tool_calls", Usage(100, 20, 50))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("grep", '{"pattern":"x"}'), ("grep", "{}")]
    assert (reply.model, reply.endpoint, reply.cost_usd, reply.retries) == ("m-1", "main", Decimal("0.0006"), 0)
    assert reply.latency_ms >= reply.first_token_ms >= 0
    assert asker.progress[-1] == len("hello") + len('{"pattern":"x"}{}')
    (seen,) = asker.service.requests
    assert (seen.stream, seen.tools, seen.authorization) == (True, ("grep",), f"Bearer {SECRET}")


async def test_a_service_that_does_not_stream_is_accepted(asker: Asker):
    asker.answer = Answer("hello", calls=(("grep", {"pattern": "x"}),), usage=Usage(100, 20), fault="no_stream")
    reply = await asker.ask()
    assert (reply.text, reply.usage, reply.finish_reason) == ("hello", Usage(100, 20), "tool_calls")
    assert reply.tool_calls[0].arguments == '{"pattern":"x"}'


async def test_a_stream_without_done_is_whole_once_it_has_a_finish_reason(asker: Asker):
    asker.answer = Answer("hello", fault="no_done")
    assert (await asker.ask()).text == "hello"


async def test_tokens_are_estimated_where_the_service_does_not_count(asker: Asker):
    asker.answer = Answer("x" * 40, fault="no_usage")
    usage = (await asker.ask()).usage
    assert usage.estimated
    assert usage.output_tokens == 10
    assert usage.input_tokens > 40


async def test_an_answer_cut_by_its_length_is_passed_on(asker: Asker):
    asker.answer = Answer("half a sent", finish_reason="length")
    assert (await asker.ask()).finish_reason == "length"


async def test_arguments_that_are_not_json_are_passed_on_as_written(asker: Asker):
    asker.answer = Answer(calls=(("grep", {"pattern": "x"}),), fault="bad_json_arguments")
    assert (await asker.ask()).tool_calls[0].arguments == '{"pattern":"x"'


async def test_a_connection_is_used_again(asker: Asker):
    for _ in range(3):
        await asker.ask()
    assert len(asker.service.connections) == 1


async def test_crlf_comments_and_cuts_anywhere_over_the_wire(asker: Asker, raw: Callable[..., str]):
    stream = b": waiting\r\n\r\n" + TEXT + b": waiting\r\n\r\n" + STOP + b"data: [DONE]\r\n\r\n"
    url = raw(HEAD, *(stream[at : at + 7] for at in range(0, len(stream), 7)))
    assert (await asker.ask(base_url=url)).text == "h\u00e9llo"


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]", STOP, STOP.strip()])
async def test_either_mark_ends_a_stream(asker: Asker, raw: Callable[..., str], end: bytes):
    assert (await asker.ask(base_url=raw(HEAD, TEXT + end))).text == "h\u00e9llo"


async def test_a_connection_that_breaks_after_the_finish_reason_costs_only_the_count(
    asker: Asker, raw: Callable[..., str]
):
    head = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    body = TEXT + STOP
    reply = await asker.ask(base_url=raw(head, b"%x\r\n%b\r\n" % (len(body), body)))
    assert (reply.text, reply.usage.estimated) == ("h\u00e9llo", True)


async def test_json_declared_as_a_stream_is_still_json(asker: Asker, raw: Callable[..., str]):
    body = b'\n {"choices":[{"message":{"content":"plain"},"finish_reason":"stop"}]}'
    assert (await asker.ask(base_url=raw(HEAD, body))).text == "plain"

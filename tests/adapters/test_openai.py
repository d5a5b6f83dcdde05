"""The openai provider against a real server: whole replies, or one sentence that says what went wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import httpx
import orjson
import pytest

from orchestration.adapters.llm.failures import Busy, ContextTooLong, retry_after
from orchestration.adapters.llm.keys import Key, read_key
from orchestration.adapters.llm.openai import OpenAI
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolCall, ToolSpec, Usage
from orchestration.domain.errors import AdapterError, Failure

SECRET = "sk-very-secret-value"
MESSAGES = (Message("system", "You work."), Message("user", "swarm: s1\nDo it."))
GREP = ToolSpec("grep", "Search.", {"type": "object", "properties": {"pattern": {"type": "string"}}})


def endpoint(base_url: str = "http://127.0.0.1:1/v1", **changes: Any) -> Endpoint:
    plain = Endpoint("main", "openai", base_url, "m-1", key_env="MAIN_KEY", loopback=True)
    return dataclasses.replace(plain, **changes)


def encode(messages: Sequence[Message] = MESSAGES, tools: Sequence[ToolSpec] = (), **options: Any) -> dict[str, Any]:
    to = options.pop("to", endpoint())
    options = {"tool_choice": None, "max_output_tokens": None} | options
    value: dict[str, Any] = orjson.loads(OpenAI().encode(to, messages, tools, **options))
    return value


class Asker:
    """Asks one scripted service."""

    def __init__(self) -> None:
        self.answer = Answer("hello")
        self.service = ScriptedService(lambda _: self.answer)
        self.client = httpx.AsyncClient(trust_env=False)
        self.progress: list[int] = []

    async def ask(self, provider: OpenAI | None = None, **changes: Any) -> Reply:
        provider = provider or OpenAI()
        to = endpoint(**{"base_url": self.service.base_url} | changes)
        body = provider.encode(to, MESSAGES, [GREP], tool_choice=None, max_output_tokens=None)
        return await provider.complete(self.client, to, Key(SECRET), body, on_progress=self.progress.append)

    async def refused(self, provider: OpenAI | None = None, **changes: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            await self.ask(provider, **changes)
        assert SECRET not in repr(caught.value)
        assert str(caught.value).endswith(".")
        return caught.value


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    asker = Asker()
    yield asker
    await asker.client.aclose()
    asker.service.close()


class RawServer:
    """Answers each connection with the same bytes, in the pieces given, and closes it."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while b'"stream":true' not in received:
                received += connection.recv(65536)
            for piece in self._pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def close(self) -> None:
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def raw() -> Iterator[Callable[..., str]]:
    servers: list[RawServer] = []

    def start(*pieces: bytes) -> str:
        servers.append(RawServer(*pieces))
        return servers[-1].base_url

    yield start
    for server in servers:
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TEXT = b'data: {"choices":[{"delta":{"content":"h\xc3\xa9llo"}}]}\r\n\r\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\r\n\r\n'


# What is asked


def test_the_request_streams_and_wants_the_count_of_tokens():
    body = encode()
    assert body == {
        "model": "m-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "You work."}, {"role": "user", "content": "swarm: s1\nDo it."}],
    }


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


# What goes wrong on the way


@pytest.mark.parametrize("fault", ["drop", "half_stream"])
async def test_half_a_stream_is_never_a_reply(asker: Asker, fault: Any):
    asker.answer = Answer("a long answer", fault=fault)
    error = await asker.refused()
    assert error.kind is Failure.TRANSIENT
    assert "closed the connection before its answer was complete" in str(error)


async def test_a_body_that_just_ends_is_half_a_stream_too(asker: Asker, raw: Callable[..., str]):
    error = await asker.refused(base_url=raw(HEAD, TEXT))
    assert error.kind is Failure.TRANSIENT
    assert "before its answer was complete" in str(error)


async def test_a_stream_that_stalls(asker: Asker):
    asker.answer = Answer("a long answer", fault="stall")
    error = await asker.refused(OpenAI(idle_timeout_s=0.05))
    assert error.kind is Failure.TRANSIENT
    assert "sent nothing for 0.05 s" in str(error)


async def test_a_service_that_keeps_sending_does_not_stall(asker: Asker):
    asker.answer = Answer("a long answer of many words", chunks=20, pace_s=0.02)
    assert (await asker.ask(OpenAI(idle_timeout_s=0.3))).text == asker.answer.text


async def test_a_hundred_megabytes_of_noise_are_refused_early(asker: Asker):
    asker.answer = Answer(fault="garbage")
    error = await asker.refused()
    assert error.kind is Failure.PERMANENT
    assert "sent more than 20,000,000 bytes" in str(error)
    asker.service.wait_for(lambda: asker.service.in_flight == 0)
    assert asker.service.bytes_sent < 40_000_000


async def test_a_plain_body_is_bounded_as_well(asker: Asker):
    asker.answer = Answer("x" * 5_000, fault="no_stream")
    assert "sent more than 3,000 bytes" in str(await asker.refused(OpenAI(body_limit=3_000)))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("html", Failure.PERMANENT, "answered with a web page instead of JSON; check the endpoint's base URL"),
        ("bad_event", Failure.TRANSIENT, "answered with something that is not a JSON object"),
    ],
)
async def test_something_else_than_json(asker: Asker, fault: Any, kind: Failure, words: str):
    asker.answer = Answer("a long answer", fault=fault)
    error = await asker.refused()
    assert (error.kind, words in str(error)) == (kind, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"data: [DONE]\n\n", "answered without saying anything"),
        (b'{"object":"chat.completion","choices":[]}', "answered without saying anything"),
        (b'{"choices":[{"message":{"tool_calls":[{"id":"a","function":{}}]}}]}', "a tool call that names no tool"),
        (b'{"cut":', "not a JSON object"),
        (b"data: [1]\n\n", "not a JSON object"),
        (b'data: {"error":{"message":"upstream died","code":502}}\n\n', "overloaded or broken (502: upstream died)"),
    ],
)
async def test_an_empty_or_broken_answer_may_be_asked_for_again(
    asker: Asker, raw: Callable[..., str], body: bytes, words: str
):
    error = await asker.refused(base_url=raw(HEAD, body))
    assert (error.kind, words in str(error)) == (Failure.TRANSIENT, True)


async def test_a_compressed_answer_is_refused(asker: Asker, raw: Callable[..., str]):
    head = HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    assert "compresses its answers" in str(await asker.refused(base_url=raw(head, b"\x1f\x8b")))


async def test_an_error_in_the_middle_of_a_stream(asker: Asker):
    asker.answer = Answer("long", error={"message": "slow down", "code": 429}, fault="error_event")
    error = await asker.refused()
    assert isinstance(error, Busy)
    assert error.rate_limited


async def test_a_refused_connection(asker: Asker):
    asker.service.close()
    error = await asker.refused()
    assert error.kind is Failure.TRANSIENT
    assert "refused the connection; check that the service runs" in str(error)
    assert f"main (127.0.0.1:{asker.service.port})" in str(error)


async def test_a_host_without_an_address(asker: Asker):
    error = await asker.refused(base_url="http://no-such-host.invalid/v1")
    assert error.kind is Failure.TRANSIENT
    assert "host name has no address" in str(error)


@pytest.mark.parametrize(
    "base_url", ["ftp://127.0.0.1/v1", "127.0.0.1:8000/v1", "http://[::1", "http://user:pass@127.0.0.1:1/v1", ""]
)
async def test_an_address_that_cannot_be_asked(asker: Asker, base_url: str):
    error = await asker.refused(base_url=base_url)
    assert error.kind is Failure.PERMANENT
    assert "not a valid http or https address" in str(error)
    assert "pass" not in str(error)


# What the service refuses


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (401, {}, Failure.PERMANENT, "refused the key in $MAIN_KEY (401: scripted status 401)"),
        (403, {"message": "no access"}, Failure.PERMANENT, "refused the key in $MAIN_KEY (403: no access)"),
        (404, {}, Failure.PERMANENT, "knows no model m-1 at /v1/chat/completions"),
        (400, {"message": "bad tools."}, Failure.PERMANENT, "refused the request (400: bad tools)."),
        (402, {}, Failure.BUDGET, "has no credit left"),
        (429, {"code": "insufficient_quota"}, Failure.BUDGET, "has no credit left"),
        (403, {"type": "insufficient_quota"}, Failure.BUDGET, "has no credit left"),
        (429, {}, Failure.TRANSIENT, "asks for fewer requests"),
        (408, {}, Failure.TRANSIENT, "did not take the request this time"),
        (500, {}, Failure.TRANSIENT, "is overloaded or broken (500"),
        (503, {}, Failure.TRANSIENT, "is overloaded or broken (503"),
        (529, {}, Failure.TRANSIENT, "is overloaded or broken (529"),
    ],
)
async def test_statuses_are_told_apart(asker: Asker, status: int, error: dict[str, Any], kind: Failure, words: str):
    asker.answer = Answer(status=status, error=error)
    refused = await asker.refused()
    assert (refused.kind, words in str(refused)) == (kind, True), refused


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "context_length_exceeded", "message": "no"}),
        (400, {"message": "This model's maximum context length is 8192 tokens"}),
        (422, {"message": "prompt is too long: 9 tokens > 8"}),
        (413, {"message": "too large"}),
    ],
)
async def test_a_conversation_that_is_too_long_is_known_as_such(asker: Asker, status: int, error: dict[str, Any]):
    asker.answer = Answer(status=status, error=error)
    refused = await asker.refused()
    assert isinstance(refused, ContextTooLong)
    assert refused.kind is Failure.PERMANENT


async def test_a_redirect_is_not_followed(asker: Asker):
    with ScriptedService(lambda _: Answer("elsewhere")) as other:
        asker.answer = Answer(status=307, headers={"Location": f"{other.base_url}/chat/completions?token=x"})
        error = await asker.refused()
        assert error.kind is Failure.PERMANENT
        assert f"redirects to 127.0.0.1:{other.port}; enter the final address" in str(error)
        assert other.total == 0


async def test_a_web_page_with_an_error_status_is_judged_by_its_status(asker: Asker):
    asker.answer = Answer(status=502, fault="html")
    error = await asker.refused()
    assert (error.kind, str(error).endswith("is overloaded or broken (502).")) == (Failure.TRANSIENT, True)


async def test_a_long_error_is_cut_and_stands_in_one_line(asker: Asker):
    asker.answer = Answer(status=400, error={"message": "line\n" * 1000})
    error = str(await asker.refused())
    assert len(error) < 500
    assert "\n" not in error


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 402])
@pytest.mark.parametrize("before", ["", "x" * 290])
async def test_a_key_that_the_service_quotes_is_not_shown(asker: Asker, status: int, before: str):
    asker.answer = Answer(status=status, error={"message": f"{before}Incorrect API key provided: {SECRET}"})
    error = str(await asker.refused())
    assert SECRET[:8] not in error
    assert before or "[key]" in error


# Keys and headers


def test_a_key_is_read_from_the_environment_and_shown_nowhere():
    key = read_key(endpoint(loopback=False), {"MAIN_KEY": f" {SECRET}\n"})
    assert key.headers() == {"Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(key) + str(key) + f"{[key]}"


def test_a_missing_key_names_its_variable():
    with pytest.raises(AdapterError, match=r"set the environment variable \$MAIN_KEY") as caught:
        read_key(endpoint(loopback=False), {"MAIN_KEY": ""})
    assert caught.value.kind is Failure.PERMANENT


@pytest.mark.parametrize("to", [endpoint(loopback=True), endpoint(key_env="", loopback=False)])
def test_a_key_is_optional_on_loopback_and_where_none_is_named(to: Endpoint):
    assert read_key(to, {}).headers() == {}
    assert repr(read_key(to, {})) == "Key(none)"


@pytest.mark.parametrize("value", ["two\nlines", "a b", "k\u00e9y", "nul\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(value: str):
    with pytest.raises(AdapterError, match=r"key in \$MAIN_KEY holds") as caught:
        read_key(endpoint(), {"MAIN_KEY": value})
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers) == seconds


def test_when_to_ask_again_as_a_date():
    seconds = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert seconds is not None
    assert 3_000 < seconds <= 3_600


async def test_a_cancelled_try_leaves_its_connection(asker: Asker):
    asker.answer = Answer("long", fault="stall")
    task = asyncio.create_task(asker.ask())
    await asyncio.to_thread(asker.service.wait_for, lambda: asker.service.in_flight == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(asker.service.wait_for, lambda: asker.service.hung_up == 1)

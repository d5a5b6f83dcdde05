"""Whatever goes wrong at a service becomes one sentence that says what, and one kind. Keys are not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from orchestration.adapters.llm.failures import Busy, ContextTooLong, retry_after
from orchestration.adapters.llm.keys import read_key
from orchestration.adapters.llm.openai import OpenAI
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError, Failure
from tests.adapters.openai_rig import HEAD, SECRET, TEXT, Asker, endpoint

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
    asker.answer = Answer("a long answer of many words", chunks=20, pace_s=0.12)
    assert (await asker.ask(OpenAI(idle_timeout_s=2))).text == asker.answer.text


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
    ("fault", "words"),
    [
        ("html", "answered with a web page instead of JSON; check the endpoint's base URL"),
        ("bad_event", "answered with something that is not a JSON object"),
    ],
)
async def test_something_else_than_json_may_be_a_proxy_and_is_asked_again(asker: Asker, fault: Any, words: str):
    asker.answer = Answer("a long answer", fault=fault)
    error = await asker.refused()
    assert (error.kind, words in str(error)) == (Failure.TRANSIENT, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"data: [DONE]\n\n", "answered without saying anything"),
        (b'{"object":"chat.completion","choices":[]}', "answered without saying anything"),
        (b'{"choices":[{"message":{"tool_calls":[{"id":"a","function":{}}]}}]}', "a tool call that names no tool"),
        (b'{"cut":', "closed the connection before its answer was complete"),
        (b"{not json}", "not a JSON object"),
        (TEXT + b'data: {"choices": [{"de', "closed the connection before its answer was complete"),
        (b"data: {", "closed the connection before its answer was complete"),
        (b"<html>502</html>", "answered with a web page instead of JSON; check the endpoint's base URL"),
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
    "base_url",
    [
        "ftp://127.0.0.1/v1",
        "127.0.0.1:8000/v1",
        "http://[::1",
        "http://user:pass@127.0.0.1:1/v1",
        "http://127.0.0.1:99999/v1",
        "http://xn--/v1",
        "http:///v1",
        "",
    ],
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
        (429, {"message": "Too many tokens, please wait."}, Failure.TRANSIENT, "asks for fewer requests (429"),
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
        (400, {"type": "exceed_context_size_error", "message": "request (9 tokens) exceeds the context size"}),
        (400, {"message": "Your input exceeds the context window of this model. Please adjust your input."}),
        (400, {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}),
        (400, {"message": "Prompt contains 9 tokens, too large for model with 8 maximum context length"}),
        (400, {"message": "This model's maximum prompt length is 8 but the request contains 9 tokens."}),
        (422, {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8."}),
        (500, {"message": "the request exceeds the available context size. try increasing the context size"}),
        (429, {"code": "rate_limit_exceeded", "message": "Request too large for m on tokens per min (TPM): Limit 8"}),
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
@pytest.mark.parametrize("before", ["", "x" * 262])
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

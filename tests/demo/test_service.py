"""The scripted service is a real one: other clients than ours can talk to it, and it misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.demo.wire import events, read_request
from orchestration.domain.conversation import Usage
from orchestration.domain.errors import AdapterError, Failure

FIRST = "swarm: s1\nsubtask: add-readme\nWrite a README.\nswarm: not-this"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def body(text: str = FIRST, *tools: str, stream: bool = False, turns: int = 0) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You work."}, {"role": "user", "content": text}]
    messages += [{"role": "assistant", "content": "..."}] * turns
    return {
        "model": "m",
        "messages": messages,
        "stream": stream,
        "tools": [tool(name) for name in tools],
        "stream_options": {"include_usage": True},
    }


class Client:
    """Talks to one service; `answer` may be changed at any time."""

    def __init__(self) -> None:
        self.answer: Answer | Callable[[Request], Answer] = Answer("hello")
        self.service = ScriptedService(self._script)
        self.http = httpx.Client(base_url=self.service.base_url, trust_env=False, timeout=60)

    def _script(self, request: Request) -> Answer:
        return self.answer(request) if callable(self.answer) else self.answer

    def post(self, value: dict[str, Any] | None = None) -> httpx.Response:
        return self.http.post("/chat/completions", json=body() if value is None else value)

    def close(self) -> None:
        self.http.close()
        self.service.close()


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


def data(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_script_sees_who_asks_and_how_far_it_is(client: Client):
    client.post(body(FIRST, "read_file", "handoff", turns=2))
    (seen,) = client.service.requests
    assert (seen.swarm, seen.subtask, seen.closing, seen.turns) == ("s1", "add-readme", "handoff", 2)
    assert seen.tools == ("read_file", "handoff")
    assert (seen.number, seen.model, seen.stream) == (1, "m", False)
    assert (seen.first_text, seen.last_text) == (FIRST, "...")


@pytest.mark.parametrize("closing", ["submit_plan", "handoff", "submit_review", "submit_fixes"])
def test_a_caller_is_known_by_its_closing_call(closing: str):
    assert read_request(1, body(FIRST, "grep", closing), "").closing == closing


def test_a_request_without_the_head_lines_belongs_to_nobody():
    seen = read_request(1, {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, "")
    assert (seen.swarm, seen.subtask, seen.closing, seen.first_text) == ("", "", "", "hi")


def test_a_plain_answer(client: Client):
    client.answer = Answer("hi", calls=(("grep", {"pattern": "x"}),), usage=Usage(10, 5, 3))
    reply = client.post().json()
    (choice,) = reply["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["message"]["content"] == "hi"
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "grep", "arguments": '{"pattern":"x"}'}
    assert reply["usage"]["prompt_tokens"] == 10
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


def test_a_streamed_answer_comes_in_pieces_that_add_up(client: Client):
    client.answer = Answer("hello world", calls=(("grep", {"pattern": "x"}),), chunks=3, pace_s=0.001)
    response = client.post(body(stream=True))
    *chunks, usage, done = data(response)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert response.headers["content-type"] == "text/event-stream"
    assert [delta["content"] for delta in deltas if delta.get("content")] == ["hell", "o wo", "rld"]
    arguments = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(arguments) == '{"pattern":"x"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"]["completion_tokens"] > 0
    assert done == "[DONE]"


def test_a_status_with_headers_and_an_error(client: Client):
    client.answer = Answer(status=429, headers={"Retry-After": "7"}, error={"code": "insufficient_quota"})
    response = client.post()
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json()["error"]["code"] == "insufficient_quota"


def test_the_models_are_listed(client: Client):
    assert client.http.get("/models").json()["data"][0]["id"] == "scripted"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("POST", "/chat/completions", b"{", 400),
        ("POST", "/chat/completions", b'{"model": "m"}', 400),
        ("POST", "/chat/completions", b"[]", 400),
    ],
)
def test_a_bad_request_is_refused_and_the_connection_goes_on(
    client: Client, method: str, path: str, content: bytes, status: int
):
    assert client.http.request(method, path, content=content).status_code == status
    assert client.post().status_code == 200
    assert client.service.total == 1


def test_a_script_that_fails_is_told_to_the_client(client: Client, caplog: pytest.LogCaptureFixture):
    client.answer = lambda request: Answer(text=request.messages[99]["content"])
    response = client.post()
    assert response.status_code == 500
    assert "IndexError" in response.json()["error"]["message"]
    assert "failed on request 1" in caplog.text


@pytest.mark.parametrize("fault", ["drop", "half_stream"])
def test_a_broken_connection(client: Client, fault: Any):
    client.answer = Answer("a long answer", fault=fault)
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(body(stream=True))


@pytest.mark.parametrize(
    ("fault", "mark"),
    [
        ("html", "<!doctype html>"),
        ("bad_event", 'data: {"choices": [}'),
        ("error_event", "scripted status 200"),
        ("no_stream", '"object":"chat.completion",'),
    ],
)
def test_a_wrong_body(client: Client, fault: Any, mark: str):
    client.answer = Answer("a long answer", fault=fault)
    assert mark in client.post(body(stream=True)).text


@pytest.mark.parametrize(("fault", "missing"), [("no_done", "[DONE]"), ("no_usage", "prompt_tokens")])
def test_a_missing_part(client: Client, fault: Any, missing: str):
    client.answer = Answer("a long answer")
    assert missing in client.post(body(stream=True)).text
    client.answer = Answer("a long answer", fault=fault)
    assert missing not in client.post(body(stream=True)).text


def test_bad_arguments(client: Client):
    client.answer = Answer(calls=(("grep", {"pattern": "x"}),), fault="bad_json_arguments")
    call = client.post().json()["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"pattern":"x"'


def test_arguments_may_be_raw_text():
    request = read_request(1, body(stream=True), "")
    assert b'"arguments":"not json"' in b"".join(events(request, Answer(calls=(("x", "not json"),), chunks=1)))


def test_two_hundred_answers_stream_at_once(client: Client):
    client.answer = Answer("one two three", held="all", pace_s=0.001)
    limits = httpx.Limits(max_connections=200)
    with (
        httpx.Client(base_url=client.service.base_url, trust_env=False, timeout=30, limits=limits) as http,
        ThreadPoolExecutor(200) as pool,
    ):
        waiting = [pool.submit(http.post, "/chat/completions", json=body(stream=True)) for _ in range(200)]
        client.service.wait_for(lambda: client.service.in_flight == 200, 30)
        client.service.release("all")
        assert all(each.result().text.endswith("[DONE]\n\n") for each in waiting)
    assert client.service.most_in_flight == 200


@pytest.mark.parametrize("answer", [Answer(delay_s=3600), Answer(held="never"), Answer("long", fault="stall")])
def test_closing_ends_a_sleeping_answer(client: Client, answer: Answer):
    client.answer = answer
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, body(stream=True))
        client.service.wait_for(lambda: client.service.in_flight == 1)
        client.service.close()
        with pytest.raises(httpx.TransportError):
            waiting.result(60)
    client.service.close()


def test_a_client_that_leaves_is_noticed(client: Client):
    client.answer = Answer("long", fault="stall")
    with client.http.stream("POST", "/chat/completions", json=body(stream=True)):
        client.service.wait_for(lambda: client.service.in_flight == 1)
    client.service.wait_for(lambda: client.service.in_flight == 0)
    assert client.service.hung_up == 1


def test_only_the_last_requests_are_kept():
    with (
        ScriptedService(lambda _: Answer("hi"), keep=3) as service,
        httpx.Client(base_url=service.base_url, trust_env=False) as http,
    ):
        for _ in range(5):
            http.post("/chat/completions", json=body())
        assert [request.number for request in service.requests] == [3, 4, 5]
        assert service.total == 5


def test_waiting_in_vain_says_what_was_seen(client: Client):
    with pytest.raises(TimeoutError, match="seen 0 requests"):
        client.service.wait_for(lambda: False, 0.01)


def test_the_text_of_a_request_shows_no_key(client: Client):
    client.http.post("/chat/completions", json=body(), headers={"Authorization": "Bearer sk-secret"})
    (seen,) = client.service.requests
    assert seen.authorization == "Bearer sk-secret"
    assert "sk-secret" not in repr(seen)


def test_a_used_port_is_refused_with_a_sentence(client: Client):
    before = threading.active_count()
    with pytest.raises(AdapterError, match=f"cannot listen on port {client.service.port}") as caught:
        ScriptedService(lambda _: Answer(), port=client.service.port)
    assert caught.value.kind is Failure.PERMANENT
    assert threading.active_count() == before


def test_a_port_can_be_chosen_again_after_closing():
    with ScriptedService(lambda _: Answer()) as first:
        pass
    with ScriptedService(lambda _: Answer(), port=first.port) as second:
        assert second.port == first.port

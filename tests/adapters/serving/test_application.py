"""The gateway's HTTP: what it serves, how it keeps a client waiting, what it refuses and how it says so."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from orchestration.adapters.llm.failures import Busy, ContextTooLong, RequestRefused
from orchestration.adapters.serving import application, exchange, server
from orchestration.domain.errors import AdapterError, Failure
from tests.adapters.serving.rig import TOKEN, Caller, connect, is_closed, reply, served

CHAT, MESSAGES = "/openai/v1/chat/completions", "/anthropic/v1/messages"
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}]}


def raising(error: Exception):
    def says(_):
        raise error

    return Caller(says=says)


@pytest.mark.parametrize(
    "path",
    [CHAT, "/openai/chat/completions", MESSAGES, "/anthropic/messages", f"/gateway{CHAT}", f"/gateway{MESSAGES}"],
)
def test_each_shape_answers_with_and_without_a_version_and_below_the_site(path):
    with served(Caller()) as client:
        answer = client.post(path, json=ASK)
        assert answer.status_code == 200
        assert "Hello." in answer.text


def test_a_client_may_send_its_token_either_way():
    with served(Caller()) as client:
        for headers in ({"x-api-key": TOKEN, "Authorization": ""}, {"Authorization": f"bearer {TOKEN}"}):
            assert client.get("/openai/v1/models", headers=headers).status_code == 200
        assert client.get("/openai/v1/models", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401


def test_the_models_are_the_one_that_answers():
    with served(Caller(model="org/real-1")) as client:
        assert client.get("/openai/v1/models").json()["data"][0]["id"] == "org/real-1"
        assert client.get("/openai/v1/models/anything").json()["id"] == "org/real-1"
        listed = client.get("/anthropic/v1/models").json()
        assert (listed["data"][0]["type"], listed["first_id"], listed["has_more"]) == ("model", "org/real-1", False)


def test_tokens_are_counted_roughly():
    with served(Caller()) as client:
        few = client.post(f"{MESSAGES}/count_tokens", json=ASK).json()["input_tokens"]
        more = {"messages": [{"role": "user", "content": "word " * 1000}]}
        many = client.post(f"{MESSAGES}/count_tokens", json=ASK | more).json()["input_tokens"]
        assert few < 20
        assert 1000 <= many <= 2000


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("POST", "/openai/v1/embeddings", 404, "There is nothing here."),
        ("POST", "/openai/v1/messages", 404, "There is nothing here."),
        ("GET", "/", 404, "There is nothing here."),
        ("GET", CHAT, 405, "Use POST here."),
        ("POST", "/anthropic/v1/models", 405, "Use GET here."),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(method, path, status, says):
    with served(Caller()) as client:
        answer = client.request(method, path)
        assert answer.status_code == status
        assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(body):
    with served(Caller()) as client:
        answer = client.post(CHAT, content=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert answer.json()["error"]["message"] == "The request's body must be one JSON object."
        assert client.post(MESSAGES, content=body).json()["error"]["type"] == "invalid_request_error"


def test_a_body_is_bounded_whether_its_size_is_declared_or_not(monkeypatch):
    monkeypatch.setattr(exchange, "BODY_LIMIT", 100_000)
    caller = Caller()

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    with served(caller) as client:
        assert client.post(CHAT, content=b" " * 200_000).status_code == 413
        assert client.post(MESSAGES, content=chunks()).json()["error"]["type"] == "request_too_large"
        assert client.post(CHAT, content=json.dumps(ASK).encode() + b" " * 50_000).status_code == 200
        with raw(client, f"POST {CHAT} HTTP/1.1", "Content-Length: 9999999") as connection:
            assert b" 413 " in connection.recv(4096)  # without a byte of it
    assert len(caller.asked) == 1


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(exchange, "BODY_S", 0.1)
    with served(Caller()) as client, raw(client, f"POST {CHAT} HTTP/1.1", "Content-Length: 50") as connection:
        connection.sendall(b"{")
        assert b" 408 " in connection.recv(4096)


def raw(client: httpx.Client, line: str, *headers: str) -> socket.socket:
    connection = connect(client)
    told = [line, "Host: gateway", f"Authorization: Bearer {TOKEN}", *headers, "", ""]
    connection.sendall("\r\n".join(told).encode())
    return connection


def test_a_connection_that_says_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(server, "HEAD_S", 0.1)
    with served(Caller()) as client:
        with connect(client) as silent:
            silent.sendall(b"POST ")
            assert is_closed(silent)
        assert client.post(CHAT, json=ASK).status_code == 200


def test_no_agent_holds_more_connections_than_it_may(monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    with served(Caller()) as client:
        assert client.post(CHAT, json=ASK).status_code == 200  # keeps its connection: the first of three
        with connect(client), connect(client), connect(client) as fourth:
            assert is_closed(fourth)
            assert client.post(CHAT, json=ASK).status_code == 200


def test_a_head_that_never_ends_is_not_kept(monkeypatch):
    monkeypatch.setattr(server, "HEAD_LIMIT", 2000)
    with served(Caller()) as client, connect(client) as endless:
        endless.sendall(f"GET {CHAT} HTTP/1.1\r\nX: {'x' * 5000}".encode())
        assert endless.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(("path", "end"), [(CHAT, "data: [DONE]"), (MESSAGES, '"type":"message_stop"')])
def test_a_stream_is_kept_alive_while_the_model_thinks(path, end):
    caller = Caller(waits=True)
    with served(caller, keep_alive_s=0.02) as client:
        with client.stream("POST", path, json=ASK | {"stream": True}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            assert [next(lines) for _ in range(3)] == [": the model thinks", "", ": the model thinks"]
            caller.go.set()
            rest = "\n".join(lines)
        assert "Hello." in rest
        assert end in rest


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_what_fails_after_the_stream_began_is_told_in_it(path):
    caller = raising(AdapterError(Failure.TRANSIENT, "house is overloaded."))
    caller.waits = True
    with served(caller, keep_alive_s=0.02) as client:
        with client.stream("POST", path, json=ASK | {"stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            caller.go.set()
            told = [line for line in lines if line.startswith(("data:", "event:"))]
        assert answer.status_code == 200
        assert json.loads(told[-1].removeprefix("data:"))["error"]["message"] == "house is overloaded."
        assert ("event: error" in told) == (path == MESSAGES)


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_hangs_up_cancels_the_call(stream):
    caller, body = Caller(waits=True), json.dumps(ASK | {"stream": stream}).encode()
    with served(caller, keep_alive_s=0.02) as client:
        with raw(client, f"POST {CHAT} HTTP/1.1", f"Content-Length: {len(body)}") as agent:
            agent.sendall(body)
            assert caller.in_flight.wait(60)
        assert caller.ended.wait(60)
    assert caller.left == [application.GONE]


@pytest.mark.parametrize(
    ("error", "chat", "messages", "again"),
    [
        (AdapterError(Failure.TRANSIENT, "x."), (503, "server_error"), (529, "overloaded_error"), "true"),
        (
            Busy("x.", retry_after_s=1, rate_limited=True),
            (429, "rate_limit_error"),
            (429, "rate_limit_error"),
            "true",
        ),
        (AdapterError(Failure.BUDGET, "x."), (429, "insufficient_quota"), (429, "rate_limit_error"), "false"),
        (AdapterError(Failure.PERMANENT, "x."), (502, "server_error"), (502, "api_error"), "false"),
        (AdapterError(Failure.CANCELLED, "x."), (503, "server_error"), (503, "api_error"), "false"),
        (RequestRefused("x."), (400, "invalid_request_error"), (400, "invalid_request_error"), "false"),
        (ContextTooLong("x."), (400, "invalid_request_error"), (400, "invalid_request_error"), "false"),
    ],
)
def test_each_failure_has_the_status_that_makes_clients_do_the_right_thing(error, chat, messages, again):
    with served(raising(error)) as client:
        for path, (status, kind) in ((CHAT, chat), (MESSAGES, messages)):
            answer = client.post(path, json=ASK)
            assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
            assert answer.json()["error"]["message"] == "x."
            assert answer.headers["x-should-retry"] == again


def test_a_context_that_is_too_long_has_the_code_that_agents_shorten_theirs_by():
    with served(raising(ContextTooLong("Too long."))) as client:
        assert client.post(CHAT, json=ASK).json()["error"]["code"] == "context_length_exceeded"


def test_our_own_mistake_is_logged_and_not_shown(caplog):
    with served(raising(ZeroDivisionError("inner workings"))) as client, caplog.at_level(logging.ERROR):
        answer = client.post(CHAT, json=ASK)
    assert answer.status_code == 500
    assert "inner workings" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_process_takes_no_more_calls_than_it_has_threads_for(monkeypatch):
    monkeypatch.setattr(application, "MOST_CALLS", 1)
    caller = Caller(waits=True)
    with served(caller) as client:
        waiting = threading.Thread(target=client.post, args=[CHAT], kwargs={"json": ASK})
        waiting.start()
        assert caller.in_flight.wait(60)
        refused = client.post(CHAT, json=ASK)
        caller.go.set()
        waiting.join(60)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "true")


def test_many_calls_on_one_connection_and_their_order():
    caller = Caller(says=lambda question: reply(question.messages[0].text))
    with served(caller) as client:
        for number in range(20):
            said = client.post(CHAT, json=ASK | {"messages": [{"role": "user", "content": f"{number}"}]}).json()
            assert said["choices"][0]["message"]["content"] == str(number)

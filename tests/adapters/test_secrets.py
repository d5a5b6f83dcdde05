"""What models and agents say never shows a secret: to the model again, in an answer, in a log."""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from orchestration.adapters import secrets
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Message, ToolCall
from orchestration.domain.redaction import REMOVED
from tests.adapters.gateway_rig import Rig

KEY = "sk-proj-0123456789abcdef"
ENCODED = base64.b64encode(f"x{KEY}".encode()).decode()


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_named", set())
    monkeypatch.setenv("MAIN_KEY", KEY)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "GITHUB_WEBHOOK_SECRET", "GITHUB_APP_PRIVATE_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"]
)
def test_our_own_variables_are_known_by_name(monkeypatch: pytest.MonkeyPatch, name: str):
    assert secrets.clean("a-value-of-ours") == "a-value-of-ours"
    monkeypatch.setenv(name, "a-value-of-ours")
    assert secrets.clean("a-value-of-ours") == REMOVED


@pytest.mark.parametrize("name", ["GITHUB_API_URL", "GITHUB_REPOSITORY", "HOME", "OPENAI_BASE_URL"])
def test_addresses_are_no_secrets(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "https://api.example.org")
    assert secrets.clean("see https://api.example.org") == "see https://api.example.org"


def test_what_comes_changes_and_goes_in_the_environment_is_seen_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_LATE_TOKEN", "first-of-its-values")
    assert secrets.clean("a first-of-its-values b") == f"a {REMOVED} b"
    monkeypatch.setenv("SWARM_LATE_TOKEN", "second-of-its-values")
    assert secrets.clean("first-of-its-values second-of-its-values") == f"first-of-its-values {REMOVED}"
    monkeypatch.delenv("SWARM_LATE_TOKEN")
    monkeypatch.setenv("SWARM_LATER_TOKEN", "third-of-its-values")
    assert secrets.clean("second-of-its-values third-of-its-values") == f"second-of-its-values {REMOVED}"


def test_what_is_learnt_after_a_look_is_known_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secrets, "_learnt", {})
    assert secrets.clean("a token-that-was-made b") == "a token-that-was-made b"
    secrets.learn("token-that-was-made")
    assert secrets.clean("a token-that-was-made b") == f"a {REMOVED} b"


def test_nothing_is_read_again_while_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_LATE_TOKEN", "first-of-its-values")
    before = secrets._environment.copy()
    known, sources = secrets.redactor(), secrets._known
    assert secrets.redactor() is known
    assert secrets._known is sources
    assert before == {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()}


def test_a_message_without_a_secret_is_not_copied(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_LATE_TOKEN", "first-of-its-values")
    innocent = Message("assistant", "text", (ToolCall("1", "bash", "{}"),))
    assert secrets.clean_messages([innocent])[0] is innocent
    for guilty in (
        Message("assistant", "a first-of-its-values b"),
        Message("assistant", "", (ToolCall("1", "bash", '{"command": "first-of-its-values"}'),)),
        Message("assistant", "", (ToolCall("1", "first-of-its-values", "{}"),)),
    ):
        assert "first-of-its-values" not in str(secrets.clean_messages([innocent, guilty]))


def test_the_key_of_the_data_directory_is_one_too(settings):
    assert secrets.clean(f"it is {settings.SECRET_KEY}") == f"it is {REMOVED}"


def test_variables_that_endpoints_name_are_known_once_they_are_watched():
    assert secrets.clean(KEY) == KEY
    secrets.watch(["MAIN_KEY", ""])
    plain, encoded = secrets.clean([KEY, ENCODED])
    assert plain == REMOVED
    assert REMOVED in encoded


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("said", [KEY, ENCODED])
@pytest.mark.parametrize("chunks", [1, 2, 7, 100])
def test_an_answer_is_cleaned_when_it_is_whole(rig: Rig, kind: str, said: str, chunks: int):
    rig.script(Answer(f"It is {said}!", calls=(("write_file", {"content": said}),), chunks=chunks))
    reply = rig.ask(rig.endpoint(kind=kind))
    assert REMOVED in reply.text
    assert REMOVED in json.loads(reply.tool_calls[0].arguments)["content"]
    assert said[4:-4] not in repr(reply)


def test_what_is_sent_to_a_model_is_cleaned_and_its_key_still_arrives(rig: Rig):
    call = ToolCall("c1", "write_file", json.dumps({"content": KEY}))
    messages = [
        Message("system", KEY),
        Message("user", f"see {ENCODED}"),
        Message("assistant", "", (call,)),
        Message("tool", f"wrote {KEY.encode().hex()}", tool_call_id="c1"),
    ]
    rig.gateway.complete(rig.endpoint(), messages, [], purpose="test", cancellation=rig.cancellation)
    (seen,) = rig.service.requests
    sent = json.dumps(seen.body)
    assert sent.count(REMOVED) == 4
    assert KEY not in sent
    assert ENCODED not in sent
    assert seen.authorization == f"Bearer {KEY}"


def test_without_a_known_secret_nothing_is_changed(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MAIN_KEY")
    rig.script(Answer(f"It is {KEY}!"))
    assert rig.ask().text == f"It is {KEY}!"


# Logs


def logged(message: str, *arguments: object, error: bool = False) -> str:
    """As the handler of our settings would write it."""
    info = None
    if error:
        try:
            raise ValueError(f"bad {KEY}")
        except ValueError:
            info = sys.exc_info()
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, message, arguments, info)
    assert secrets.LogFilter().filter(record)
    return logging.Formatter().format(record)


def test_log_lines_are_cleaned_with_their_arguments_and_tracebacks():
    assert KEY in logged("it is %s", KEY)
    secrets.watch(["MAIN_KEY"])
    assert logged("it is %s", KEY) == f"it is {REMOVED}"
    assert logged("%d of %s", 3, "five") == "3 of five"
    shown = logged("it failed", error=True)
    assert KEY not in shown
    assert f"ValueError: bad {REMOVED}" in shown


def test_the_filter_stands_before_every_handler(settings):
    assert all("secrets" in handler["filters"] for handler in settings.LOGGING["handlers"].values())
    assert settings.LOGGING["filters"]["secrets"] == {"()": "orchestration.adapters.secrets.LogFilter"}

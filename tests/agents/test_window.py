"""A long piece of work stays within the model's window, told or not, at a service that refuses every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from typing_extensions import override

from orchestration.adapters.gateway import Gateway
from orchestration.adapters.llm.failures import ContextTooLong
from orchestration.adapters.llm.windows import LOOK_EVERY_S, Windows
from orchestration.agents import conversation as conversations
from orchestration.agents.conversation import Conversation
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message
from orchestration.domain.fitting import tokens
from orchestration.domain.tools import WORKER_TOOLS
from tests.adapters.test_pace import Cache
from tests.agents.rig import SYSTEM, TASK, Model
from tests.strict import complaint

WINDOW = 12_000
TURNS = 40
TOO_LONG: Mapping[str, Callable[[int], str]] = {
    "openai": lambda asked: f"This model's maximum context length is {WINDOW} tokens. However, you requested {asked}.",
    "anthropic": lambda asked: f"prompt is too long: {asked} tokens > {WINDOW} maximum",
}


class Strict:
    """A service of either kind that counts for itself. Its model makes one to three calls a turn."""

    def __init__(self, *, bytes_per_token: float = 3.6, says: bool = True) -> None:
        self.complaints: list[str] = []
        self.too_long: list[int] = []
        self._bytes_per_token = bytes_per_token
        self._says = says

    def __call__(self, request: Request) -> Answer:
        wrong = complaint(request.kind, request.body)
        if wrong:
            self.complaints.append(wrong)
            return Answer(status=400, error={"message": wrong, "type": "invalid_request_error"})
        asked = int(len(json.dumps(request.body, ensure_ascii=False).encode()) / self._bytes_per_token)
        if asked > WINDOW:
            self.too_long.append(asked)
            said = TOO_LONG[request.kind](asked) if self._says else "The context window is exceeded."
            return Answer(status=400, error={"message": said, "type": "invalid_request_error"})
        number = request.number
        calls = [("bash", {"command": f"make part-{number}-{place}"}) for place in range(1 + number % 3)]
        return Answer("I go on." if number % 2 else "", calls=calls)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway()
    monkeypatch.setattr(conversations, "get_gateway", lambda: made)
    yield made
    made.close()


@pytest.fixture
def ask(gateway: Gateway, model: Model) -> Iterator[Callable[..., Conversation]]:
    open_: list[ScriptedService] = []

    def run(strict: Strict, kind: str, **of_endpoint: Any) -> Conversation:
        """A conversation of so many turns; each call is answered, some of them at length, and people speak too."""
        service = ScriptedService(strict)
        open_.append(service)
        base_url = service.base_url if kind == "openai" else service.base_url.removesuffix("/v1")
        endpoint = Endpoint("strict", kind, base_url, "m", loopback=True, **of_endpoint)  # type: ignore[arg-type]
        conversation = model.conversation(WORKER_TOOLS, endpoint=endpoint)
        for number in range(TURNS):
            reply = conversation.ask()
            for call in reply.tool_calls:
                conversation.answer(call.id, f"{number}: " + "word " * (100 if number % 5 else 700))
            if number == 3:
                conversation.tell("A message from Ada: never touch the lexer.")
        return conversation

    yield run
    for service in open_:
        service.close()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_window_that_is_told_is_never_exceeded(ask: Callable[..., Conversation], kind: str):
    strict = Strict()
    conversation = ask(strict, kind, context_window=WINDOW)
    assert (strict.complaints, strict.too_long) == ([], [])
    assert tokens(conversation.messages) > 2 * WINDOW
    assert conversation.messages[:2] == [Message("system", SYSTEM), Message("user", TASK)]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "strict", [Strict(), Strict(bytes_per_token=1.8), Strict(says=False)], ids=["", "dense", "terse"]
)
def test_a_window_that_nobody_told_is_learned_from_the_first_refusals(
    ask: Callable[..., Conversation], gateway: Gateway, kind: str, strict: Strict
):
    """Also where the service counts twice what we do, and where it does not say how much it takes."""
    strict.too_long.clear()
    conversation = ask(strict, kind)
    assert strict.complaints == []
    assert 1 <= len(strict.too_long) <= 4, "it is remembered"
    kept = gateway.fitted(conversation.endpoint, conversation.messages, WORKER_TOOLS)
    assert "never touch the lexer" in "".join(one.text for one in kept)


def test_what_cannot_be_shortened_ends_with_the_services_words(gateway: Gateway, model: Model):
    model.says(Answer(status=400, error={"message": "prompt is too long", "code": "context_length_exceeded"}))
    with pytest.raises(ContextTooLong, match="too long for m-1 at rig-"):
        model.conversation(WORKER_TOOLS).ask()
    assert model.service.total == 1, "the same request is not sent again"


def test_another_endpoint_with_a_larger_window_is_asked(gateway: Gateway, model: Model):
    small = Answer(status=400, error={"message": "prompt is too long", "code": "context_length_exceeded"})
    with ScriptedService(lambda _: small) as service:
        first = Endpoint("small", "openai", service.base_url, "m", loopback=True, alternatives=(model.endpoint,))
        reply = model.says("Here.").conversation(WORKER_TOOLS, endpoint=first).ask()
    assert (reply.text, reply.endpoint) == ("Here.", model.endpoint.name)
    assert "too long for m at small" in reply.detour


def test_what_one_process_learned_the_others_know():
    board, now = Cache(), [1000.0]
    one, other = (Windows(board, lambda: now[0]) for _ in range(2))
    endpoint = Endpoint("e", "openai", "http://127.0.0.1:1", "m")
    said = [Message("user", "word " * 20_000)]
    assert other.fitted(endpoint, said, ()) == said
    assert one.too_long(endpoint, said, (), ContextTooLong("No.", "maximum context length is 8192 tokens"))
    now[0] += LOOK_EVERY_S
    assert tokens(other.fitted(endpoint, said, ())) <= 8192
    assert other.told(endpoint).context_window == 8192
    assert other.fitted(Endpoint("e", "openai", "http://127.0.0.1:1", "larger"), said, ()) == said
    now[0] += 25 * 3600
    assert one.fitted(endpoint, said, ()) == said, "some day it is tried again"


def test_a_cache_that_fails_costs_nothing_but_the_sharing():
    class Broken(Cache):
        @override
        def get(self, key: str) -> Any:
            raise OSError("gone")

        @override
        def set(self, key: str, value: Any, timeout: float | None = None) -> None:
            raise OSError("gone")

    windows = Windows(Broken())
    endpoint, said = Endpoint("e", "openai", "http://127.0.0.1:1", "m"), [Message("user", "word " * 20_000)]
    assert windows.too_long(endpoint, said, (), ContextTooLong("No.", "maximum context length is 8192 tokens"))
    assert tokens(windows.fitted(endpoint, said, ())) <= 8192

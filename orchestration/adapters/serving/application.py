"""The gateway as an ASGI application: both shapes, streaming and not, for whoever holds a token of an attempt."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from orchestration.adapters import secrets
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.serving import anthropic, openai, responses
from orchestration.adapters.serving.exchange import Exchange, HungUp, Receive, Scope, Send
from orchestration.adapters.serving.shape import Question, Refusal, Shape, Trouble, tokens_of, trouble_of
from orchestration.domain.conversation import Reply
from orchestration.domain.errors import AdapterError, InvalidInput

log = logging.getLogger(__name__)
T = TypeVar("T")

KEEP_ALIVE_S = 5.0  # between two comments while the model thinks, and before the answer's status is sent
KEEP_ALIVE = b": the model thinks\n\n"
MOST_CALLS = 512  # at once in this process; each waits in a thread
GONE = "The agent hung up."

_ROUTE = re.compile(
    r"(?:/gateway)?/(?:(?P<tools>mcp)|(?P<shape>openai|anthropic)(?:/v1)?/"
    r"(?P<what>chat/completions|responses|messages/count_tokens|messages|models)(?:/(?P<model>.+?))?)/?"
)
_SHAPES: dict[str, Shape] = {
    "openai": openai.ChatCompletions(),
    "responses": responses.Responses(),
    "anthropic": anthropic.Messages(),
}
_MODEL = {"openai": openai.model, "anthropic": anthropic.model}
_ASKS = {"openai": {"chat/completions", "responses"}, "anthropic": {"messages", "messages/count_tokens"}}


class Caller(Protocol):
    """One attempt, as its token shows."""

    @property
    def model(self) -> str: ...

    def ask(self, question: Question, hung_up: Cancellation) -> Reply:
        """Blocks. Raises AdapterError."""
        ...

    def serve(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The answer to a message to its tools; None: it wants none. Blocks. Raises AdapterError."""
        ...


Door = Callable[[str], Caller]
"""From a token to its attempt; blocks. Raises Refusal."""


class Application:
    def __init__(self, door: Door, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._door = door
        self._keep_alive_s = keep_alive_s
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"The gateway speaks HTTP only, not {scope['type']}.")
        route = _ROUTE.fullmatch(scope["path"])
        shape = "anthropic" if "anthropic" in scope["path"] else "openai"
        shape = "responses" if route and route["what"] == "responses" else shape
        exchange = Exchange(scope, receive, send, _SHAPES[shape])
        with suppress(HungUp):
            await self._guarded(exchange, route)

    async def _guarded(self, exchange: Exchange, route: re.Match[str] | None) -> None:
        try:
            if route is None:
                raise _unknown()
            await self._serve(exchange, route)
        except (AdapterError, InvalidInput) as error:
            trouble = trouble_of(error)
            await exchange.refuse(Trouble(trouble.status, secrets.clean(str(error)), trouble.code, again=trouble.again))
        except (HungUp, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("The gateway failed.")
            await exchange.refuse(Trouble(500, "The gateway failed; its log says why.", "internal_error", again=False))

    async def _serve(self, exchange: Exchange, route: re.Match[str]) -> None:
        if route["tools"]:
            await self._tools(exchange)
            return
        what, named = route["what"], route["model"]
        asks = what in _ASKS[route["shape"]] and not named
        if not asks and what != "models":
            raise _unknown()
        _require(exchange, "POST" if asks else "GET")
        caller = await self._in_thread(lambda: self._door(exchange.token))
        if not asks:
            one = _MODEL[route["shape"]](caller.model)
            await exchange.reply(one if named else exchange.shape.models([caller.model]))
            return
        question = exchange.shape.question(await exchange.body())
        if what.endswith("count_tokens"):
            await exchange.reply({"input_tokens": tokens_of(question)})
            return
        await self._answer(exchange, caller, question)

    async def _tools(self, exchange: Exchange) -> None:
        """Each message and its answer are a request of their own: no session is kept."""
        _require(exchange, "POST")
        caller = await self._in_thread(lambda: self._door(exchange.token))
        message = await exchange.body()
        said = await self._in_thread(lambda: caller.serve(message))
        if said is None:
            await exchange.accept()
        else:
            await exchange.reply(said)

    async def _answer(self, exchange: Exchange, caller: Caller, question: Question) -> None:
        """Whole answers only: a half one could hold half a secret, or be taken back by another endpoint's."""
        hung_up = Cancellation()
        asked = self._in_thread(lambda: caller.ask(question, hung_up))
        gone = asyncio.ensure_future(exchange.hung_up())
        try:
            reply = await self._kept_alive(exchange, asked, gone, stream=question.stream)
        finally:
            gone.cancel()
            if not asked.done():
                hung_up.cancel(GONE)
                await asyncio.wait([asked])
                asked.exception()  # nobody is left to be told
        if not question.stream:
            await exchange.reply(exchange.shape.answer(question, reply))
            return
        for chunk in exchange.shape.events(question, reply):
            await exchange.stream(chunk)
        await exchange.end()

    async def _kept_alive(
        self, exchange: Exchange, asked: asyncio.Future[Reply], gone: asyncio.Future[None], *, stream: bool
    ) -> Reply:
        while True:
            waited: list[asyncio.Future[Any]] = [asked, gone]
            patience = self._keep_alive_s if stream else None
            await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            if gone.done():
                raise HungUp
            await exchange.stream(KEEP_ALIVE)

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """In a thread of its own, that ends with it."""
        if self._calls >= MOST_CALLS:
            raise Refusal(Trouble(503, "The gateway has too much to do.", "overloaded", again=True))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls += 1

        def settle(result: T | None, error: BaseException | None) -> None:
            self._calls -= 1
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # where there is no error there is a result

        def run() -> None:
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # it is raised where it is waited for
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=run, name="gateway call", daemon=True).start()
        return future


def _require(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise Refusal(Trouble(405, f"Use {method} here.", "method_not_allowed"))


def _unknown() -> Refusal:
    said = (
        "There is nothing here. The gateway has /openai/v1/chat/completions, /openai/v1/responses, /openai/v1/models, "
        "/anthropic/v1/messages, /anthropic/v1/models and /mcp."
    )
    return Refusal(Trouble(404, said, "not_found"))

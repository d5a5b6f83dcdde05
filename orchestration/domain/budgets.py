"""What model calls may cost: whether the next one fits, and the sentence when it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from orchestration.domain.conversation import MILLION, Endpoint, Message, ToolSpec, estimate_tokens

ANSWER_TOKENS = 4096  # held back for an answer whose length nobody knows
MESSAGE_TOKENS = 8  # what a message takes beside its text
LEAST_ANSWER_TOKENS = 256  # where less than this is left, nothing useful can be said any more


class Budget(StrEnum):
    SWARM = "swarm"
    MONTH = "month"  # the repository's
    SERVICE = "service"  # the model service's own


class Unit(StrEnum):
    USD = "usd"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Amount:
    tokens: int = 0
    usd: Decimal = Decimal(0)

    def of(self, unit: Unit) -> Decimal:
        return self.usd if unit is Unit.USD else Decimal(self.tokens)


@dataclass(frozen=True, slots=True)
class Ask:
    """The next call: its request as it is, and the prices per million tokens at which it will be answered."""

    input_tokens: int
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)

    def with_answer(self, tokens: int) -> Amount:
        usd = (self.input_tokens * self.input_price + tokens * self.output_price) / MILLION
        return Amount(self.input_tokens + tokens, usd)


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget as it stands. `words` begin its sentence: "The swarm's budget of $5.00"."""

    words: str
    unit: Unit
    most: Decimal
    spent: Decimal
    reserved: Decimal = Decimal(0)
    of: Budget = Budget.SWARM

    @property
    def used_up(self) -> bool:
        return self.spent >= self.most

    def fits(self, amount: Amount) -> bool:
        return self.spent + self.reserved + amount.of(self.unit) <= self.most


@dataclass(frozen=True, slots=True)
class Grant:
    amount: Amount


@dataclass(frozen=True, slots=True)
class Hold:
    """It would fit if the calls in flight cost less than what is held back for them: look again when they end."""


@dataclass(frozen=True, slots=True)
class Stop:
    reason: str
    at: Budget


Decision = Grant | Hold | Stop


def decide(limits: Sequence[Limit], ask: Ask) -> Decision:
    """The last call before a limit may hold back less than a whole answer, and none runs beside it."""
    whole = ask.with_answer(ANSWER_TOKENS)
    tight = [limit for limit in limits if not limit.fits(whole)]
    if not tight:
        return Grant(whole)
    least = ask.with_answer(LEAST_ANSWER_TOKENS)
    for limit in tight:
        if limit.spent + least.of(limit.unit) > limit.most:
            return Stop(used_up(limit, least), limit.of)
    if any(limit.reserved for limit in tight):
        return Hold()
    return Grant(ask.with_answer(min(_answer_that_fits(limit, ask) for limit in tight)))


def spent_up(limits: Iterable[Limit]) -> Stop | None:
    """The first limit at which nothing more may begin."""
    return next((Stop(used_up(limit), limit.of) for limit in limits if limit.used_up), None)


def used_up(limit: Limit, ask: Amount | None = None) -> str:
    figures = f"{said(limit.unit, limit.spent)} spent"
    if ask and not limit.used_up:
        figures += f", and the next call may take {said(limit.unit, ask.of(limit.unit))}"
    return f"{limit.words} is used up: {figures}."


def said(unit: Unit, figure: Decimal) -> str:
    if unit is Unit.TOKENS:
        return f"{figure:,.0f} tokens"
    whole, _, cents = f"{figure:,.6f}".partition(".")
    return f"${whole}.{cents.rstrip('0'):0<2}"


def _answer_that_fits(limit: Limit, ask: Ask) -> int:
    left = limit.most - limit.spent - ask.with_answer(0).of(limit.unit)
    price = Decimal(1) if limit.unit is Unit.TOKENS else ask.output_price / MILLION
    return int(left // price) if price else ANSWER_TOKENS


def ask_of(endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ask:
    """At the highest price of whoever may answer."""
    offered = (endpoint, *endpoint.alternatives)
    return Ask(
        _request_tokens(messages, tools),
        max(one.input_price for one in offered),
        max(one.output_price for one in offered),
    )


def _request_tokens(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    said = sum(estimate_tokens(message.text) + MESSAGE_TOKENS for message in messages)
    called = sum(estimate_tokens(call.name + call.arguments) for message in messages for call in message.tool_calls)
    return said + called + sum(map(_tool_tokens, tools))


@lru_cache(maxsize=1024)  # the same ones are offered with every call
def _tool_tokens(tool: ToolSpec) -> int:
    return estimate_tokens(f"{tool.name}{tool.description}{tool.parameters}")

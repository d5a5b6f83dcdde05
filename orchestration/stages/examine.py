"""Tries a model endpoint out with one tiny call, and says exactly what is wrong with it or what works."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy, get_gateway
from orchestration.adapters.llm.failures import Misconfigured
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec, Usage
from orchestration.domain.errors import AdapterError
from orchestration.models import ModelEndpoint
from orchestration.stages.rows import endpoint_of

TIMEOUT_S = 60.0
SLOW_MS = 15_000
MAX_OUTPUT_TOKENS = 1024  # a model that thinks first needs some

PING = ToolSpec(
    "ping",
    "Answers to a test.",
    {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)
QUESTION = Message("user", "This is a test. Call the tool ping once, with the word hello, and say nothing else.")


@dataclass(frozen=True, slots=True)
class Examination:
    """`works`: agents can use it. Every sentence stands for itself. `part` is what of its row is at fault, where that
    is known: base_url, key or model; `latency_ms` is until the first words of one that works."""

    works: bool
    sentences: tuple[str, ...]
    part: str = ""
    latency_ms: int | None = None

    def __str__(self) -> str:
        return " ".join(self.sentences)


def examine(row: ModelEndpoint) -> Examination:
    return examine_as(row, endpoint_of(row, SwarmConfig()))


def examine_as(row: ModelEndpoint, endpoint: Endpoint) -> Examination:
    """One call, no retry, nobody else asked instead."""
    try:
        reply = get_gateway().complete(
            endpoint,
            [QUESTION],
            [PING],
            purpose="test",
            max_output_tokens=MAX_OUTPUT_TOKENS,
            timeout_s=TIMEOUT_S,
            retries=RetryPolicy(max_retries=0),
            cancellation=Cancellation(),
        )
    except AdapterError as error:
        part = error.part if isinstance(error, Misconfigured) else ""
        return Examination(works=False, sentences=(str(error),), part=part)
    return _judge(row, reply)


def _judge(row: ModelEndpoint, reply: Reply) -> Examination:
    if not any(call.name == PING.name for call in reply.tool_calls):
        said = f"{row.name} answered, but called no tool: agents cannot work with {row.model} there."
        return Examination(works=False, sentences=(said,), part="model")
    said = f"{row.name} works: {reply.model} called the tool."
    return Examination(works=True, sentences=(said, *_figures(reply)), latency_ms=reply.first_token_ms)


def _figures(reply: Reply) -> list[str]:
    slow = " That is slow." if reply.latency_ms > SLOW_MS else ""
    how = "It streams" if reply.streamed else "It does not stream, so long answers show no progress"
    return [
        f"The first words came after {reply.first_token_ms} ms, the whole answer took {reply.latency_ms} ms.{slow}",
        f"{how}; {_counted(reply.usage)}.",
    ]


def _counted(usage: Usage) -> str:
    if usage.estimated:
        return "its tokens are estimated, because it does not count them"
    return f"it counted {usage.input_tokens} tokens in, {usage.output_tokens} out, {usage.cached_tokens} from a cache"

"""How a scripted answer looks on the wire of a Messages service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from orchestration.demo.wire import Answer, Request, calls_of, pieces_of, usage_of

_STOP = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def error_body(answer: Answer) -> bytes:
    error = {"type": "api_error", "message": f"scripted status {answer.status}", **answer.error}
    return orjson.dumps({"type": "error", "error": error})


def completion(request: Request, answer: Answer) -> bytes:
    """The whole answer as one JSON body."""
    content = [{"type": "text", "text": answer.text}] if answer.text else []
    content += [_tool_use(request, index, *call) for index, call in enumerate(calls_of(answer))]
    message = _message(request) | {"content": content, "stop_reason": _stop(answer)}
    return orjson.dumps(message if answer.fault == "no_usage" else message | {"usage": _usage(request, answer)})


def events(request: Request, answer: Answer) -> Iterator[bytes]:
    """The answer as the events of a stream, one HTTP chunk each."""
    usage = {} if answer.fault == "no_usage" else _usage(request, answer)
    start = {"message": _message(request) | {"content": [], "usage": usage and usage | {"output_tokens": 1}}}
    yield _event("message_start", start)
    yield _event("ping", {})
    for index, (block, deltas) in enumerate(_blocks(request, answer)):
        yield _event("content_block_start", {"index": index, "content_block": block})
        for delta in deltas:
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})
    counted = {"output_tokens": usage["output_tokens"]} if usage else {}
    yield _event("message_delta", {"delta": {"stop_reason": _stop(answer), "stop_sequence": None}, "usage": counted})
    if answer.fault != "no_done":
        yield _event("message_stop", {})


def is_end(piece: bytes) -> bool:
    """Whether an event tells that the answer is whole."""
    return piece.startswith((b"event: message_delta", b"event: message_stop"))


def _blocks(request: Request, answer: Answer) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    if answer.text:
        pieces = pieces_of(answer.text, answer.chunks)
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
    for index, (name, arguments) in enumerate(calls_of(answer)):
        pieces = pieces_of(arguments, answer.chunks)
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield _tool_use(request, index, name, "{}"), deltas


def _tool_use(request: Request, index: int, name: str, arguments: str) -> dict[str, Any]:
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:  # a plain body cannot carry a broken object
        given = {"raw": arguments}
    return {"type": "tool_use", "id": f"toolu_{request.number}_{index}", "name": name, "input": given}


def _message(request: Request) -> dict[str, Any]:
    return {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(request: Request, answer: Answer) -> dict[str, int]:
    usage = usage_of(request, answer)
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }


def _stop(answer: Answer) -> str:
    return _STOP.get(answer.finish, answer.finish)


def _event(kind: str, value: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **value}) + b"\n\n"

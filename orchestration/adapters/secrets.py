"""The one place that knows the values of our secrets: read from the environment and the keyring, written nowhere."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from typing_extensions import override

from orchestration.adapters import keyring
from orchestration.domain.conversation import Message, Reply, ToolCall
from orchestration.domain.redaction import Redactor
from orchestration.domain.texts import storable

# Ours by their names. GITHUB_API_URL and its like are no secrets.
_OURS = re.compile(r"SECRET_KEY|(GITHUB|OPENAI|ANTHROPIC|SWARM)_\w*(KEY|TOKEN|SECRET|PASSWORD)\w*")

MOST_LEARNT = 256
_named: set[str] = set()
_learnt: dict[str, None] = {}  # the latest last
# What os.environ keeps. To compare it whole takes less than to read one variable, and every message of every call asks.
_environment: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001


def watch(names: Iterable[str]) -> None:
    """Variables that hold keys, as endpoints name them."""
    _named.update(filter(None, names))


def learn(value: str) -> None:
    """A secret that stands in no variable: a token that was made for us, or another form of one."""
    _learnt.pop(value, None)
    _learnt[value] = None
    for old in list(_learnt)[:-MOST_LEARNT]:
        _learnt.pop(old, None)


@dataclass(frozen=True, slots=True, repr=False)
class _Sources:
    """All that a secret of ours may stand in, at one moment."""

    environment: Mapping[bytes, bytes]
    named: frozenset[str]
    learnt: Mapping[str, None]
    secret_key: str
    kept: frozenset[str]

    def values(self) -> set[str]:
        variables = {os.fsdecode(name): os.fsdecode(value) for name, value in self.environment.items()}
        found = {value for name, value in variables.items() if name in self.named or _OURS.fullmatch(name)}
        return {*found, *self.learnt, *self.kept, self.secret_key}

    def are_still(self, secret_key: str, kept: frozenset[str]) -> bool:
        return (
            self.environment == _environment
            and self.named == _named
            and self.learnt == _learnt
            and self.secret_key == secret_key
            and self.kept == kept
        )


_known: tuple[_Sources, Redactor] | None = None


def redactor() -> Redactor:
    """For the secrets as they are now."""
    global _known  # noqa: PLW0603 - one a process, like the environment
    known, secret_key, kept = _known, settings.SECRET_KEY, keyring.values()
    if known is None or not known[0].are_still(secret_key, kept):
        sources = _Sources(dict(_environment), frozenset(_named), dict(_learnt), secret_key, kept)
        known = _known = sources, Redactor.of(sources.values())
    return known[1]


def clean(value: Any) -> Any:
    """Fit to be stored and shown: without secrets, and without what a database refuses."""
    return redactor().value(storable(value))


def clean_messages(messages: Iterable[Message]) -> list[Message]:
    all_of = redactor()
    return [_clean_message(one, all_of) for one in messages]


def _clean_message(message: Message, all_of: Redactor) -> Message:
    text, calls, images = all_of.text(message.text), message.tool_calls, message.images
    if calls:
        calls = _clean_calls(calls, all_of)
    if images:
        images = tuple(replace(one, data=all_of.text(one.data)) for one in images)
    if (text, calls, images) == (message.text, message.tool_calls, message.images):
        return message
    return replace(message, text=text, tool_calls=calls, images=images)


def clean_reply(reply: Reply) -> Reply:
    """Of a whole answer: a stream may cut a secret anywhere."""
    all_of = redactor()
    text, calls = all_of.text(reply.text), _clean_calls(reply.tool_calls, all_of)
    detour = all_of.text(storable(reply.detour))
    if (text, calls, detour) == (reply.text, reply.tool_calls, reply.detour):
        return reply
    return replace(reply, text=text, tool_calls=calls, detour=detour)


def clean_beginning(text: str) -> str:
    """Of an answer that still grows: as clean, and without an end that may be the beginning of a secret."""
    return redactor().beginning(text)


def _clean_calls(calls: tuple[ToolCall, ...], all_of: Redactor) -> tuple[ToolCall, ...]:
    return tuple([_clean_call(call, all_of) for call in calls])


def _clean_call(call: ToolCall, all_of: Redactor) -> ToolCall:
    said = all_of.text(call.id), all_of.text(call.name), all_of.arguments(call.arguments)
    return call if said == (call.id, call.name, call.arguments) else ToolCall(*said)


class LogFilter(logging.Filter):
    """Writes no secret into a log, whoever logs it; tracebacks included."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = record.exc_text and redactor().text(record.exc_text)
        message = record.getMessage()
        shown = redactor().text(message)
        if shown != message:
            record.msg, record.args = shown, ()
        return True

"""Errors that cross layers. Every adapter turns what it meets into one of these."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """What kind of failure it was, which decides what happens next."""

    TRANSIENT = "transient"  # the same call may work later: retry with backoff
    PERMANENT = "permanent"  # it will not work however often it is tried
    BUDGET = "budget"  # a limit of money, tokens or steps was reached: stop and ask
    CANCELLED = "cancelled"  # somebody asked us to stop


class SwarmsiteError(Exception):
    """Base of our own errors. Its text is a sentence that a person may read."""


class AdapterError(SwarmsiteError):
    """The outside world said no. `kind` says whether asking again makes sense; `waited_s` is what a call of a model
    waited in vain for its turn."""

    waited_s = 0.0

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def transient(self) -> bool:
        return self.kind is Failure.TRANSIENT


class InvalidInput(SwarmsiteError):
    """A person, a model or a file gave something that cannot be used; the text says what and what to do."""

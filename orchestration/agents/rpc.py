"""JSON-RPC by lines over a child's pipes. Whatever comes is hostile input: bounded, checked, never waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from orchestration.adapters.sandbox.child import Child
from orchestration.agents.conversation import Clock
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.texts import first_line

MOST_LINE = 16 * 1024 * 1024
MOST_NOISE = 200  # lines that are no messages: some agents greet on the wrong stream
LOOK_S = 0.5
METHOD_NOT_FOUND = -32601
TAIL = 1500


class Refused(AdapterError):
    """The agent answered a request with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(Failure.PERMANENT, f"The agent refused {method} ({code}): {message}")
        self.code = code


class CannotDo(Exception):
    """What the agent asked of us is refused; it is told why."""

    def __init__(self, message: str, code: int = METHOD_NOT_FOUND) -> None:
        super().__init__(message)
        self.code = code


Answer = Callable[[str, Mapping[str, Any]], Any]


class Peer:
    """`answer` serves the agent's requests and hears its notifications, in this thread; `quiet` says for how long it
    has also been quiet elsewhere."""

    def __init__(
        self, child: Child, clock: Clock, answer: Answer, *, silence_s: float, quiet: Callable[[], float]
    ) -> None:
        self._child = child
        self._clock = clock
        self._answer = answer
        self._silence_s = silence_s
        self._quiet = quiet
        self._buffer = bytearray()
        self._searched = 0
        self._noise = 0
        self._last_id = 0

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: Mapping[str, Any], *, within_s: float | None = None) -> Mapping[str, Any]:
        """The result. Raises AdapterError: Refused, OutOfTime, or the sentence how the agent failed."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        deadline = None if within_s is None else time.monotonic() + within_s
        while True:
            message = self._next(method, deadline)
            if message.get("id") == self._last_id and "method" not in message:
                return _result(method, message)
            self._serve(message)

    def drain(self, seconds: float) -> None:
        """Serve what still comes, until the agent's answer, its end, or for so long."""
        deadline = time.monotonic() + seconds
        with suppress(AdapterError):
            while (message := self._next("", deadline)).get("id") != self._last_id or "method" in message:
                self._serve(message)

    def _send(self, message: Mapping[str, Any]) -> None:
        self._child.send(orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n")

    def _serve(self, message: Mapping[str, Any]) -> None:
        """An answer to nothing that we asked is passed over."""
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return
        try:
            result = self._answer(method, params if isinstance(params, dict) else {})
        except CannotDo as error:
            reply: dict[str, Any] = {"error": {"code": error.code, "message": str(error)}}
        else:
            reply = {"result": result}
        if "id" in message and isinstance(message["id"], int | str):
            self._send({"id": message["id"], **reply})

    def _next(self, awaited: str, deadline: float | None) -> Mapping[str, Any]:
        while True:
            line = self._line(awaited, deadline)
            message = _parsed(line)
            if message is not None:
                return message
            if line.strip():
                self._pass_over(line)

    def _pass_over(self, line: bytes) -> None:
        self._noise += 1
        if self._noise > MOST_NOISE:
            said = first_line(line.decode("utf-8", "replace"), 200)
            raise AdapterError(
                Failure.PERMANENT, f"The agent printed {self._noise} lines that are no messages of the protocol: {said}"
            )

    def _line(self, awaited: str, deadline: float | None) -> bytes:
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > MOST_LINE:
                raise AdapterError(Failure.PERMANENT, f"The agent sent a line of more than {MOST_LINE >> 20} MB.")
            self._buffer += self._more(awaited, deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _more(self, awaited: str, deadline: float | None) -> bytes:
        while True:
            left = self._clock.left()
            data = self._child.read(min(LOOK_S, left))
            if data:
                return data
            if data is not None:
                raise self._ended(awaited)
            if deadline is not None and time.monotonic() > deadline:
                raise AdapterError(
                    Failure.PERMANENT, f"The agent did not answer {awaited} in time.{self._last_words()}"
                )
            self._require_sign()

    def _require_sign(self) -> None:
        silent = min(time.monotonic() - self._child.last_sign, self._quiet())
        if silent > self._silence_s:
            raise AdapterError(
                Failure.TRANSIENT,
                f"The agent has said nothing and asked no model for {self._silence_s:g} s.{self._last_words()}",
            )

    def _ended(self, awaited: str) -> AdapterError:
        """An agent that never got as far as a prompt is set up wrongly; a later end may be an accident."""
        code, limit = self._child.wait_exit_code(), self._child.limit
        how = f"with exit code {code}" if code is not None else "by a signal, or closed its output"
        kind = Failure.TRANSIENT if awaited == "session/prompt" and not limit else Failure.PERMANENT
        return AdapterError(kind, f"The agent ended {how} before it answered {awaited}. {limit}{self._last_words()}")

    def _last_words(self) -> str:
        said = self._child.errors.text().strip()[-TAIL:]
        return f" It last said: {said}" if said else ""


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _result(method: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
    error = message.get("error")
    if error is not None:
        fields = error if isinstance(error, dict) else {}
        code = fields.get("code")
        said = str(fields.get("message") or "no reason given")[:TAIL]
        details = fields.get("data")
        more = f" {str(details)[:TAIL]}" if details else ""
        raise Refused(method, code if isinstance(code, int) else 0, f"{said}{more}")
    result = message.get("result")
    return result if isinstance(result, dict) else {}

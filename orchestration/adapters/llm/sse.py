"""Server-sent events, read as the bytes come."""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"


class EventReader:
    """Takes chunks split anywhere and gives the data of each whole event. Comments keep a stream alive, no more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        self._buffer += chunk
        found: list[bytes] = []
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._scanned))) >= 0:
            self._line(bytes(self._buffer[start:end]), found)
            start = end + 1
        del self._buffer[:start]
        self._scanned = len(self._buffer)  # a long line must not be searched again with every chunk
        return found

    def rest(self) -> list[bytes]:
        """What the end of the body completes: services leave out the last empty line."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _line(self, line: bytes, found: list[bytes]) -> None:
        if self._first:
            line, self._first = line.removeprefix(BOM), False
        line = line.removesuffix(b"\r")
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            found.append(b"\n".join(self._data))
            self._data.clear()

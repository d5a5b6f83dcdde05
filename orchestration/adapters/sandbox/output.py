"""What a command printed, bounded in memory: the head and the tail are kept, the middle is counted."""

from __future__ import annotations


class BoundedOutput:
    """Keeps at most `limit` bytes whatever is fed."""

    def __init__(self, limit: int) -> None:
        self._head_room = max(limit, 2) // 2
        self._tail_room = max(limit, 2) - self._head_room
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0

    def feed(self, data: bytes) -> None:
        room = self._head_room - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._tail_room
        if excess > 0:
            del self._tail[:excess]
            self._cut += excess

    @property
    def truncated(self) -> bool:
        return self._cut > 0

    def text(self) -> str:
        """As text that every store takes: broken UTF-8 and NUL become the replacement character."""
        if not self.truncated:
            return _decode(self._head + self._tail)
        return f"{_decode(self._head)}\n[... {self._cut} bytes cut ...]\n{_decode(self._tail)}"


def _decode(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")

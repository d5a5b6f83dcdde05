"""File descriptors of one launch: every one of them is closed once, whatever happens."""

from __future__ import annotations

import os


class Descriptors:
    """Owns what it makes until told to close it."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def own(self, fd: int) -> int:
        self._open.add(fd)
        return fd

    def pipe(self) -> tuple[int, int]:
        """Its reading and its writing end."""
        reading, writing = os.pipe()
        return self.own(reading), self.own(writing)

    def memory(self, content: bytes) -> int:
        """A file without a name that holds `content`, ready to be read from its start."""
        fd = self.own(os.memfd_create("swarmsite"))
        while content:
            content = content[os.write(fd, content) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def close(self, *fds: int) -> None:
        for fd in fds:
            if fd in self._open:
                self._open.remove(fd)
                os.close(fd)

    def close_all(self) -> None:
        self.close(*tuple(self._open))

"""What every wait for a child needs: a descriptor that another thread makes readable, and how much is read at once."""

from __future__ import annotations

import os
from threading import Lock
from typing import Self

CHUNK = 65_536


class Wake:
    """A file descriptor that another thread makes readable, safe against a late call after the close."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            os.close(self.fd)
            self.fd = -1

    def set(self) -> None:
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

"""Git children that stay and answer one question after another, for as long as a queue is drained."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orchestration.adapters.git.runner import end_git, start_git

MAX_QUESTIONS = 1000  # what a child remembers is given back with it
T = TypeVar("T")


class ChildFailed(Exception):
    """It ended, was silent for too long, or said something else: the same question to a fresh git tells why."""


class Child:
    """Started by the first question. One thread at a time."""

    def __init__(self, git_dir: Path, *args: str, timeout_s: float = 60) -> None:
        self._git_dir = git_dir
        self._args = args
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    def ask(self, question: bytes, read: Callable[[bytes], T | None]) -> T:
        """What `read` makes of the answer so far, as soon as that is not None; its ValueError ends the child."""
        if self._asked >= MAX_QUESTIONS:
            self.close()
        try:
            process = self._process = self._process or start_git(*self._args, git_dir=self._git_dir)
            self._asked += 1
            return self._answer(process, question, read)
        except (OSError, ValueError) as error:
            self.close()
            raise ChildFailed(f"git {self._args[0]}: {error}") from error

    def close(self) -> None:
        if self._process:
            end_git(self._process)
        self._process, self._asked = None, 0

    def _answer(self, process: subprocess.Popen[bytes], question: bytes, read: Callable[[bytes], T | None]) -> T:
        if process.stdin is None or process.stdout is None:
            raise ValueError("it was started without pipes")
        process.stdin.write(question)
        process.stdin.flush()
        answer, deadline = b"", time.monotonic() + self._timeout_s
        poll, output = select.poll(), process.stdout.fileno()
        poll.register(output, select.POLLIN)
        while True:
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise TimeoutError(f"no answer within {self._timeout_s:g} seconds")
            chunk = os.read(output, 1 << 16)
            if not chunk:
                raise ValueError("it ended without an answer")
            answer += chunk
            found = read(answer)
            if found is not None:
                return found

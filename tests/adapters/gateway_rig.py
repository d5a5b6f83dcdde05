"""A gateway and a scripted service for it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError

SECRET = "sk-very-secret-value"
MESSAGES = (Message("user", "swarm: s1\nsubtask: one\nDo it."),)
GREP = ToolSpec("grep", "Search.", {"type": "object"})
QUICK = RetryPolicy(max_retries=3, base_delay_ms=1, max_delay_ms=5)
NEVER = RetryPolicy(max_retries=0)


class Rig:
    """A gateway and a service whose answers the test sets: one for all, or one after the other."""

    def __init__(self) -> None:
        self.answers: Callable[[Request], Answer] = lambda _: Answer("hello")
        self.service = ScriptedService(self._script)
        self.gateway = Gateway()
        self.threads = ThreadPoolExecutor(128)
        self.cancellation = Cancellation()

    def _script(self, request: Request) -> Answer:
        return self.answers(request)

    def script(self, *answers: Answer) -> None:
        """The last one is given for ever."""
        self.answers = lambda request: answers[min(request.number, len(answers)) - 1]

    def endpoint(self, **changes: Any) -> Endpoint:
        plain = Endpoint("main", "openai", self.service.base_url, "m-1", key_env="MAIN_KEY", loopback=True)
        return dataclasses.replace(plain, **changes)

    def ask(self, endpoint: Endpoint | None = None, **options: Any) -> Reply:
        options = {"purpose": "test", "cancellation": self.cancellation, "retries": QUICK, "timeout_s": 120} | options
        return self.gateway.complete(endpoint or self.endpoint(), MESSAGES, [GREP], **options)

    def start(self, endpoint: Endpoint | None = None, **options: Any) -> Future[Reply]:
        return self.threads.submit(self.ask, endpoint, **options)

    def refused(self, endpoint: Endpoint | None = None, **options: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            self.ask(endpoint, **options)
        return caught.value

    def close(self) -> None:
        self.gateway.close()
        self.service.close()
        self.threads.shutdown()


def until(condition: Callable[[], bool]) -> None:
    """For what the service cannot see: the gateway's own state."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        threading.Event().wait(0.002)

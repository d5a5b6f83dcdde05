"""Two worker processes with one Redis between them take no more than the service allows, and hardly less.

SWARM_RATE_EXAMPLES is how many calls each of the hundred callers makes; the service's 5 requests a second are played
eight times as fast.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestration.demo.service import Answer, Request, Script, ScriptedService
from tests.adapters.test_rate_limits import CALLERS, SPEED, Bucket

pytestmark = pytest.mark.long
CALLS = int(os.environ.get("SWARM_RATE_EXAMPLES", "2"))
LEAST = 0.85 if CALLS > 3 else 0.3  # a short play says little: the first seconds weigh more, and a busy machine
PROCESSES = 2
ROOT = Path(__file__).resolve().parents[2]
HOLD_S, LOOKED_AFTER_S = 3.0, 1.2  # a process looks four times a second what the others were told


class Once:
    """Refuses one call of one process, and counts what comes in the time in which it wants nothing."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.refused_at = 0.0
        self.disturbed = 0

    def __call__(self, request: Request) -> Answer:
        now = time.monotonic()
        self.seen[request.first_text] += 1
        if self.refused_at:
            self.disturbed += LOOKED_AFTER_S < now - self.refused_at < HOLD_S - 0.1
        elif len(self.seen) == PROCESSES and min(self.seen.values()) > 5:
            self.refused_at = now
            return Answer(status=429, headers={"Retry-After-Ms": str(int(1000 * HOLD_S))})
        return Answer("hello", delay_s=0.02 if len(self.seen) == PROCESSES else 0.3)  # until both are there


def played(script: Script, home: Path, redis_url: str, *, callers: int, calls: int) -> list[str]:
    """All answers that the processes got; whoever fails, fails the test."""
    with ScriptedService(script) as service:
        endpoint = {"name": "main", "kind": "openai", "base_url": service.base_url, "model": "m", "loopback": True}
        told: dict[str, Any] = {
            "endpoint": endpoint | {"request_delay_ms": 1000 // SPEED},
            "patience": {"max_retries": 3, "base_delay_ms": 500 // SPEED, "max_delay_ms": 30_000 // SPEED},
            "callers": callers // PROCESSES,
            "calls": calls,
        }
        workers = [_start(told | {"says": f"I am {each}."}, home / str(each), redis_url) for each in range(PROCESSES)]
        outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * PROCESSES, [err for _, err in outputs]
    return [text for out, _ in outputs for text in json.loads(out)]


def _start(told: dict[str, Any], home: Path, redis_url: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    more = {"SWARM_DATA_DIR": str(home), "PYTHONPATH": str(ROOT)} | ({"REDIS_URL": redis_url} if redis_url else {})
    return subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.rate_worker", json.dumps(told)],
        cwd=ROOT,
        env=kept | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_the_limit_through_redis(tmp_path: Path, redis_url: str):
    bucket = Bucket()
    assert played(bucket, tmp_path, redis_url, callers=CALLERS, calls=CALLS) == ["hello"] * (CALLERS * CALLS)
    assert bucket.achieved >= LEAST
    assert bucket.refused_when_settled < 0.05


def test_a_refusal_of_one_process_holds_back_the_other(tmp_path: Path, redis_url: str):
    once = Once()
    assert played(once, tmp_path, redis_url, callers=2, calls=60) == ["hello"] * 120
    assert once.refused_at
    assert once.disturbed == 0


def test_without_redis_the_other_goes_on_asking(tmp_path: Path):
    """The control."""
    once = Once()
    assert played(once, tmp_path, "", callers=2, calls=120) == ["hello"] * 240
    assert once.refused_at
    assert once.disturbed > 0

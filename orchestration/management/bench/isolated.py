"""Runs a benchmark in a process with a data directory of its own, and removes both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from orchestration.domain.errors import SwarmsiteError

# What an operator has set for the real thing must not reach a benchmark, nor a benchmark the real thing.
FOREIGN = ("DATABASE_URL", "REDIS_URL")
FOREIGN_PREFIXES = ("SWARM_", "OPENAI_", "ANTHROPIC_", "GITHUB_")
KEPT = ("SWARM_SANDBOX",)


def environment(data: str, given: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in given.items()
        if name in KEPT or not (name in FOREIGN or name.startswith(FOREIGN_PREFIXES))
    }
    return kept | {"SWARM_DATA_DIR": data, "SWARM_MAX_AGENTS": "1000", "LOG_LEVEL": "warning"}


def isolated(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the benchmark measured. Its messages go to our standard error."""
    with tempfile.TemporaryDirectory(prefix="swarmsite-bench-") as data:
        done = subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "bench", name, "--inside", json.dumps(options)],
            env=environment(data, os.environ),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SwarmsiteError(f"The benchmark {name} failed; what it said stands above.")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

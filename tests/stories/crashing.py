"""The command line, with a `kill -9` of its own process built in at a chosen step of its git work.

Run as: crashing.py WHEN STEP COUNT ARGUMENTS..., for example `crashing.py after swap 3 swarm run ...`: the process is
killed right after the third time that it moved a branch.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "swarmsite.settings"

import django

django.setup()

from django.core.management import execute_from_command_line  # noqa: E402 - after the set-up

from orchestration.adapters.git.store import BareRepository  # noqa: E402 - after the set-up


def crash(when: str, step: str, count: int) -> None:
    real, calls = getattr(BareRepository, step), itertools.count(1)

    def crashing(*arguments: Any, **options: Any) -> Any:
        this_one = next(calls) == count
        if this_one and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if this_one:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(BareRepository, step, crashing)


if __name__ == "__main__":
    crash(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    execute_from_command_line(["manage.py", *sys.argv[4:]])

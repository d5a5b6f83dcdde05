"""The command line with a demo model that is several times as quick.

Run as: hurried.py SPEED ARGUMENTS..., for example `hurried.py 3 up --demo`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

os.environ["DJANGO_SETTINGS_MODULE"] = "swarmsite.settings"

import django

django.setup()

from django.core.management import execute_from_command_line  # noqa: E402 - after the set-up

from orchestration.demo import install  # noqa: E402 - after the set-up
from orchestration.demo.service import Answer, Request  # noqa: E402 - after the set-up
from orchestration.demo.story import story  # noqa: E402 - after the set-up


def hurry(times: float) -> None:
    def quicker(speed: float = 1.0) -> Callable[[Request], Answer]:
        return story(speed * times)

    install.story = quicker  # type: ignore[attr-defined]


if __name__ == "__main__":
    hurry(float(sys.argv[1]))
    execute_from_command_line(["manage.py", *sys.argv[2:]])

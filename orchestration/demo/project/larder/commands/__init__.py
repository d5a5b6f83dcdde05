"""Every module in this package is a command; see AGENTS.md."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType


def all_commands() -> Iterator[ModuleType]:
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        yield import_module(f"{__name__}.{info.name}")

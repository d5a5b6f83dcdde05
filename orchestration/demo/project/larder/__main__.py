from __future__ import annotations

from larder.cli import console

console()

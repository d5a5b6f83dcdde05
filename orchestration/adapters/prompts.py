"""What models are told: prompts/*.md with front matter that names its inputs."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

FENCE = "---\n"


class _Template(string.Template):
    idpattern = r"[a-z][a-z0-9_]*"


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str
    inputs: frozenset[str]
    body: str

    def render(self, values: Mapping[str, object]) -> str:
        """Every input is given and nothing else, so that a renamed one cannot go unnoticed."""
        if set(values) != self.inputs:
            raise ValueError(f"The prompt {self.name} takes {sorted(self.inputs)}, not {sorted(values)}.")
        return _Template(self.body).substitute({name: str(value) for name, value in values.items()})


def parse_prompt(name: str, text: str) -> Prompt:
    """`text` begins with front matter between `---` lines, one of which reads `inputs: a, b`."""
    opening, _, rest = text.partition(FENCE)
    head, closing, body = rest.partition(FENCE)
    if opening or not closing:
        raise ValueError(f"The prompt {name} has no front matter.")
    fields = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
    inputs = frozenset(word.strip() for word in fields.get("inputs", "").split(",") if word.strip())
    return Prompt(name, inputs, body.strip() + "\n")


def prompts_directory() -> Path:
    return Path(settings.BASE_DIR) / "prompts"


@cache
def load(name: str) -> Prompt:
    return parse_prompt(name, (prompts_directory() / f"{name}.md").read_text(encoding="utf-8"))


def render(name: str, /, **values: object) -> str:
    return load(name).render(values)

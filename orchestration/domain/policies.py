"""What a repository wants done where both sides changed a file, by glob: told by its team, never by a branch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from orchestration.domain import paths
from orchestration.domain.errors import InvalidInput

MAX_RULES = 100


class Policy(StrEnum):
    UNION = "union"  # the lines of both, such as in a list of changes
    OURS = "ours"  # what has landed stays, such as in a file that is made anew
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class Rule:
    glob: str
    policy: Policy


def read_policies(value: object) -> tuple[Rule, ...]:
    """From pairs of a glob and a policy, in the order in which they are asked. Raises InvalidInput."""
    if not isinstance(value, list) or len(value) > MAX_RULES:
        raise InvalidInput(f"Merge policies are a list of at most {MAX_RULES} pairs of a glob and a policy.")
    return tuple(map(_rule, value))


def _rule(pair: object) -> Rule:
    if not isinstance(pair, list) or len(pair) != 2:
        raise InvalidInput(f"{str(pair)[:100]!r} is not a pair of a glob and a policy.")
    glob, policy = pair
    if not isinstance(glob, str) or not paths.parts(glob):
        raise InvalidInput(f"{str(glob)[:100]!r} is not a glob inside the repository.")
    if policy not in list(Policy):
        raise InvalidInput(f"{str(policy)[:100]!r} is no merge policy; there are: {', '.join(Policy)}.")
    return Rule(glob, Policy(policy))


def policy_for(path: str, rules: Iterable[Rule]) -> Policy | None:
    """Of the first glob that matches the whole path."""
    return next((rule.policy for rule in rules if _pattern(rule.glob).fullmatch(path)), None)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """`**` stands for any number of directories, `*` and `?` stay inside a name; nothing else is special."""
    names = paths.parts(glob) or ()
    parts = [r"(?:[^/]+/)*" if name == "**" else _name(name) + "/" for name in names]
    text = "".join(parts)
    return re.compile(f"{text}[^/]+" if names[-1:] == ("**",) else text.removesuffix("/"), re.DOTALL)


def _name(name: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in name)

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
MAX_COMMAND = 2000  # characters


class Policy(StrEnum):
    UNION = "union"  # the lines of both, such as in a list of changes
    OURS = "ours"  # what has landed stays, such as in a file that is made anew
    THEIRS = "theirs"
    REGENERATE = "regenerate"  # a command makes it anew, such as a lock file; not by the queue, which waits for nobody


@dataclass(frozen=True, slots=True)
class Rule:
    glob: str
    policy: Policy
    command: str = ""  # of `regenerate`


def read_policies(value: object) -> tuple[Rule, ...]:
    """From pairs of a glob and a policy, and a command where it has one, in the order in which they are asked. Raises
    InvalidInput.
    """
    if not isinstance(value, list) or len(value) > MAX_RULES:
        raise InvalidInput(f"Merge policies are a list of at most {MAX_RULES} pairs of a glob and a policy.")
    return tuple(map(_rule, value))


def _rule(given: object) -> Rule:
    if not isinstance(given, list) or not 2 <= len(given) <= 3:
        raise InvalidInput(f"{str(given)[:100]!r} is not a glob, a policy and, where it needs one, a command.")
    glob, policy, command = (*given, "")[:3]
    if not isinstance(glob, str) or not paths.parts(glob):
        raise InvalidInput(f"{str(glob)[:100]!r} is not a glob inside the repository.")
    if policy not in list(Policy):
        raise InvalidInput(f"{str(policy)[:100]!r} is no merge policy; there are: {', '.join(Policy)}.")
    return Rule(glob, Policy(policy), _command(Policy(policy), command))


def _command(policy: Policy, command: object) -> str:
    if policy is not Policy.REGENERATE:
        if command:
            raise InvalidInput(f"The policy {policy} takes no command.")
        return ""
    if not isinstance(command, str) or not command.strip() or len(command) > MAX_COMMAND:
        raise InvalidInput(f'"regenerate" needs a command of at most {MAX_COMMAND} characters that makes the file.')
    return command.strip()


def policy_for(path: str, rules: Iterable[Rule]) -> Policy | None:
    rule = rule_for(path, rules)
    return rule.policy if rule else None


def rule_for(path: str, rules: Iterable[Rule]) -> Rule | None:
    """The first whose glob matches the whole path."""
    return next((rule for rule in rules if _pattern(rule.glob).fullmatch(path)), None)


def command_for(path: str, rules: Iterable[Rule]) -> str:
    """That makes the file anew; empty: none does."""
    rule = rule_for(path, rules)
    return rule.command if rule else ""


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """`**` stands for any number of directories, `*` and `?` stay inside a name; nothing else is special."""
    names = paths.parts(glob) or ()
    parts = [r"(?:[^/]+/)*" if name == "**" else _name(name) + "/" for name in names]
    text = "".join(parts)
    return re.compile(f"{text}[^/]+" if names[-1:] == ("**",) else text.removesuffix("/"), re.DOTALL)


def _name(name: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in name)

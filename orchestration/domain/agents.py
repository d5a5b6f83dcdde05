"""Agents that are not ours, as an operator describes them: a command line, what it is given, and what it may do."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestration.domain.errors import InvalidInput

BUILTIN = "builtin"  # what a swarm's configuration calls our own agent


class AgentKind(StrEnum):
    BUILTIN = "builtin"
    ACP = "acp"
    COMMAND = "command"


class Permissions(StrEnum):
    """How requests for permission are answered, within what the sandbox allows anyway."""

    WORKSPACE = "workspace"  # yes inside the workspace, otherwise no
    ALL = "all"
    NONE = "none"  # only looking and thinking


PLACEHOLDERS = frozenset(
    {"openai_url", "anthropic_url", "token", "model", "workspace", "home", "tools_url", "tools_program", "python"}
)
PROMPTS = frozenset({"prompt", "prompt_file"})  # of command agents
MOST_TEXT = 100_000
# What only looks, in the protocol's words for kinds of tool calls.
LOOKING = frozenset({"read", "search", "think"})
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")
# Showing one of these whole would show more than a program.
_TOO_MUCH = frozenset({"/", "/home", "/root", "/etc", "/var", "/run", "/proc", "/sys", "/dev", "/boot", "/tmp", "/srv"})  # noqa: S108 - named to be refused


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent. Its texts are templates; `files` lie beneath its home, `mounts` are shown to it read-only."""

    name: str
    kind: AgentKind
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    permissions: Permissions = Permissions.WORKSPACE
    auth_method: str = ""
    session_mode: str = ""
    start_timeout_s: int = 60
    silence_timeout_s: int = 300
    memory_mb: int = 4096


def check_agent(spec: AgentSpec) -> None:
    """Raises InvalidInput with one sentence."""
    if not _NAME.fullmatch(spec.name):
        raise InvalidInput("Name: write at most 80 letters, digits, spaces, dots and dashes, a letter or digit first.")
    if spec.kind is AgentKind.BUILTIN:
        _require(not spec.argv, "Argv: the built-in agent has no command line; leave it empty.")
        return
    _require(spec.name != BUILTIN, f"Name: {BUILTIN} is our own agent; choose another.")
    _require(bool(spec.argv and spec.argv[0].strip()), "Argv: name the program, with its full path, as the first item.")
    known = PLACEHOLDERS | (PROMPTS if spec.kind is AgentKind.COMMAND else frozenset())
    for text in (*spec.argv, *spec.environment.values()):
        _check_placeholders(text, known)
    _check_environment(spec.environment)
    _check_files(spec.files, known)
    check_mounts(spec.mounts)


def texts(value: Any, field_name: str) -> tuple[str, ...]:
    """A JSON list of texts, or InvalidInput."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidInput(f'{field_name}: write a list of texts, such as ["/opt/agent/bin/agent", "acp"].')
    return tuple(value)


def table(value: Any, field_name: str) -> dict[str, str]:
    """A JSON object of texts, or InvalidInput."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidInput(f'{field_name}: write an object of texts, such as {{"NAME": "value"}}.')
    return {str(name): text for name, text in value.items()}


def fill(text: str, values: Mapping[str, str], *, json_text: bool = False) -> str:
    """Every known placeholder replaced; in JSON the value is escaped as the inside of a string."""

    def put(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            return match[0]
        return json.dumps(value)[1:-1] if json_text else value

    return _PLACEHOLDER.sub(put, text)


def filled(spec: AgentSpec, values: Mapping[str, str]) -> AgentSpec:
    """The same agent with its command line, variables and files filled in."""
    return AgentSpec(
        name=spec.name,
        kind=spec.kind,
        argv=tuple(fill(word, values) for word in spec.argv),
        environment={name: fill(text, values) for name, text in spec.environment.items()},
        files={
            path: fill(text, values, json_text=path.endswith((".json", ".jsonc"))) for path, text in spec.files.items()
        },
        mounts=spec.mounts,
        permissions=spec.permissions,
        auth_method=spec.auth_method,
        session_mode=spec.session_mode,
        start_timeout_s=spec.start_timeout_s,
        silence_timeout_s=spec.silence_timeout_s,
        memory_mb=spec.memory_mb,
    )


def asks_for(spec: AgentSpec, placeholder: str) -> bool:
    """Whether the command line, a variable or a file takes it."""
    mark = f"{{{placeholder}}}"
    return any(mark in text for text in (*spec.argv, *spec.environment.values(), *spec.files.values()))


def check_mounts(mounts: Sequence[str]) -> None:
    for path in mounts:
        shown = path[:80]
        _require(path.startswith("/") and path.isprintable(), f"Mounts: {shown!r} is no full path.")
        _require(posixpath.normpath(path) == path, f"Mounts: write {shown!r} without '..', '.' and a slash at the end.")
        _require(path not in _TOO_MUCH, f"Mounts: {shown} would show the agent too much; name the program's directory.")


def refusal(policy: Permissions, kind: str, paths: Sequence[str], workspace: str) -> str:
    """Why a request for permission is refused; empty: it is granted."""
    if policy is Permissions.ALL:
        return ""
    if policy is Permissions.NONE:
        return "" if kind in LOOKING else "This agent may only look."
    if kind == "fetch":
        return "There is no network."
    outside = next((path for path in paths if not _inside(path, workspace)), "")
    return f"{outside[:200]} is outside the workspace." if outside else ""


def _check_placeholders(text: str, known: frozenset[str]) -> None:
    _require("\0" not in text and len(text) <= MOST_TEXT, f"A text is longer than {MOST_TEXT} characters or has a NUL.")
    for name in _PLACEHOLDER.findall(text):
        if name in PROMPTS - known:
            raise InvalidInput(f"{{{name}}} is for command agents; an ACP agent is told its task over the protocol.")
        _require(name in known, f"{{{name}}} is no placeholder; there are: {', '.join(sorted(known))}.")


def _check_environment(environment: Mapping[str, str]) -> None:
    for name in environment:
        _require(bool(_VARIABLE.fullmatch(name)), f"Environment: {name[:80]!r} is no name of a variable.")


def _check_files(files: Mapping[str, str], known: frozenset[str]) -> None:
    for path, text in files.items():
        parts = path.split("/")
        inside = path.isprintable() and not path.startswith("/") and not {"", ".", ".."} & set(parts)
        _require(inside, f"Files: {path[:80]!r} must be a path beneath the agent's home, such as .config/agent.json.")
        _require(len(text) <= MOST_TEXT and "\0" not in text, f"Files: {path} has more than {MOST_TEXT} characters.")
        wrong = (PROMPTS - known) & set(_PLACEHOLDER.findall(text))
        _require(not wrong, f"Files: {path} names a placeholder of command agents: {', '.join(sorted(wrong))}.")


def _require(condition: bool, sentence: str) -> None:  # noqa: FBT001 - reads as assert does
    if not condition:
        raise InvalidInput(sentence)


def _inside(path: str, workspace: str) -> bool:
    at = posixpath.normpath(posixpath.join(workspace, path))
    return at == workspace or at.startswith(f"{workspace}/")

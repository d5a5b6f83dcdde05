"""Runs a worker's tool calls in its workspace. What goes wrong is told to the model, not raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import ToolError, grep
from orchestration.adapters.sandbox import CommandResult
from orchestration.agents.assignment import Report, Workplace
from orchestration.agents.conversation import Clock
from orchestration.domain.errors import InvalidInput
from orchestration.domain.validation import sentences

MAX_RESULT_CHARACTERS = 30_000
MAX_COMMAND_SECONDS = 1800


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _ListFiles(_Arguments):
    path: str = "."
    depth: Annotated[int, Field(ge=1, le=20)] = 2


class _ReadFile(_Arguments):
    path: str
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=20_000)] = 2000


class _WriteFile(_Arguments):
    path: str
    content: str


class _EditFile(_Arguments):
    path: str
    old: Annotated[str, Field(min_length=1)]
    new: str
    replace_all: bool = False


class _Glob(_Arguments):
    pattern: str


class _Grep(_Arguments):
    pattern: Annotated[str, Field(min_length=1)]
    path: str = "."
    glob: str = ""


class _Bash(_Arguments):
    command: Annotated[str, Field(min_length=1, max_length=200_000)]
    timeout_s: Annotated[float, Field(gt=0, le=MAX_COMMAND_SECONDS)] = 120


class _SaveArtifact(_Arguments):
    type: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    mime: Annotated[str, Field(max_length=100)] = "text/plain"
    path: str = ""
    content: str | None = None


class Toolbox:
    """The tools of one attempt. `run` gives the result for the model and whether the call itself was right."""

    def __init__(self, workplace: Workplace, report: Report, clock: Clock, cancellation: Cancellation) -> None:
        self._files = workplace.files
        self._box = workplace.box
        self._report = report
        self._clock = clock
        self._cancellation = cancellation
        self._tools: Mapping[str, tuple[type[_Arguments], Callable[[Any], str]]] = {
            "list_files": (_ListFiles, lambda a: self._files.list_files(a.path, a.depth)),
            "read_file": (_ReadFile, lambda a: self._files.read_file(a.path, a.offset, a.limit)),
            "write_file": (_WriteFile, lambda a: self._files.write_file(a.path, a.content)),
            "edit_file": (_EditFile, lambda a: self._files.edit_file(a.path, a.old, a.new, a.replace_all)),
            "glob": (_Glob, lambda a: self._files.glob(a.pattern)),
            "grep": (_Grep, lambda a: grep(self._box, a.pattern, a.path, a.glob)),
            "bash": (_Bash, self._bash),
            "save_artifact": (_SaveArtifact, self._save),
        }

    def run(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """Raises AdapterError only for what ends the attempt: a cancel, a sandbox that is gone."""
        if name not in self._tools:
            return f"Error: there is no tool {name!r}; there are {', '.join(self._tools)} and handoff.", False
        kind, call = self._tools[name]
        try:
            return _bounded(call(kind.model_validate(arguments))), True
        except ValidationError as error:
            return "Error: " + " ".join(sentences(error)), False
        except (ToolError, InvalidInput) as error:
            return f"Error: {error}", False

    def _bash(self, arguments: _Bash) -> str:
        timeout = min(arguments.timeout_s, self._clock.left())
        result = self._box.run(arguments.command, timeout_s=timeout, cancellation=self._cancellation)
        return f"{result.output}\n[{_ending(result, timeout)}]"

    def _save(self, arguments: _SaveArtifact) -> str:
        if (arguments.content is None) == (not arguments.path):
            raise InvalidInput("Give either content or the path of a file.")
        content = (
            arguments.content.encode() if arguments.content is not None else self._files.read_bytes(arguments.path)
        )
        return self._report.save_artifact(
            type_=arguments.type, name=arguments.name, mime=arguments.mime, content=content
        )


def _ending(result: CommandResult, timeout: float) -> str:
    if result.timed_out:
        return f"killed after {timeout:.0f} s"
    return result.limit or f"exit code {result.exit_code}"


def _bounded(text: str) -> str:
    """Head and tail of a long result: the beginning says what it is, the end how it went."""
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    half = MAX_RESULT_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"

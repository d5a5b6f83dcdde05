"""Runs a worker's tool calls in its workspace. What goes wrong is told to the model, not raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import ToolError, grep
from orchestration.adapters.sandbox import CommandResult
from orchestration.adapters.secrets import clean
from orchestration.agents.arguments import (
    Bash,
    EditFile,
    GetResults,
    Glob,
    Grep,
    ListFiles,
    ReadFile,
    SaveArtifact,
    ShareResult,
    WriteFile,
)
from orchestration.agents.assignment import Report, Workplace
from orchestration.agents.conversation import Clock
from orchestration.domain.errors import InvalidInput
from orchestration.domain.tools import WORKER_TOOLS
from orchestration.domain.validation import FromModel, sentences

MAX_OUTPUT_CHARACTERS = 30_000
ALL = tuple(tool.name for tool in WORKER_TOOLS)


class Toolbox:
    """The tools of one attempt. `run` gives the result for the model and whether the call itself was right."""

    def __init__(
        self,
        workplace: Workplace,
        report: Report,
        clock: Clock,
        cancellation: Cancellation,
        offered: Sequence[str] = ALL,
    ) -> None:
        self._offered = offered
        self._files = workplace.files
        self._box = workplace.box
        self._report = report
        self._clock = clock
        self._cancellation = cancellation
        self._tools: Mapping[str, tuple[type[FromModel], Callable[[Any], str]]] = {
            "list_files": (ListFiles, lambda a: self._files().list_files(a.path, a.depth)),
            "read_file": (ReadFile, lambda a: self._files().read_file(a.path, a.offset, a.limit)),
            "write_file": (WriteFile, lambda a: self._files().write_file(a.path, a.content)),
            "edit_file": (EditFile, lambda a: self._files().edit_file(a.path, a.old, a.new, a.replace_all)),
            "glob": (Glob, lambda a: self._files().glob(a.pattern)),
            "grep": (Grep, lambda a: grep(self._box, a.pattern, a.path, a.glob, cancellation)),
            "bash": (Bash, self._bash),
            "save_artifact": (SaveArtifact, self._save),
            "share_result": (ShareResult, lambda a: report.share_result(a.key, a.value, a.tags)),
            "get_results": (GetResults, lambda a: report.get_results(**a.model_dump())),
        }

    def run(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """Raises AdapterError only for what ends the attempt: a cancel, no time left, a sandbox that is gone."""
        self._cancellation.check()
        self._clock.left()
        if name not in self._tools or name not in self._offered:
            tools = ", ".join(one for one in self._offered if one != "handoff")
            here = " in a task of this kind" if name in self._tools else ""
            return f"Error: there is no tool {name[:60]!r}{here}; there are {tools} and handoff.", False
        kind, call = self._tools[name]
        try:
            return call(kind.model_validate(arguments)), True
        except ValidationError as error:
            return "Error: " + " ".join(sentences(error)), False
        except (ToolError, InvalidInput) as error:
            return f"Error: {error}", False

    def _bash(self, arguments: Bash) -> str:
        timeout = min(arguments.timeout_s, self._clock.left())
        result = self._box.run(arguments.command, timeout_s=timeout, cancellation=self._cancellation)
        return f"{self._bounded(str(clean(result.output)))}\n[{_ending(result, timeout)}]"

    def _bounded(self, text: str) -> str:
        """Head and tail of a long output: the beginning says what it is, the end how it went. The whole is kept."""
        if len(text) <= MAX_OUTPUT_CHARACTERS:
            return text
        half = MAX_OUTPUT_CHARACTERS // 2
        name = self._report.keep_output("bash", text)
        kept = f"; all of it is kept as the artifact {name}" if name else ""
        return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out{kept} ...\n{text[-half:]}"

    def _save(self, arguments: SaveArtifact) -> str:
        if (arguments.content is None) == (not arguments.path):
            raise InvalidInput("Give either content or the path of a file.")
        content = (
            arguments.content.encode() if arguments.content is not None else self._files().read_bytes(arguments.path)
        )
        return self._report.save_artifact(
            type_=arguments.type, name=arguments.name, mime=arguments.mime, content=content
        )


def _ending(result: CommandResult, timeout: float) -> str:
    if result.timed_out:
        return f"killed after {timeout:.3g} s"
    return result.limit or f"exit code {result.exit_code}"

"""Makes a program out of an agent's description: templates filled in, the gateway before it, its installation found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from orchestration.adapters import installation
from orchestration.adapters.sandbox import Box, Limits, Program
from orchestration.adapters.serving.access import GatewayAccess, bridge_argv, bridge_files, forwarder_argv, python
from orchestration.agents.mcp import ToolServer
from orchestration.domain.agents import AgentSpec, check_agent, check_mounts, filled

OUTPUT_KEPT = 4_000_000
PROMPT_FILE = ".swarmsite-task.md"

OpenBox = Callable[[tuple[Path, ...], Limits], AbstractContextManager[Box]]


@dataclass(frozen=True, slots=True)
class Outside:
    """What an agent that is not ours needs beside its assignment. `open` makes a box that is shown directories."""

    spec: AgentSpec
    access: GatewayAccess
    open: OpenBox
    tools: ToolServer | None = None

    def box(self) -> AbstractContextManager[Box]:
        """A box of its own, in which the agent's program can be found. Raises InvalidInput where it is not there."""
        check_agent(self.spec)
        roots = installation.find(self.spec.argv).roots
        mounts = (*map(str, roots), *self.spec.mounts)
        check_mounts(mounts)
        limits = Limits(
            memory_mb=self.spec.memory_mb, processes=512, open_files=4096, output_bytes=OUTPUT_KEPT, file_size_mb=1000
        )
        return self.open((*self.access.shown, *map(Path, dict.fromkeys(mounts))), limits)

    def program(self, box: Box, prompt: str = "", *, by_input: bool = False) -> Program:
        values = {
            "openai_url": self.access.openai_url,
            "anthropic_url": self.access.anthropic_url,
            "token": self.access.token,
            "model": self.access.model,
            "tools_url": self.access.tools_url,
            "tools_program": bridge_argv(box.home)[-1],
            "python": python(),
            "workspace": box.workspace,
            "home": box.home,
            "prompt": prompt,
            "prompt_file": f"{box.home}/{PROMPT_FILE}",
        }
        found = installation.find(self.spec.argv)
        spec = filled(self.spec, values)
        return Program(
            command=forwarder_argv(self.access, (found.argv[0], *spec.argv[1:])),
            environment=spec.environment,
            files={
                **spec.files,
                **({PROMPT_FILE: prompt} if prompt else {}),
                **(bridge_files(self.access) if self.tools else {}),
            },
            input=prompt.encode() if by_input else b"",
        )

"""Tries an agent out: starts it in a sandbox with an empty workspace, and says what is wrong or who it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestration.adapters import installation, storage
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.sandbox import Program
from orchestration.adapters.serving.access import INSIDE_PORT, GatewayAccess
from orchestration.agents.programs import Outside
from orchestration.domain.agents import AgentKind, AgentSpec
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.texts import first_line
from orchestration.models import Agent
from orchestration.stages.examine import Examination

NOBODY = "Whether it finds its models shows with its first subtask."


def audition(row: Agent) -> Examination:
    try:
        spec = row.spec
        said = "It is our own; there is nothing to start." if spec.kind is AgentKind.BUILTIN else _started(spec)
    except (AdapterError, InvalidInput) as error:
        return Examination(works=False, sentences=(f"{row.name}: {error}",))
    return Examination(works=True, sentences=(f"{row.name}: {said}",))


def _started(spec: AgentSpec) -> str:
    """Without a gateway: no agent needs a model to open a session. Raises AdapterError or InvalidInput."""
    with tempfile.TemporaryDirectory(prefix="swarmsite-audition-") as empty:
        access = GatewayAccess("no-token", "no-model", INSIDE_PORT, None)
        sandbox = storage.sandbox_for(demo=False)
        outside = Outside(spec, access, lambda shown, limits: sandbox.open(Path(empty), limits=limits, shown=shown))
        if spec.kind is AgentKind.COMMAND:
            return _runs(outside)
        from orchestration.agents.acp import introduce  # noqa: PLC0415 - half a second that few need

        return f"{introduce(outside, WorkspaceFiles(Path(empty)))} opened a session. {NOBODY}"


def _runs(outside: Outside) -> str:
    """Only its version is asked for: a task would need a model."""
    program = installation.find(outside.spec.argv).argv[0]
    with outside.box() as box:
        whole = outside.program(box)
        asked = Program([program, "--version"], whole.environment, whole.files)
        ran = box.run(asked, timeout_s=outside.spec.start_timeout_s)
    said = first_line(ran.output.strip(), 200) or "nothing"
    if ran.exit_code != 0 or ran.limit:
        how = ran.limit or f"It ended with exit code {ran.exit_code}."
        raise AdapterError(Failure.PERMANENT, f"Asked for its --version, it said {said}. {how}")
    return f"it starts, and says {said}. {NOBODY}"

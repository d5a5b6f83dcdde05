"""Public agents that were seen to work, as the fields of their rows: a user adds where the program is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.domain.agents import AgentKind


@dataclass(frozen=True, slots=True)
class Preset:
    """`package` is what to install, `program` what it is called then, `words` what follows it."""

    title: str
    package: str
    program: str
    words: Sequence[str]
    kind: AgentKind = AgentKind.ACP
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    auth_method: str = ""

    def fields(self, program: str = "") -> dict[str, Any]:
        """Those of a row; `program` is where it is installed."""
        return {
            "kind": self.kind.value,
            "argv": [program or self.program, *self.words],
            "environment": dict(self.environment),
            "files": dict(self.files),
            "auth_method": self.auth_method,
        }


_OPENAI = {"OPENAI_BASE_URL": "{openai_url}", "OPENAI_API_KEY": "{token}", "OPENAI_MODEL": "{model}"}
_ANTHROPIC_MODELS = ("MODEL", "SMALL_FAST_MODEL", "DEFAULT_HAIKU_MODEL", "DEFAULT_SONNET_MODEL", "DEFAULT_OPUS_MODEL")

_OPENCODE_MODEL = {"name": "{model}", "limit": {"context": 128_000, "output": 8192}}
_OPENCODE = {
    "autoupdate": False,
    "share": "disabled",
    "provider": {
        "gateway": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Gateway",
            "options": {"baseURL": "{openai_url}", "apiKey": "{token}"},
            "models": {"{model}": _OPENCODE_MODEL},
        }
    },
    "model": "gateway/{model}",
    "small_model": "gateway/{model}",
}
_OPENCODE_FILES = {".config/opencode/opencode.json": json.dumps(_OPENCODE, indent=1)}
_BRIDGE = ["-I", "-S", "{tools_program}"]  # an agent of the protocol gets our tools in its session
_OPENCODE_TOOLS = {"mcp": {"swarmsite": {"type": "local", "command": ["{python}", *_BRIDGE], "enabled": True}}}
_OPENCODE_RUN_FILES = {".config/opencode/opencode.json": json.dumps(_OPENCODE | _OPENCODE_TOOLS, indent=1)}
_OPENCODE_ENVIRONMENT = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
}

_QWEN = {
    "security": {"auth": {"selectedType": "openai"}},
    "general": {"disableAutoUpdate": True},
    "telemetry": {"enabled": False},
    "privacy": {"usageStatisticsEnabled": False},
}
_QWEN_FILES = {".qwen/settings.json": json.dumps(_QWEN, indent=1)}
_QWEN_TOOLS = {"mcpServers": {"swarmsite": {"command": "{python}", "args": _BRIDGE, "trust": True}}}
_QWEN_RUN_FILES = {".qwen/settings.json": json.dumps(_QWEN | _QWEN_TOOLS, indent=1)}

_CODEX = """model = "{model}"
model_provider = "gateway"
sandbox_mode = "danger-full-access"
approval_policy = "never"
[model_providers.gateway]
name = "Gateway"
base_url = "{openai_url}"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""  # its own sandbox cannot be set up inside ours, which stays around it

PRESETS: Mapping[str, Preset] = {
    "opencode": Preset(
        title="OpenCode",
        package="opencode-ai (npm)",
        program="opencode",
        words=("acp",),
        environment=_OPENCODE_ENVIRONMENT,
        files=_OPENCODE_FILES,
    ),
    "opencode-run": Preset(
        title="OpenCode, by its command line",
        package="opencode-ai (npm)",
        program="opencode",
        words=("run", "{prompt}"),
        kind=AgentKind.COMMAND,
        environment=_OPENCODE_ENVIRONMENT,
        files=_OPENCODE_RUN_FILES,
    ),
    "qwen-code": Preset(
        title="Qwen Code",
        package="@qwen-code/qwen-code (npm)",
        program="qwen",
        words=("--acp",),
        environment=_OPENAI,
        files=_QWEN_FILES,
        auth_method="openai",
    ),
    "qwen-code-run": Preset(
        title="Qwen Code, by its command line",
        package="@qwen-code/qwen-code (npm)",
        program="qwen",
        words=("--yolo", "-p", "{prompt}"),
        kind=AgentKind.COMMAND,
        environment=_OPENAI,
        files=_QWEN_RUN_FILES,
    ),
    "claude-code": Preset(
        title="Claude Code",
        package="@zed-industries/claude-code-acp (npm)",
        program="claude-code-acp",
        words=(),
        environment={
            "ANTHROPIC_BASE_URL": "{anthropic_url}",
            "ANTHROPIC_API_KEY": "{token}",
            **{f"ANTHROPIC_{name}": "{model}" for name in _ANTHROPIC_MODELS},
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
    ),
    "codex": Preset(
        title="Codex",
        package="@zed-industries/codex-acp (npm)",
        program="codex-acp",
        words=(),
        environment={"OPENAI_API_KEY": "{token}", "GATEWAY_KEY": "{token}"},
        files={".codex/config.toml": _CODEX},
    ),
}

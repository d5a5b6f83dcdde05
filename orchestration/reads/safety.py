"""What the site must say about its own set-up."""

from __future__ import annotations

from orchestration.adapters import storage
from orchestration.domain.errors import AdapterError


def sandbox_warning() -> str:
    """Empty where agents' commands are isolated."""
    try:
        sandbox = storage.sandbox()
    except AdapterError as error:
        return str(error)
    if sandbox.isolated:
        return ""
    if sandbox.name == "unavailable":
        return f"Only the built-in demo can run here. {sandbox.describe()}"
    return "Agents' commands run without a sandbox on this server, because SWARM_SANDBOX is set to none."

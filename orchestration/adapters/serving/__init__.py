"""The model gateway for agents that are not ours: its HTTP, and the way to it from inside a sandbox."""

from __future__ import annotations

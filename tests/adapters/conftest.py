"""For adapters: a workspace and its neighbour, both sandboxes, and services of the openai kind, good and bad."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.sandbox import Box, Sandbox, choose_sandbox
from tests.adapters.openai_rig import Asker, RawServer

SECRET = "the neighbour's secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a neighbour beside it."""
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour/file").write_text(SECRET)
    root = tmp_path / "workspace"
    root.mkdir()
    return root


@pytest.fixture
def tools(root: Path) -> WorkspaceFiles:
    return WorkspaceFiles(root)


def fill(root: Path, **content: str) -> None:
    for name, text in content.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(params=["bubblewrap", "none"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return choose_sandbox(request.param)


@pytest.fixture
def box(sandbox: Sandbox, tmp_path: Path) -> Iterator[Box]:
    with sandbox.open(tmp_path) as opened:
        yield opened


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    asker = Asker()
    yield asker
    await asker.pools.aclose()
    asker.service.close()


@pytest.fixture
def raw() -> Iterator[Callable[..., str]]:
    servers: list[RawServer] = []

    def start(*pieces: bytes) -> str:
        servers.append(RawServer(*pieces))
        return servers[-1].base_url

    yield start
    for server in servers:
        server.close()

"""A late workspace is taken by whoever asks first, once, and given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.late import LateWorkspace
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.domain.errors import AdapterError


@pytest.fixture
def pool(tmp_path: Path, store: BareRepository) -> WorkspacePool:
    return WorkspacePool(tmp_path / "workspaces", store)


def slots(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "workspaces").glob("slot-*"))


def test_nothing_is_taken_for_whoever_asks_for_nothing(pool: WorkspacePool, tmp_path: Path, bring: Any):
    with LateWorkspace(pool, bring()) as workspace:
        assert not workspace.is_taken
    assert slots(tmp_path) == []


def test_all_who_ask_at_the_same_time_have_the_same_one(pool: WorkspacePool, tmp_path: Path, bring: Any):
    with LateWorkspace(pool, bring()) as workspace, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: workspace(), range(8)))
    assert workspace.is_taken
    assert {one.path for one in found} == {tmp_path / "workspaces" / one.name / "files" for one in slots(tmp_path)}
    assert (found[0].path / "a.txt").read_text() == "one\ntwo\nthree\n"


def test_it_goes_back_to_its_pool(pool: WorkspacePool, bring: Any):
    sha = bring()
    with LateWorkspace(pool, sha) as workspace:
        taken = workspace()
        assert pool.acquire(sha).path != taken.path
    assert pool.acquire(sha).path == taken.path


def test_what_could_not_be_taken_may_be_the_next_time(pool: WorkspacePool, bring: Any):
    sha, real = bring(), pool.acquire
    with LateWorkspace(pool, "0" * 40) as workspace, pytest.raises(AdapterError):
        workspace()
    assert not workspace.is_taken
    with pytest.MonkeyPatch.context() as patch, LateWorkspace(pool, sha) as late:
        patch.setattr(pool, "acquire", lambda _: real("0" * 40))
        with pytest.raises(AdapterError):
            late()
        patch.setattr(pool, "acquire", real)
        assert (late().path / "a.txt").exists()

"""The janitor: what belongs to nobody goes, what somebody uses stays, and it tells how much was freed."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.adapters import leftovers, storage
from orchestration.adapters.serving.access import FORWARDER, SOCKET
from orchestration.models import Artifact, Swarm
from orchestration.stages.leases import hold
from orchestration.stages.leftovers import LEASE, OLD_S, Kind, Left, clear, left_behind
from orchestration.stages.maintain import maintain
from tests import factories
from tests.stages.world import World

LONG_AGO = time.time() - 10 * 24 * 3600


@pytest.fixture(autouse=True)
def _data_of_its_own(tmp_path: Path, settings: Settings) -> None:
    """What other tests have left is as if it were deleted repositories'."""
    settings.DATA_DIR = tmp_path / "data"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for short-lived files; a test's own path may be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="j-") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def old(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def gateway(short: Path, name: str) -> Path:
    """As a killed process leaves it."""
    directory = short / f"swarm-{name}"
    directory.mkdir()
    (directory / FORWARDER).write_text("# forwards\n" * 1000)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / SOCKET))
    return old(directory)


def found(lefts: list[Left]) -> dict[Kind, tuple[str, ...]]:
    return {one.kind: one.names for one in lefts if one.names}


def blob(content: bytes, age_s: float = 2 * OLD_S) -> tuple[str, Path]:
    blobs = storage.blobs()
    name = blobs.put(content)
    path = blobs.root / name[:2] / name[2:]
    os.utime(path, (time.time() - age_s,) * 2)
    return name, path


def test_a_gateway_that_nobody_serves_any_more_goes_with_its_socket(short: Path):
    left = gateway(short, "left")
    assert found(left_behind())[Kind.GATEWAYS] == ("swarm-left",)
    assert left.is_dir(), "a look touches nothing"
    (gone, *_) = clear()
    assert (gone.kind, gone.names) == (Kind.GATEWAYS, ("swarm-left",))
    assert gone.bytes >= 11_000
    assert not left.exists()


def test_one_that_is_served_young_or_not_ours_stays(short: Path):
    served, young, foreign = (gateway(short, name) for name in ("served", "young", "foreign"))
    os.utime(young)
    (foreign / "notes.txt").write_text("somebody's\n")
    old(foreign)
    (short / "swarm-empty").mkdir()
    old(short / "swarm-empty")
    (short / "swarm-link").symlink_to(young)
    (served / SOCKET).unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(served / SOCKET))
        listener.listen()
        old(served)
        assert Kind.GATEWAYS not in found(left_behind())
        clear()
        assert all(one.is_dir() for one in (served, young, foreign))
    assert found(left_behind())[Kind.GATEWAYS] == ("swarm-served",), "the control: nobody serves it now"


def test_scratch_of_children_that_were_killed_goes_when_it_is_old(short: Path):
    for name in ("swarmsite-index-a", "swarmsite-union-b", "swarmsite-other-c"):
        (short / name).mkdir()
        old(short / name)
    (short / "swarmsite-index-young").mkdir()
    assert set(found(clear())[Kind.SCRATCH]) == {"swarmsite-index-a", "swarmsite-union-b"}
    assert (short / "swarmsite-index-young").is_dir()
    assert (short / "swarmsite-other-c").is_dir()


def test_workspaces_of_deleted_repositories_go_by_themselves_and_bare_ones_only_when_told(world: World, short: Path):
    swarm = world.running()
    kept = storage.bare_repository(swarm.repository.public_id).path
    pool = storage.workspace_pool(swarm.repository.public_id)
    pool.release(pool.acquire(swarm.base_sha))
    orphan = storage.bare_repository("deleted00000")
    orphan.create()
    others = storage.workspace_pool("deleted00000")
    slot = storage.data_directory() / "workspaces/deleted00000/slot-a/files"
    slot.mkdir(parents=True)
    (slot / "left.txt").write_text("x" * 5000)
    (slot.parent / "index").write_text("")
    old(slot.parent / "index")
    told = found(left_behind())
    assert told[Kind.WORKSPACES] == ("deleted00000",)
    assert told[Kind.REPOSITORIES] == ("deleted00000.git",)
    maintain(swarm.repository.pk)
    assert not slot.exists()
    assert orphan.path.is_dir(), "it may hold the only copy of work"
    gone = {one.kind: one for one in clear(repositories=True)}
    assert gone[Kind.REPOSITORIES].names == ("deleted00000.git",)
    assert gone[Kind.REPOSITORIES].bytes > 0
    assert not orphan.path.exists()
    assert kept.is_dir()
    assert pool.discard_unused(-1) == 1, "a known repository's workspaces stay"
    del others


def test_a_workspace_that_is_still_held_stays(world: World, short: Path):
    swarm = world.running()
    pool = storage.workspace_pool("deleted00001")
    pool._repository = storage.bare_repository(swarm.repository.public_id)
    held = pool.acquire(swarm.base_sha)
    assert Kind.WORKSPACES not in found(clear())
    assert held.path.is_dir()
    pool.release(held)
    old(held.index)
    assert found(clear())[Kind.WORKSPACES] == ("deleted00001",)


def ended(days: int) -> Swarm:
    swarm = factories.make_swarm(status="succeeded")
    Swarm.objects.filter(pk=swarm.pk).update(finished_at=timezone.now() - timedelta(days=days))
    return swarm


def test_artifacts_expire_days_after_their_swarm_where_an_operator_says_so(short: Path, settings: Settings):
    shared, shared_path = blob(b"of both")
    alone, alone_path = blob(b"of the old one alone")
    for swarm, names in ((ended(31), (shared, alone)), (ended(29), (shared,))):
        for name in names:
            factories.make_artifact(swarm, sha256=name)
    running = factories.make_artifact(factories.make_swarm(), sha256=shared)
    assert found(left_behind()) == {}, "unless they are told to, artifacts stay for ever"
    settings.SWARM = settings.SWARM | {"ARTIFACT_DAYS": 30}
    look = {one.kind: one for one in left_behind()}
    assert (len(look[Kind.ARTIFACTS].names), look[Kind.CONTENT].names) == (2, (alone,))
    assert look[Kind.CONTENT].bytes == len(b"of the old one alone")
    assert Artifact.objects.count() == 4
    gone = {one.kind: one for one in clear()}
    assert gone[Kind.CONTENT] == look[Kind.CONTENT], "what was foretold is what went"
    assert (alone_path.exists(), shared_path.exists()) == (False, True)
    assert Artifact.objects.filter(pk=running.pk).exists()
    assert Artifact.objects.count() == 2


# The command


def tidy(*args: str) -> str:
    out = StringIO()
    call_command("tidy", *args, stdout=out)
    return out.getvalue()


def test_the_command_shows_first_and_does_it_when_told(short: Path):
    assert tidy() == "Nothing was left behind.\n"
    left = gateway(short, "left")
    shown = tidy()
    assert "1 sockets and directories of agents' gateways whose attempt is gone" in shown
    assert "swarm-left" in shown
    assert "would be freed. Add --yes to do it." in shown
    assert left.is_dir()
    told = json.loads(tidy("--json"))
    assert (told["removed"], told["found"]["gateways"]["names"]) == (False, ["swarm-left"])
    assert told["bytes"] > 0
    assert tidy("--yes").endswith(" freed.\n")
    assert not left.exists()


def test_the_command_gives_way_to_the_engine(short: Path):
    with hold(LEASE) as lease:
        assert lease
        with pytest.raises(CommandError, match="try again in a minute") as caught:
            tidy("--yes")
    assert caught.value.returncode == 1


def test_a_database_that_knows_no_repository_is_taken_for_the_wrong_one(short: Path):
    orphan = storage.data_directory() / "repositories/someones0000.git"
    orphan.mkdir(parents=True)
    with pytest.raises(CommandError, match="is DATABASE_URL the right one") as caught:
        tidy("--yes")
    assert caught.value.returncode == 2
    assert orphan.is_dir()
    factories.make_repository()
    tidy("--yes")
    assert not orphan.exists()


def test_what_vanishes_while_it_is_counted_counts_nothing(tmp_path: Path):
    (tmp_path / "gone").symlink_to("nowhere")
    assert leftovers.size_of(tmp_path / "never-there") == 0
    assert leftovers.size_of(tmp_path) == 0

"""Where control groups are found, in which version, and which of them are taken away again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestration.adapters.sandbox import cgroups
from orchestration.adapters.sandbox.cgroups import Groups, Place, candidates

BOTH = frozenset({"pids", "memory"})
V1 = """\
22 1 0:20 / /proc rw - proc proc rw
30 22 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
V2 = "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture(autouse=True)
def plain_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the kernel's: they take no process. The tests of limits use real ones."""
    monkeypatch.setattr(cgroups, "_takes", lambda _: True)


def test_version_one_has_a_place_for_each_controller_beneath_our_own_group() -> None:
    places = candidates("8:pids:/a\n4:memory:/b/c\n1:cpu,cpuacct:/\n0::/\n", V1)
    assert places == [
        Place(Path("/sys/fs/cgroup/pids/a"), frozenset({"pids"})),
        Place(Path("/sys/fs/cgroup/memory/b/c"), frozenset({"memory"})),
    ]


def test_a_container_sees_its_own_group_as_the_root_of_the_mount() -> None:
    mounts = "30 22 0:26 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    assert candidates("8:pids:/docker/x\n", mounts)[0].directory == Path("/sys/fs/cgroup/pids")


def test_version_two_is_tried_in_our_own_group_and_beside_it() -> None:
    assert candidates("0::/app.service/server\n", V2) == [
        Place(Path("/sys/fs/cgroup/app.service/server"), BOTH, unified=True),
        Place(Path("/sys/fs/cgroup/app.service"), BOTH, unified=True),
    ]


def test_version_two_never_goes_above_its_mount() -> None:
    assert [place.directory for place in candidates("0::/\n", V2)] == [Path("/sys/fs/cgroup")]


def test_there_may_be_none() -> None:
    assert candidates("", "22 1 0:20 / /proc rw - proc proc rw\n") == []


def test_a_place_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    groups = Groups([Place(tmp_path / "missing", BOTH), Place(tmp_path, frozenset({"pids"}))])
    assert [place.directory for place in groups.places] == [tmp_path]
    assert groups.bounds("pids")
    assert not groups.bounds("memory")
    assert list(tmp_path.iterdir()) == []


def test_a_place_whose_groups_take_no_process_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert Groups([Place(tmp_path, BOTH)]).places == []
    assert list(tmp_path.iterdir()) == []


def test_version_two_uses_one_place_and_asks_for_its_controllers(tmp_path: Path) -> None:
    for name in ("own", "beside"):
        (tmp_path / name).mkdir()
    groups = Groups([Place(tmp_path / name, BOTH, unified=True) for name in ("own", "beside")])
    assert [place.directory.name for place in groups.places] == ["own"]
    assert (tmp_path / "own/cgroup.subtree_control").read_text() == "+pids +memory"


def test_version_two_writes_its_bounds_and_reads_its_counts(tmp_path: Path) -> None:
    groups = Groups([Place(tmp_path, BOTH, unified=True)])
    group = groups.make(processes=7, memory_mb=3)
    (directory,) = tmp_path.glob("swarmsite-*")
    assert (directory / "pids.max").read_text() == "7"
    assert (directory / "memory.max").read_text() == str(3 * 1024 * 1024)
    assert group.met() == cgroups.Met()
    (directory / "pids.events").write_text("max 2\n")
    (directory / "memory.events").write_text("low 0\nmax 9\noom 1\noom_kill 1\n")
    assert group.met() == cgroups.Met(processes=2, memory=1)
    group.add(42)
    assert (directory / "cgroup.procs").read_text() == "42"


def test_swap_is_bounded_where_the_machine_counts_it(tmp_path: Path) -> None:
    for unified, name, text in ((True, "memory.swap.max", "0"), (False, "memory.memsw.limit_in_bytes", "5")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_text("max")
        cgroups._bound_memory(str(directory), 5, unified=unified)
        assert (directory / name).read_text() == text


def test_a_group_that_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "pids", tmp_path / "memory"
    for place in (first, second):
        place.mkdir()
    groups = Groups([Place(first, frozenset()), Place(second, frozenset())])
    second.rmdir()
    with pytest.raises(FileNotFoundError):
        groups.make(processes=1, memory_mb=1)
    assert list(first.iterdir()) == []


@pytest.mark.parametrize("name", ["another", "swarmsite-1-2", "swarmsite-0-999999999-1-1"])
def test_what_is_not_provably_an_orphan_of_ours_is_not_swept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Groups([Place(tmp_path, frozenset())]).sweep()
    assert (tmp_path / name).exists()


def test_orphans_are_known_by_the_start_of_their_process(tmp_path: Path) -> None:
    namespace, pid = cgroups._namespace(), os.getpid()
    alive = f"swarmsite-{namespace}-{pid}-{cgroups._started(pid)}-1"
    reused = f"swarmsite-{namespace}-{pid}-1-1"
    gone = f"swarmsite-{namespace}-999999999-1-1"
    for name in (alive, reused, gone):
        (tmp_path / name).mkdir()
    Groups([Place(tmp_path, frozenset())]).sweep()
    assert [left.name for left in tmp_path.iterdir()] == [alive]

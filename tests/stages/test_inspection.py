"""An ordinary handoff costs few git children; whatever looks suspicious is compared with what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.adapters import secrets
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git import directory, runner, snapshots, trees
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import Workspace, WorkspacePool
from orchestration.domain.errors import AdapterError
from orchestration.models import Attempt
from orchestration.stages.inspection import Inspection
from orchestration.stages.rows import store_of
from tests.stages.world import World

pytestmark = pytest.mark.any_database
KEY = "sk-proj-0123456789abcdef"
MARKERS = "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"


class Place:
    """An attempt's workspace at a commit with the given files."""

    def __init__(self, world: World, root: Path, files: dict[str, str | bytes | None]) -> None:
        world.clone.commit(files)
        self.attempt: Attempt = world.assigned(world.running())
        self.store: BareRepository = store_of(self.attempt.subtask.swarm)
        self.attempt.base_sha = self.attempt.subtask.swarm.base_sha
        self.pool = WorkspacePool(root, self.store)
        self.workspace: Workspace = self.pool.acquire(self.attempt.base_sha)
        self.inspection = Inspection(
            self.store, lambda: self.workspace, self.attempt, working_dir=None, most_s=lambda: 60.0
        )

    @property
    def files(self) -> Path:
        return self.workspace.path

    def marked(self) -> tuple[str, ...]:
        return self.inspection.look("Did it.", None, Cancellation()).marked_paths


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    place = Place(world, tmp_path / "pool", {"old.txt": "old\n", "key.txt": f"{KEY}\n", "marked.txt": MARKERS})
    yield place
    place.pool.release(place.workspace)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_named", {"MAIN_KEY"})
    monkeypatch.setenv("MAIN_KEY", KEY)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    started: list[str] = []
    real = runner.run_git

    def run_git(*args: str, **options: object) -> object:
        started.append(args[0])
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(trees, "_packed", {})
    for module in (directory, snapshots):
        monkeypatch.setattr(module, "run_git", run_git)
    return started


def test_an_ordinary_change_is_told_by_the_snapshots_own_children(place: Place, children: list[str]):
    (place.files / "new.txt").write_text("new\n")
    (place.files / "old.txt").write_text("newer\n")
    assert place.marked() == ()
    assert sorted(children) == ["cat-file", "ls-files", "update-index", "write-tree"]
    children.clear()
    (place.files / "old.txt").write_text("newest\n")
    assert place.marked() == ()
    assert sorted(children) == ["ls-files", "update-index", "write-tree"], "what was packed is known now"


def test_markers_are_found_in_what_was_added_only(place: Place):
    (place.files / "marked.txt").write_text(f"{MARKERS}and more\n")
    assert place.marked() == ()
    (place.files / "old.txt").write_text(MARKERS)
    assert place.marked() == ("old.txt",)
    (place.files / "old.txt").write_text("old\n")
    assert place.marked() == ()


@pytest.mark.usefixtures("known")
def test_a_file_with_an_old_secret_may_be_moved(place: Place):
    (place.files / "key.txt").rename(place.files / "moved.txt")
    assert place.inspection.commit("Moved it.") != place.attempt.base_sha


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", ["old.txt", "new.txt"])
def test_a_new_secret_is_refused_wherever_it_is_written(place: Place, name: str):
    (place.files / name).write_text(f"x {KEY} y")
    with pytest.raises(AdapterError, match=f"{name} holds a secret"):
        place.inspection.commit("Wrote it.")
    assert not place.store.pins("attempts")


@pytest.mark.usefixtures("known")
def test_a_secret_in_a_link_is_refused(place: Place):
    (place.files / "link").symlink_to(KEY)
    with pytest.raises(AdapterError, match="link holds a secret"):
        place.inspection.commit("Linked it.")


@pytest.mark.usefixtures("known")
def test_a_name_that_is_a_secret_is_refused(place: Place):
    (place.files / KEY).write_text("innocent")
    with pytest.raises(AdapterError, match="The name of a file"):
        place.inspection.commit("Named it.")


# --- nothing of it stays ----------------------------------------------------------------------------------------


def objects(place: Place) -> set[str]:
    """All that the repository holds, referred to or not."""
    listed = place.store.run("cat-file", "--batch-check", "--batch-all-objects").text
    return {line.split()[0] for line in listed.splitlines()}


def hidden(place: Place) -> list[str]:
    """The objects in which the key stands."""
    contents = {sha: place.store.run("cat-file", "-p", sha).stdout for sha in objects(place)}
    return [sha for sha, content in contents.items() if KEY.encode() in content]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", ["new.txt", "deep/er/new.txt", "old.txt", "link", KEY])
def test_of_a_refused_file_the_repository_holds_nothing(place: Place, name: str):
    before = objects(place)
    path = place.files / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "link":
        path.symlink_to(KEY)
    else:
        path.write_text(f"x {KEY} y")
    for _ in range(2):  # the agent may claim it again without mending it
        with pytest.raises(AdapterError, match="secret of this server"):
            place.inspection.commit("Wrote it.")
    assert objects(place) == before
    path.unlink()
    (place.files / "done.txt").write_text("done\n")
    made = place.inspection.commit("Mended it.")
    assert place.store.read_file(made, "done.txt") == b"done\n"


@pytest.mark.usefixtures("known")
def test_what_is_written_after_that_look_is_refused_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch):
    """The control: without the look before, the commit is refused as well, but a blob stays behind."""
    monkeypatch.setattr(place.inspection, "_refuse_unwritten", bool)
    before = hidden(place)
    (place.files / "new.txt").write_text(f"x {KEY} y")
    with pytest.raises(AdapterError, match=r"new\.txt holds a secret"):
        place.inspection.commit("Wrote it.")
    assert len(hidden(place)) == len(before) + 1


@pytest.mark.usefixtures("known")
def test_an_old_secret_may_be_moved_and_changed_in_one_go(place: Place):
    """Only the commits tell whose it is."""
    (place.files / "key.txt").rename(place.files / "moved.txt")
    (place.files / "old.txt").write_text("newer\n")
    assert place.inspection.commit("Moved it.") != place.attempt.base_sha


@pytest.mark.usefixtures("known")
def test_a_file_whose_name_is_a_secret_may_be_removed(world: World, tmp_path: Path):
    place = Place(world, tmp_path / "pool", {f"{KEY}.txt": "innocent\n"})
    (place.files / f"{KEY}.txt").unlink()
    made = place.inspection.commit("Removed it.")
    assert place.store.read_file(made, f"{KEY}.txt") is None
    place.pool.release(place.workspace)


def test_a_file_that_is_gone_or_became_a_directory_is_nothing_to_search(place: Place):
    (place.files / "old.txt").unlink()
    (place.files / "marked.txt").unlink()
    (place.files / "marked.txt").mkdir()
    (place.files / "marked.txt" / "inner.txt").write_text("in\n")
    made = place.inspection.commit("Changed it.")
    assert place.store.read_file(made, "marked.txt/inner.txt") == b"in\n"
    assert place.store.read_file(made, "old.txt") is None

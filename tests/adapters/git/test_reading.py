"""Pages read objects by id; odd names and content break nothing."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, Change, FileStat
from orchestration.domain.errors import AdapterError, InvalidInput

ODD = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture
def pair(clone: Any, bring: Any) -> tuple[str, str]:
    """A commit and the next one, with a rename, a binary file, a deletion and odd names."""
    clone.commit({"gone": "x\n", "old/name.py": "".join(f"line {n}\n" for n in range(20)), "bin": b"\0\1"})
    first = bring()
    clone.commit(
        {
            "gone": None,
            "old/name.py": None,
            "new name.py": "".join(f"line {n}\n" for n in range(20)) + "more\n",
            "bin": b"\0\2",
            "a.txt": b"latin \xe9\n",
            ODD: "odd\n",
            "tab\tand\nline": "t\n",
        }
    )
    (clone.path / "link").symlink_to("a.txt")
    clone.commit({})
    return first, bring()


def test_changed_paths_and_their_statistics(store: BareRepository, pair: tuple[str, str]):
    changes = store.changed_paths(*pair)
    assert Change("new name.py", "R", "old/name.py") in changes
    assert {(change.status, change.path) for change in changes} >= {
        ("D", "gone"), ("M", "bin"), ("A", "caf\\xe9.txt"), ("A", "tab\tand\nline")
    }  # fmt: skip
    stat = store.diffstat(*pair)
    assert FileStat("bin", 0, 0, binary=True) in stat.files
    assert FileStat("new name.py", 1, 0) in stat.files
    assert stat.insertions == sum(file.insertions for file in stat.files) > 0
    assert store.diffstat(pair[0], pair[0]).files == ()


def test_everything_can_be_written_as_json(store: BareRepository, pair: tuple[str, str]):
    text = [store.diff(*pair), store.list_files(pair[1]), [hit.path + hit.text for hit in store.grep(pair[1], ".")]]
    assert json.dumps(text, ensure_ascii=False).encode()


def test_files_are_listed_and_read(store: BareRepository, pair: tuple[str, str]):
    sha = pair[1]
    files = store.list_files(sha)
    assert {"a.txt", "link", "src/b.py", "src/deep/c.py", "caf\\xe9.txt"} <= set(files)
    assert store.list_files(sha, under="src") == ["src/b.py", "src/deep/c.py"]
    assert store.list_files(sha, under="src/deep/") == ["src/deep/c.py"]
    assert store.list_files(sha, under="none") == store.list_files(sha, under="a.txt") == []
    assert store.list_files(sha, limit=2) == files[:2]
    assert store.read_file(sha, "a.txt") == b"latin \xe9\n"
    assert store.read_file(sha, "./src/../a.txt", max_bytes=3) == b"lat"
    assert store.read_file(sha, "link") == b"a.txt"
    assert store.read_file(sha, "bin") == b"\0\2"
    assert store.read_file(sha, "src") is None
    assert store.read_file(sha, "none/of/it") is None


def test_packed_objects_are_read_too(store: BareRepository, pair: tuple[str, str]):
    store.run("gc", "--quiet")
    assert store.read_file(pair[1], "a.txt") == b"latin \xe9\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..", "a\0b"])
def test_paths_outside_are_refused(store: BareRepository, pair: tuple[str, str], path: str):
    for read in (
        lambda: store.read_file(pair[1], path),
        lambda: store.list_files(pair[1], under=path + "/x"),
        lambda: store.diff(*pair, path=path),
        lambda: store.grep(pair[1], "x", under=path),
    ):
        with pytest.raises(InvalidInput, match="not a path inside"):
            read()


def test_reading_what_is_not_there_is_an_error(store: BareRepository):
    for read in (store.list_files, store.log):
        with pytest.raises(AdapterError):
            read("1" * 40)


def test_reading_leaves_nothing_open(store: BareRepository, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        store.read_file(pair[1], "a.txt")
        store.list_files(pair[1], limit=1)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_log_is_newest_first(store: BareRepository, pair: tuple[str, str]):
    entries = store.log(pair[1], 2)
    assert entries[0].sha == pair[1]
    assert len(entries) == 2
    assert entries[0].when.tzinfo is not None
    assert store.log(pair[1], 100)[-1].subject == "first"


def test_a_diff_is_unified_with_renames_and_can_be_cut(store: BareRepository, pair: tuple[str, str]):
    text = store.diff(*pair)
    assert "rename from old/name.py\nrename to new name.py\n" in text
    assert "+latin \\xe9\n" in text
    assert "Binary files a/bin and b/bin differ" in text
    assert store.diff(*pair, path="gone").startswith("diff --git a/gone b/gone\ndeleted file")
    cut = store.diff(*pair, max_bytes=200)
    assert cut.endswith("... the rest is not shown: the diff is longer than 200 bytes\n")
    assert text.startswith(cut.rsplit("...", 1)[0])


def test_grep_finds_lines(store: BareRepository, pair: tuple[str, str]):
    hits = store.grep(pair[1], "line 1[0-9]$", limit=3)
    assert [(hit.path, hit.line, hit.text) for hit in hits] == [
        ("new name.py", number, f"line {number - 1}") for number in (11, 12, 13)
    ]
    assert store.grep(pair[1], "c = 1", under="src")[0].path == "src/deep/c.py"
    assert store.grep(pair[1], "no such text") == []
    assert store.grep(pair[1], "--help") == []
    with pytest.raises(InvalidInput, match="is not a regular expression"):
        store.grep(pair[1], "(")
    with pytest.raises(InvalidInput, match="one line"):
        store.grep(pair[1], "")
    with pytest.raises(AdapterError, match="git grep failed"):
        store.grep("1" * 40, "x")

"""The file tools of a model: what they answer, what they change, and what they leave out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.adapters import files, tree
from orchestration.adapters.files import ToolError, WorkspaceFiles
from orchestration.adapters.tree import matches
from tests.adapters.conftest import SECRET, fill

# --- reading ----------------------------------------------------------------------------------------------------


def test_lines_are_numbered_from_one(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("one\ntwo\n\nfour\n")
    assert tools.read_file("file") == "     1\tone\n     2\ttwo\n     3\t\n     4\tfour"


def test_a_part_says_where_it_stands_and_how_to_go_on(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("".join(f"line {n}\n" for n in range(1, 101)))
    assert tools.read_file("file", offset=10, limit=2) == (
        "    11\tline 11\n    12\tline 12\n(lines 11 to 12 of 100; go on with offset=12)"
    )
    assert tools.read_file("file", offset=98).endswith("(lines 99 to 100 of 100)")
    assert tools.read_file("file", offset=100) == "(There are only 100 lines.)"


def test_a_long_file_is_bounded_and_the_rest_can_be_read(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text(("x" * 500 + "\n") * 1000)
    answer = tools.read_file("file")
    assert len(answer) < files.MAX_TEXT + 200
    offset = int(answer.rpartition("offset=")[2].rstrip(")"))
    assert tools.read_file("file", offset=offset).startswith(f"{offset + 1:>6}\t")


def test_a_long_line_is_cut(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("x" * 5000)
    assert tools.read_file("file").endswith("[... 3000 characters cut]")


def test_binary_empty_and_broken_files_are_said(tools: WorkspaceFiles, root: Path) -> None:
    (root / "binary").write_bytes(b"\x7fELF\0\0")
    (root / "empty").touch()
    (root / "latin").write_bytes(b"caf\xe9\n")
    assert tools.read_file("binary") == "(binary is a binary file of 6 bytes; its content is not shown.)"
    assert tools.read_file("empty") == "(empty is empty.)"
    assert tools.read_file("latin") == "     1\tcaf\ufffd"


def test_a_file_of_many_pieces_is_changed_whole(tools: WorkspaceFiles, root: Path) -> None:
    lines = "".join(f"line {n}\n" for n in range(3 * files.PIECE // 6))
    tools.write_file("file", lines + "the last one\n")
    tools.edit_file("file", "the last one", "the very last one")
    assert (root / "file").read_text() == lines + "the very last one\n"
    assert tools.read_bytes("file") == (root / "file").read_bytes()


def test_of_a_file_that_grows_while_it_is_read_no_more_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 10)
    (root / "file").write_text("x" * 1000)
    found = os.open(root / "file", os.O_PATH)
    try:
        assert files._whole(found) == b"x" * 11
    finally:
        os.close(found)


def test_a_huge_file_is_refused_with_advice(tools: WorkspaceFiles, root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(files.MAX_FILE + 1)
    with pytest.raises(ToolError, match="with a command"):
        tools.read_file("huge")


@pytest.mark.parametrize(("offset", "limit"), [(-1, 5), (0, 0)])
def test_a_part_that_cannot_be_is_refused(tools: WorkspaceFiles, root: Path, offset: int, limit: int) -> None:
    (root / "file").write_text("x")
    with pytest.raises(ToolError, match="offset must be 0 or more"):
        tools.read_file("file", offset, limit)


def test_a_path_as_seen_inside_the_sandbox_means_the_same_file(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("content")
    assert tools.read_file("/workspace/file") == tools.read_file("file") == tools.read_file("./file")


def test_what_is_not_there_or_no_file_is_said(tools: WorkspaceFiles, root: Path) -> None:
    (root / "directory").mkdir()
    with pytest.raises(ToolError, match=r"missing/file does not exist"):
        tools.read_file("missing/file")
    with pytest.raises(ToolError, match="is a directory; list it"):
        tools.read_file("directory")
    with pytest.raises(ToolError, match="is a directory; list it"):
        tools.read_file(".")


# --- writing ----------------------------------------------------------------------------------------------------


def test_a_new_file_gets_its_directories(tools: WorkspaceFiles, root: Path) -> None:
    assert tools.write_file("a/b/file.txt", "one\ntwo") == "Created a/b/file.txt: 2 lines."
    assert (root / "a/b/file.txt").read_text() == "one\ntwo"
    assert list((root / "a/b").iterdir()) == [root / "a/b/file.txt"]


def test_a_replaced_file_keeps_its_mode_but_never_a_privilege(tools: WorkspaceFiles, root: Path) -> None:
    (root / "script").write_text("old")
    (root / "script").chmod(0o4751)
    assert tools.write_file("script", "new\n") == "Replaced script: 1 lines."
    assert stat.S_IMODE((root / "script").stat().st_mode) == 0o751
    assert (root / "script").read_text() == "new\n"


def test_a_second_name_of_a_file_outside_is_not_written(tools: WorkspaceFiles, root: Path) -> None:
    outside = root.parent / "neighbour/file"
    os.link(outside, root / "linked")
    tools.write_file("linked", "changed")
    assert outside.read_text() == SECRET


def test_content_is_bounded_and_must_be_text(tools: WorkspaceFiles, root: Path) -> None:
    with pytest.raises(ToolError, match="larger than"):
        tools.write_file("file", "x" * (files.MAX_FILE + 1))
    with pytest.raises(ToolError, match="no valid text"):
        tools.write_file("file", "\ud800")
    assert list(root.iterdir()) == []


def test_a_write_that_fails_says_why_and_leaves_the_old_file(
    tools: WorkspaceFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "file").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ToolError, match="cannot be written: No space left"):
        tools.write_file("file", "new")
    assert [(path.name, path.read_text()) for path in root.iterdir()] == [("file", "old")]


def test_a_directory_or_what_lies_beneath_a_file_is_not_written(tools: WorkspaceFiles, root: Path) -> None:
    fill(root, directory__file="x")
    with pytest.raises(ToolError, match="no ordinary file"):
        tools.write_file("directory", "x")
    with pytest.raises(ToolError, match=r"no directory|Not a directory"):
        tools.write_file("directory/file/below", "x")
    with pytest.raises(ToolError, match="Give the path of a file"):
        tools.write_file(".", "x")


# --- editing ----------------------------------------------------------------------------------------------------


def test_an_edit_changes_the_one_place(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("a = 1\nb = 2\n")
    assert tools.edit_file("file", "b = 2", "b = 3") == "Changed file: 1 place."
    assert (root / "file").read_text() == "a = 1\nb = 3\n"


def test_an_edit_of_all_places(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_text("x x x")
    assert tools.edit_file("file", "x", "y", replace_all=True) == "Changed file: 3 places."
    assert (root / "file").read_text() == "y y y"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("absent", "y", "not found in file"),
        ("x", "y", "found 3 times in file"),
        ("", "y", "must not be empty"),
        ("x", "x", "must differ"),
    ],
)
def test_an_edit_that_is_not_clear_changes_nothing(
    tools: WorkspaceFiles, root: Path, old: str, new: str, reason: str
) -> None:
    (root / "file").write_text("x x x")
    with pytest.raises(ToolError, match=reason):
        tools.edit_file("file", old, new)
    assert (root / "file").read_text() == "x x x"


def test_an_edit_keeps_the_ends_of_lines(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    tools.edit_file("file", "one\ntwo", "1\n2")
    assert (root / "file").read_bytes() == b"1\r\n2\r\nthree\r\n"


def test_an_edit_of_what_is_no_text_is_refused(tools: WorkspaceFiles, root: Path) -> None:
    (root / "file").write_bytes(b"caf\xe9")
    with pytest.raises(ToolError, match="no UTF-8 text"):
        tools.edit_file("file", "caf", "tea")


# --- listing and glob -------------------------------------------------------------------------------------------


def test_a_list_shows_directories_links_and_stops_at_its_depth(tools: WorkspaceFiles, root: Path) -> None:
    fill(root, a__b__c="", z="", _dot_git__config="")
    (root / "link").symlink_to("/etc/passwd")
    assert tools.list_files() == "a/\na/b/\nlink -> /etc/passwd\nz"
    assert tools.list_files("a", depth=5) == "b/\nb/c"
    assert tools.list_files(depth=1) == "a/\nlink -> /etc/passwd\nz"


def test_a_list_is_bounded_and_says_so(tools: WorkspaceFiles, root: Path) -> None:
    for number in range(files.MAX_ENTRIES + 5):
        (root / f"{number:05}").touch()
    lines = tools.list_files().split("\n")
    assert len(lines) == files.MAX_ENTRIES + 1
    assert lines[-1].startswith(f"(only the first {files.MAX_ENTRIES} entries")


def test_the_walk_is_bounded(tools: WorkspaceFiles, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_WALK", 10)
    for number in range(20):
        (root / f"{number:02}").touch()
    assert "more than 10 entries" in tools.list_files()
    assert "more than 10 entries" in tools.glob("*")


def test_names_cannot_forge_lines(tools: WorkspaceFiles, root: Path) -> None:
    (root / "a\nforged").touch()
    (root / "b\u202etxt").touch()
    (root / os.fsdecode(b"c\xff")).touch()
    assert tools.list_files().split("\n") == ["a\\nforged", "b\\u202etxt", "c\\udcff"]


def test_an_empty_directory_and_a_file_are_said(tools: WorkspaceFiles, root: Path) -> None:
    assert tools.list_files() == "(empty directory)"
    (root / "file").touch()
    with pytest.raises(ToolError, match="no directory"):
        tools.list_files("file")
    with pytest.raises(ToolError, match="depth must be"):
        tools.list_files(depth=0)


def test_glob_finds_files_at_any_depth(tools: WorkspaceFiles, root: Path) -> None:
    fill(root, a_dot_py="", src__b_dot_py="", src__deep__c_dot_py="", src__d_dot_txt="", _dot_git__e_dot_py="")
    assert tools.glob("*.py") == "a.py\nsrc/b.py\nsrc/deep/c.py"
    assert tools.glob("src/*.py") == "src/b.py"
    assert tools.glob("src/**/*.py") == "src/b.py\nsrc/deep/c.py"
    assert tools.glob("./*.py") == "a.py"
    assert tools.glob("/workspace/*.py") == "a.py"
    assert tools.glob("*.rs") == "No file matches *.rs."


def test_glob_is_bounded_and_says_so(tools: WorkspaceFiles, root: Path) -> None:
    for number in range(files.MAX_ENTRIES + 5):
        (root / f"{number:05}").touch()
    assert tools.glob("*").endswith("(5 more matches)")
    with pytest.raises(ToolError, match="at most 500"):
        tools.glob("x" * 200 + "/" + "y" * 200 + "/" + "z" * 200)


@given(st.lists(st.sampled_from("ab"), max_size=6), st.lists(st.sampled_from(["a", "b", "*", "**"]), max_size=6))
def test_matching_agrees_with_its_plain_definition(parts: list[str], segments: list[str]) -> None:
    assert matches(parts, segments) == plainly(parts, segments)


def plainly(parts: list[str], segments: list[str]) -> bool:
    if not segments:
        return not parts
    if segments[0] == "**":
        return plainly(parts, segments[1:]) or (bool(parts) and plainly(parts[1:], segments))
    return bool(parts) and segments[0] in {parts[0], "*"} and plainly(parts[1:], segments[1:])


def test_a_hostile_pattern_does_not_take_for_ever() -> None:
    assert not matches(["a"] * 500, ["**"] * 50 + ["b"])
    assert not matches(["a" * 200], ["*a" * 50 + "b"])

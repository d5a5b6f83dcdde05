"""The file tools of a model: what they answer, and that nothing leads them outside the workspace."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.adapters import files, tree
from orchestration.adapters.files import ToolError, WorkspaceFiles, grep
from orchestration.adapters.sandbox import Box, choose_sandbox
from orchestration.adapters.tree import matches

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


# --- staying inside ---------------------------------------------------------------------------------------------

Attack = Callable[[WorkspaceFiles, str], str]


def read(tools: WorkspaceFiles, path: str) -> str:
    return tools.read_file(path)


def listed(tools: WorkspaceFiles, path: str) -> str:
    return tools.list_files(path)


def write(tools: WorkspaceFiles, path: str) -> str:
    return tools.write_file(path, "changed")


def edit(tools: WorkspaceFiles, path: str) -> str:
    return tools.edit_file(path, "secret", "gone")


ATTACKS: list[Attack] = [read, listed, write, edit]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../neighbour/file", "outside the workspace"),
        ("a/../../neighbour/file", "outside the workspace"),
        ("/etc/passwd", "outside the workspace"),
        ("/workspace/../neighbour/file", "outside the workspace"),
        ("/workspaces/file", "outside the workspace"),
        ("//etc/passwd", "outside the workspace"),
        ("file\0", "control characters"),
        ("file\n", "control characters"),
        ("\ud800", "no valid text"),
        (".git/config", "git's own"),
        ("sub/.GIT/hooks/pre-commit", "git's own"),
        ("x" * 300, "longer than 255"),
    ],
)
def test_paths_that_may_not_be_are_refused(
    tools: WorkspaceFiles, root: Path, attack: Attack, path: str, reason: str
) -> None:
    with pytest.raises(ToolError, match=reason):
        attack(tools, path)
    assert list(root.iterdir()) == []
    assert (root.parent / "neighbour/file").read_text() == SECRET


LINKS = ["../neighbour", "../../{parent}/neighbour", "{absolute}", "inner/../../neighbour", "first"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("target", LINKS)
def test_links_that_leave_are_not_followed(tools: WorkspaceFiles, root: Path, attack: Attack, target: str) -> None:
    neighbour = root.parent / "neighbour"
    (root / "inner").mkdir()
    (root / "first").symlink_to("../neighbour")
    target = target.format(parent=root.parent.name, absolute=neighbour)
    (root / "link").symlink_to(target)
    (root / "direct").symlink_to(f"{target}/file")
    for path in ("link/file", "direct"):
        assert (root / path).read_text() == SECRET  # the control: the plain way leads out
        with pytest.raises(ToolError, match=r"by a link|is a link|through a link"):
            attack(tools, path)
    assert (neighbour / "file").read_text() == SECRET
    assert (root / "direct").is_symlink()


def test_links_that_stay_may_be_read_and_not_written(tools: WorkspaceFiles, root: Path) -> None:
    fill(root, src__file="content")
    (root / "relative").symlink_to("src/file")
    (root / "src/up").symlink_to("../src/./file")
    (root / "absolute").symlink_to("/workspace/src")
    (root / "chain").symlink_to("absolute/up")
    for path in ("relative", "src/up", "absolute/file", "chain"):
        assert tools.read_file(path) == "     1\tcontent"
        with pytest.raises(ToolError, match="link"):
            tools.write_file(path, "changed")
    assert (root / "src/file").read_text() == "content"


def test_a_circle_of_links_and_a_link_to_git_are_refused(tools: WorkspaceFiles, root: Path) -> None:
    fill(root, _dot_git__config="token")
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "config").symlink_to(".git/config")
    with pytest.raises(ToolError, match="too many links"):
        tools.read_file("a")
    with pytest.raises(ToolError, match="git's own"):
        tools.read_file("config")


def test_special_files_are_refused_without_waiting(tools: WorkspaceFiles, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)
        listener.bind("socket")
        os.chdir(here)
    for path in ("pipe", "socket"):
        with pytest.raises(ToolError, match="no ordinary file"):
            tools.read_file(path)
        with pytest.raises(ToolError, match="no ordinary file"):
            tools.write_file(path, "x")
    assert tools.glob("pipe") == "pipe"


NAMES = st.sampled_from(["a", "b", "..", ".", "out", "etc", "loop", "file", "up", ".git", "workspace", "neighbour"])
PATHS = st.builds(
    lambda start, names: start + "/".join(names),
    st.sampled_from(["", "/", "/workspace/", "./", "../"]),
    st.lists(NAMES, min_size=1, max_size=6),
)
PLANTED = st.dictionaries(
    st.tuples(st.sampled_from(["", "a/", "a/b/"]), st.sampled_from(["out", "etc", "loop", "file", "up", "b"])),
    st.one_of(
        PATHS,
        st.sampled_from(["/", "..", "../..", "../../neighbour", "../neighbour/file", "{neighbour}", "/proc/self/root"]),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=PLANTED, path=PATHS)
def test_no_path_and_no_planted_link_reads_or_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, planted: dict[tuple[str, str], str], path: str
) -> None:
    base = tmp_path_factory.mktemp("base", numbered=True)
    root, neighbour = base / "workspace", base / "neighbour"
    (root / "a/b").mkdir(parents=True)
    neighbour.mkdir()
    (neighbour / "file").write_text(SECRET)
    (neighbour / "only-outside").mkdir()
    for (directory, name), target in planted.items():
        link = root / directory / name
        if not link.exists() and not link.is_symlink() and link.parent.is_dir():
            link.symlink_to(target.format(neighbour=neighbour))
    tools = WorkspaceFiles(root)
    for attack in ATTACKS:
        try:
            answer = attack(tools, path)
        except ToolError:
            continue
        assert SECRET not in answer
        assert "only-outside" not in answer
    assert (neighbour / "file").read_text() == SECRET
    assert sorted(found.name for found in neighbour.iterdir()) == ["file", "only-outside"]
    assert sorted(found.name for found in base.iterdir()) == ["neighbour", "workspace"]


def test_a_directory_that_is_swapped_for_a_link_all_the_time_leads_nowhere(tools: WorkspaceFiles, root: Path) -> None:
    """The race that resolving first and opening afterwards loses."""
    neighbour = root.parent / "neighbour"
    (root / "real").mkdir()
    (root / "real/file").write_text("mine")
    (root / "link").symlink_to(neighbour)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for source in ("real", "link"):
                with suppress(OSError):
                    (root / source).rename(root / "place")
                    (root / "place").rename(root / source)

    swapping = threading.Thread(target=swap)
    swapping.start()
    answers = set()
    try:
        for _ in range(500):
            for attack in (read, write):
                try:
                    answers.add(attack(tools, "place/file"))
                except ToolError as error:
                    answers.add(str(error))
    finally:
        stop.set()
        swapping.join()
    assert not [answer for answer in answers if SECRET in answer]
    assert (neighbour / "file").read_text() == SECRET
    assert [found.name for found in neighbour.iterdir()] == ["file"]


# --- grep -------------------------------------------------------------------------------------------------------


@pytest.fixture
def box(root: Path) -> Iterator[Box]:
    with choose_sandbox("bubblewrap").open(root, read_only=True) as opened:
        yield opened


@pytest.mark.sandbox
def test_grep_finds_lines(box: Box, root: Path) -> None:
    fill(
        root,
        a_dot_py="import os\nx = 1\n",
        src__b_dot_py="\timport re\n",
        src__c_dot_txt="import",
        _dot_git__d="import",
    )
    (root / "binary").write_bytes(b"import\0")
    assert sorted(grep(box, r"^\s*import").split("\n")) == [
        "a.py:1:import os",
        "src/b.py:1:\timport re",
        "src/c.txt:1:import",
    ]
    assert grep(box, "import", glob="src/*.py") == "src/b.py:1:\timport re"
    assert sorted(grep(box, "import", glob="*.py").split("\n")) == ["a.py:1:import os", "src/b.py:1:\timport re"]
    assert grep(box, "x = [0-9]", path="/workspace/a.py") == "a.py:2:x = 1"
    assert grep(box, "nowhere") == "No line matches."
    assert grep(box, "-v") == "No line matches."


@pytest.mark.sandbox
def test_grep_is_bounded_and_says_so(box: Box, root: Path) -> None:
    (root / "file").write_text("match\n" * 5000)
    (root / "long").write_text("other" * 5000)
    lines = grep(box, "match").split("\n")
    assert len(lines) == files.GREP_LINES + 1
    assert lines[-1] == f"(only the first {files.GREP_LINES} lines; narrow the pattern or the path)"
    assert len(grep(box, "other")) < files.GREP_LINE + 50


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("pattern", "path", "reason"),
    [
        ("(", ".", "(?i)unmatched"),
        ("x", "missing", "No such file"),
        ("x", "../neighbour", "outside the workspace"),
        ("a\0b", ".", "NUL"),
    ],
)
def test_grep_says_what_is_wrong(box: Box, pattern: str, path: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        grep(box, pattern, path)


@pytest.mark.sandbox
def test_grep_does_not_see_beyond_the_workspace(box: Box, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "neighbour")
    with pytest.raises(ToolError, match="No such file"):
        grep(box, "secret", "link")


@pytest.mark.sandbox
def test_a_hostile_pattern_ends_with_its_process(box: Box, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GREP_S", 0.5)
    (root / "file").write_text("a" * 5000 + "\n")
    with pytest.raises(ToolError, match=r"longer than|memory"):
        grep(box, r"(a*)*(a*)*(a*)*(a*)*(a*)*\1\2\3\4\5b" + "|(x{1,200}){1,200}")

"""Nothing leads the file tools of a model outside the workspace: no path, no link, no race, no search."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.adapters import files
from orchestration.adapters.files import ToolError, WorkspaceFiles, grep
from orchestration.adapters.sandbox import Box, choose_sandbox
from tests.adapters.conftest import SECRET, fill

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

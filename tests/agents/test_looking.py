"""The planner's looks: at a commit and nothing else, bounded, and every cut and every error told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.agents import looking
from orchestration.agents.arguments import GitLog, Grep, ListFiles, ReadFile
from orchestration.agents.looking import look
from orchestration.domain.conversation import ToolCall
from orchestration.domain.tools import PLANNER_TOOLS
from orchestration.domain.validation import FromModel
from tests.agents.rig import make_store

FILES: dict[str, bytes | str] = {
    "README.md": "# Larder\nIt shows recipes.\n",
    "src/app.py": "import os\n\n\ndef main():\n    return 1\n",
    "src/deep/er/b.py": "b = 1\n",
    "src/deep/er/b.txt": "b = 2\n",
    "tests/test_app.py": "def test_main():\n    pass\n",
    "logo.png": b"\x89PNG\x00\xff",
    "latin.txt": b"caf\xe9\n",
    "empty": "",
}


class Repository:
    def __init__(self, root: Path) -> None:
        self.store, self.sha = make_store(root, {"README.md": "# old\n", "gone.py": ""}, FILES)

    def look(self, name: str, /, **arguments: Any) -> str:
        return look(ToolCall("1", name, json.dumps(arguments)), self.store, self.sha)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("looking"))


# --- list_files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        ({}, "README.md empty gone.py latin.txt logo.png src/app.py src/deep/ tests/test_app.py"),
        ({"depth": 1}, "README.md empty gone.py latin.txt logo.png src/ tests/"),
        ({"depth": 4, "path": "."}, None),
        ({"path": "src"}, "src/app.py src/deep/er/"),
        ({"path": "./src/", "depth": 1}, "src/app.py src/deep/"),
        ({"path": "src/deep/er"}, "src/deep/er/b.py src/deep/er/b.txt"),
        (
            {"path": None, "depth": None},
            "README.md empty gone.py latin.txt logo.png src/app.py src/deep/ tests/test_app.py",
        ),
    ],
)
def test_files_are_listed_to_the_depth_that_is_asked_for(
    repository: Repository, arguments: dict[str, Any], listed: str | None
):
    everything = " ".join(sorted([*FILES, "gone.py"], key=str.encode))
    assert " ".join(repository.look("list_files", **arguments).split("\n")) == (listed or everything)


@pytest.mark.parametrize("path", ["none", "src/none", "README.md"])
def test_a_directory_that_is_not_there_is_told(repository: Repository, path: str):
    assert repository.look("list_files", path=path) == f"Error: There is no directory {path!r} with files in it."


def test_a_listing_that_is_cut_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looking, "MAX_ENTRIES", 2)
    assert repository.look("list_files").split("\n") == [
        "README.md",
        "empty",
        "(there is more; list a directory below or take a smaller depth)",
    ]


def test_a_repository_that_is_too_large_to_look_through_says_so(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looking, "MAX_PATHS", 3)
    assert repository.look("list_files", depth=1).endswith(
        "(there is more; list a directory below or take a smaller depth)"
    )


# --- read_file --------------------------------------------------------------------------------------------------


def test_a_file_is_read_at_the_commit(repository: Repository):
    assert repository.look("read_file", path="README.md") == "# Larder\nIt shows recipes."
    assert repository.look("read_file", path="/README.md").startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"offset": 3}, "def main():\n    return 1\n(lines 4 to 5 of 5)"),
        ({"limit": 1}, "import os\n(lines 1 to 1 of 5)"),
        ({"offset": 3, "limit": 1}, "def main():\n(lines 4 to 4 of 5)"),
        ({"offset": 5}, "(There are only 5 lines.)"),
        ({"offset": 10**30}, "(There are only 5 lines.)"),
    ],
)
def test_a_part_of_a_file_says_which(repository: Repository, arguments: dict[str, Any], text: str):
    assert repository.look("read_file", path="src/app.py", **arguments) == text


def test_what_is_no_text_is_not_shown(repository: Repository):
    assert repository.look("read_file", path="logo.png") == "(logo.png is a binary file; its content is not shown.)"
    assert repository.look("read_file", path="latin.txt") == "caf\N{REPLACEMENT CHARACTER}"
    assert repository.look("read_file", path="empty") == "(nothing)"


@pytest.mark.parametrize("path", ["none.py", "src", "", "."])
def test_a_file_that_is_not_there_is_told(repository: Repository, path: str):
    assert repository.look("read_file", path=path) == f"Error: There is no file {path!r}."


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "src/../../x", "src/.."])
@pytest.mark.parametrize("tool", ["read_file", "list_files", "grep"])
def test_a_path_outside_is_told(repository: Repository, tool: str, path: str):
    more = {"pattern": "x"} if tool == "grep" else {}
    assert repository.look(tool, path=path, **more) == (
        f"Error: {path!r} is outside the repository; give a path relative to its root."
    )


def test_a_long_file_is_cut_and_says_so(tmp_path: Path):
    store, sha = make_store(tmp_path, {"long.txt": "line\n" * 20_000})
    read = look(ToolCall("1", "read_file", '{"path": "long.txt", "limit": 20000}'), store, sha)
    assert read.endswith("\n(the rest is cut off; ask for less at once)")
    assert len(read) < looking.MAX_CHARACTERS + 100


# --- grep -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"pattern": "def [a-z]+"}, ["src/app.py:4: def main():", "tests/test_app.py:1: def test_main():"]),
        ({"pattern": "def", "path": "src"}, ["src/app.py:4: def main():"]),
        ({"pattern": "b = ", "glob": "*.py"}, ["src/deep/er/b.py:1: b = 1"]),
        ({"pattern": "b = ", "glob": "src/**/*.txt"}, ["src/deep/er/b.txt:1: b = 2"]),
        ({"pattern": "b = ", "glob": "**"}, ["src/deep/er/b.py:1: b = 1", "src/deep/er/b.txt:1: b = 2"]),
        ({"pattern": "def", "glob": "*.md"}, ["No line matches."]),
        ({"pattern": "nowhere"}, ["No line matches."]),
    ],
)
def test_lines_are_found(repository: Repository, arguments: dict[str, Any], found: list[str]):
    assert repository.look("grep", **arguments).split("\n") == found


def test_hits_that_are_cut_say_so(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looking, "MAX_HITS", 1)
    assert repository.look("grep", pattern="def").split("\n") == [
        "src/app.py:4: def main():",
        "(there are more; narrow the pattern, the path or the glob)",
    ]


def test_a_very_long_line_does_not_push_out_the_others(tmp_path: Path):
    store, sha = make_store(tmp_path, {"a.min.js": "x" * 200_000 + "\n", "b.js": "xyz\n"})
    found = look(ToolCall("1", "grep", '{"pattern": "x"}'), store, sha).split("\n")
    assert found[-1] == "b.js:1: xyz"
    assert len(found[0]) < 400


# --- git_log and everything else --------------------------------------------------------------------------------


def test_the_log_is_newest_first_and_as_long_as_asked(repository: Repository):
    assert [line.split(" ", 1)[1] for line in repository.look("git_log").split("\n")] == [
        "Ada: commit 2",
        "Ada: commit 1",
    ]
    assert repository.look("git_log", limit=1).startswith(repository.sha[:10])
    assert "\n" not in repository.look("git_log", limit=1)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("list_files", {"depth": 0}, "depth: input should be greater than or equal to 1."),
        ("read_file", {}, "path is missing."),
        ("read_file", {"path": "README.md", "limit": "many"}, "limit: input should be a valid integer"),
        ("grep", {}, "pattern is missing."),
        ("grep", {"pattern": "("}, "'(' is not a regular expression that git understands"),
        ("grep", {"pattern": "a\nb"}, "one line"),
        ("grep", {"pattern": "a", "glob": "../*"}, "may lead outside"),
        ("git_log", {"limit": 10**30}, "limit: input should be less than or equal to 1000."),
        ("git_log", {"limit": -1}, "limit: input should be greater than or equal to 1."),
        ("bash", {"command": "ls"}, "There is no tool 'bash'; there are list_files, read_file, grep and git_log."),
        ("x" * 9000, {}, "End with submit_plan."),
    ],
)
def test_what_is_wrong_is_told_and_never_raised(
    repository: Repository, name: str, arguments: dict[str, Any], sentence: str
):
    told = repository.look(name, **arguments)
    assert told.startswith("Error: ")
    assert sentence in told
    assert len(told) < 500


def test_the_arguments_that_are_offered_are_those_that_are_read():
    read: dict[str, type[FromModel]] = {"list_files": ListFiles, "read_file": ReadFile, "grep": Grep, "git_log": GitLog}
    for tool in PLANNER_TOOLS:
        if tool.name != "submit_plan":
            assert set(tool.parameters["properties"]) == set(read[tool.name].model_fields)


TEXT = st.text(max_size=8) | st.sampled_from(["src", "README.md", "(", "*", "..", "\x00", "-x"])


@settings(max_examples=40)
@given(
    name=st.sampled_from(["list_files", "read_file", "grep"]),
    arguments=st.dictionaries(
        st.sampled_from(["path", "pattern", "glob", "depth", "offset"]), TEXT | st.integers(-2, 3)
    ),
)
def test_whatever_a_model_asks_is_answered_with_text(repository: Repository, name: str, arguments: dict[str, Any]):
    assert repository.look(name, **arguments)

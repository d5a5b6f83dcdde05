"""A worker's tools: what they are offered as, what they answer, and that a wrong call is told and never raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import ToolError, WorkspaceFiles
from orchestration.agents.assignment import Workplace
from orchestration.agents.conversation import Clock, OutOfTime
from orchestration.agents.toolbox import MAX_OUTPUT_CHARACTERS, Toolbox
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.tools import WORKER_TOOLS, tools_for
from tests.agents.rig import Desk, Remembered
from tests.deadlines import in_time_for

OFFERED = {tool.name: tool.parameters for tool in WORKER_TOOLS if tool.name not in {"ask_human", "handoff"}}


@pytest.fixture
def toolbox(desk: Desk) -> Toolbox:
    return Toolbox(Workplace(lambda: WorkspaceFiles(desk.root), desk.box), desk.report, Clock(60), desk.cancellation)


def wrong(toolbox: Toolbox, name: str, /, **arguments: Any) -> str:
    result, ok = toolbox.run(name, arguments)
    assert not ok
    assert result.startswith("Error: ")
    return result.removeprefix("Error: ")


def right(toolbox: Toolbox, name: str, /, **arguments: Any) -> str:
    result, ok = toolbox.run(name, arguments)
    assert ok, result
    return result


def test_a_tool_that_is_not_for_this_kind_of_task_is_refused(desk: Desk):
    offered = [tool.name for tool in tools_for("research")]
    place = Workplace(lambda: WorkspaceFiles(desk.root), desk.box)
    reader = Toolbox(place, desk.report, Clock(60), desk.cancellation, offered)
    said = wrong(reader, "write_file", path="a.txt", content="x")
    assert said.startswith("there is no tool 'write_file' in a task of this kind; there are list_files, read_file, ")
    assert "bash" in wrong(reader, "bash", command="touch a.txt")
    assert not (desk.root / "a.txt").exists()
    assert right(reader, "list_files") is not None


# --- what is offered is what is taken ---------------------------------------------------------------------------


def test_the_tools_that_are_offered_are_there(toolbox: Toolbox):
    assert set(toolbox._tools) == set(OFFERED)


@pytest.mark.parametrize("name", OFFERED)
def test_the_arguments_that_are_offered_are_those_that_are_read(toolbox: Toolbox, name: str):
    model, _ = toolbox._tools[name]
    assert set(OFFERED[name]["properties"]) == set(model.model_fields)
    for field, schema in OFFERED[name]["properties"].items():
        if "default" in schema:
            assert model.model_fields[field].default == schema["default"]
    needed = {field for field, one in model.model_fields.items() if one.is_required()}
    assert needed <= set(OFFERED[name]["required"])


@pytest.mark.parametrize("name", [name for name, schema in OFFERED.items() if schema["required"]])
def test_what_is_missing_is_named(toolbox: Toolbox, name: str):
    first = OFFERED[name]["required"][0]
    assert f"{first} is missing." in wrong(toolbox, name)


def test_null_is_nothing_and_what_nobody_knows_is_ignored(toolbox: Toolbox, desk: Desk):
    (desk.root / "a.py").write_text("a = 1\n")
    assert right(toolbox, "read_file", path="a.py", offset=None, limit=None, encoding="x") == "     1\ta = 1"


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("read_file", {"path": 3}, "path: input should be a valid string."),
        ("read_file", {"path": "a", "offset": -1}, "offset: input should be greater than or equal to 0."),
        ("read_file", {"path": "a", "limit": "all"}, "limit: input should be a valid integer"),
        ("list_files", {"depth": 0}, "depth: input should be greater than or equal to 1."),
        ("edit_file", {"path": "a", "old": "", "new": "x"}, "old: string should have at least 1 character."),
        ("grep", {"pattern": ""}, "pattern: string should have at least 1 character."),
        ("bash", {"command": ""}, "command: string should have at least 1 character."),
        ("bash", {"command": "true", "timeout_s": 0}, "timeout_s: input should be greater than 0."),
        ("bash", {"command": "true", "timeout_s": 99_999}, "timeout_s: input should be less than or equal to 1800."),
        ("bash", {"command": "x" * 200_001}, "command: string should have at most 200000 characters."),
        ("bash", {"command": "a\x00b"}, ""),
        ("read_file", {"path": "none.py"}, "none.py does not exist."),
        ("read_file", {"path": "../x"}, "../x may lead outside the workspace"),
        ("write_file", {"path": "/etc/x", "content": ""}, "/etc/x is outside the workspace"),
        ("write_file", {"path": ".git/hooks/post-commit", "content": ""}, "is git's own"),
        ("glob", {"pattern": "../*"}, "may lead outside the workspace"),
    ],
)
def test_a_wrong_call_is_told(toolbox: Toolbox, name: str, arguments: dict[str, Any], sentence: str):
    assert sentence in wrong(toolbox, name, **arguments)


def test_an_unknown_tool_is_answered_with_the_known_ones(toolbox: Toolbox):
    assert wrong(toolbox, "fly") == (
        "there is no tool 'fly'; there are list_files, read_file, write_file, edit_file, glob, grep, bash, "
        "save_artifact, share_result, get_results, ask_human and handoff."
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
FIELDS = sorted({field for schema in OFFERED.values() for field in schema["properties"]} - {"command"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.sampled_from(sorted(OFFERED)), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_whatever_a_model_calls_is_answered_with_text(toolbox: Toolbox, name: str, arguments: dict[str, Any]):
    result, ok = toolbox.run(name, arguments)
    assert ok or result.startswith("Error: ")
    json.dumps(result)


# --- the tools --------------------------------------------------------------------------------------------------


def test_files_are_written_changed_found_and_read(toolbox: Toolbox, desk: Desk):
    right(toolbox, "write_file", path="src/a.py", content="one\none\n")
    right(toolbox, "edit_file", path="src/a.py", old="one", new="two", replace_all=True)
    assert right(toolbox, "glob", pattern="**/*.py") == "src/a.py"
    assert right(toolbox, "grep", pattern="tw.") == "src/a.py:1:two\nsrc/a.py:2:two"
    assert right(toolbox, "list_files") == "src/\nsrc/a.py"
    assert right(toolbox, "read_file", path="src/a.py", offset=1) == "     2\ttwo\n(lines 2 to 2 of 2)"
    assert (desk.root / "src/a.py").read_text() == "two\ntwo\n"


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("echo hello", "hello\n\n[exit code 0]"),
        ("echo oops >&2; exit 7", "oops\n\n[exit code 7]"),
        ("true", "\n[exit code 0]"),
        ("pwd | xargs basename", "workspace\n\n[exit code 0]"),
        ("no-such-command", "[exit code 127]"),
    ],
)
def test_a_command_is_answered_with_its_output_and_its_end(toolbox: Toolbox, command: str, result: str):
    assert right(toolbox, "bash", command=command).endswith(result)


def test_a_command_is_killed_after_its_time(toolbox: Toolbox):
    def run(limit: float) -> str:
        return right(toolbox, "bash", command="echo begun; sleep 600", timeout_s=limit)

    limit, told = in_time_for(run, lambda told: told.startswith("begun"))
    assert told == f"begun\n\n[killed after {limit:g} s]"


def test_a_long_result_keeps_its_head_and_its_tail_and_counts_the_rest(toolbox: Toolbox):
    result = right(toolbox, "bash", command="echo first; yes | head -c 60000; echo last")
    assert result.startswith("first\ny\n")
    assert result.endswith("y\nlast\n\n[exit code 0]")
    assert "\n... 30,011 characters left out; all of it is kept as the artifact bash-1.txt ...\n" in result
    assert len(result) < MAX_OUTPUT_CHARACTERS + 100


def test_a_long_file_is_read_in_parts_without_a_hole(toolbox: Toolbox, desk: Desk):
    lines = [f"line {number} {'x' * 40}" for number in range(2000)]
    (desk.root / "long.txt").write_text("\n".join(lines))
    read: list[str] = []
    while len(read) < len(lines):
        result = right(toolbox, "read_file", path="long.txt", offset=len(read))
        assert len(result) < MAX_OUTPUT_CHARACTERS + 100
        read += [line.split("\t")[1] for line in result.split("\n") if "\t" in line]
    assert read == lines


def test_output_that_is_no_text_is_shown_as_far_as_it_is(toolbox: Toolbox):
    result = right(toolbox, "bash", command=r"printf 'a\377\000b'")
    assert result.startswith("a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b")


# --- artifacts --------------------------------------------------------------------------------------------------


def test_an_artifact_is_kept_by_content(toolbox: Toolbox, desk: Desk):
    saved = right(toolbox, "save_artifact", type="report", name="r.md", mime="text/markdown", content="# ü")
    assert saved == "Saved r.md."
    assert desk.report.artifacts == [("report", "r.md", "text/markdown", "# ü".encode())]


def test_an_artifact_is_kept_by_path_byte_by_byte(toolbox: Toolbox, desk: Desk):
    (desk.root / "plot.png").write_bytes(b"\x89PNG\x00\xff\r\n")
    right(toolbox, "save_artifact", type="image", name="plot", mime="image/png", path="/workspace/plot.png")
    assert desk.report.artifacts == [("image", "plot", "image/png", b"\x89PNG\x00\xff\r\n")]


def test_an_empty_artifact_is_one(toolbox: Toolbox, desk: Desk):
    right(toolbox, "save_artifact", type="log", name="l", mime="text/plain", content="")
    (desk.root / "empty").touch()
    right(toolbox, "save_artifact", type="log", name="l", path="empty")
    assert [content for *_, content in desk.report.artifacts] == [b"", b""]


def test_a_value_is_shared_and_asked_for(toolbox: Toolbox, desk: Desk):
    assert right(toolbox, "share_result", key="api", value={"port": 80}, tags=["x"]) == "Shared api."
    assert right(toolbox, "share_result", key="none", value=None) == "Shared none."
    assert desk.report.shared == {"api": ({"port": 80}, ["x"]), "none": (None, [])}
    asked = right(toolbox, "get_results", prefix="a", tags=["x"], producer="survey")
    assert asked == "['api', 'none'] by '', ['x'], 'a', 'survey'"


@pytest.mark.parametrize("both", [{}, {"content": "x", "path": "a"}, {"path": ""}])
def test_an_artifact_has_either_content_or_a_path(toolbox: Toolbox, both: dict[str, str]):
    assert wrong(toolbox, "save_artifact", type="t", name="n", **both) == "Give either content or the path of a file."


def test_a_report_that_does_not_take_it_says_why(desk: Desk):
    class Full(Remembered):
        def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str:
            raise InvalidInput("No more are kept.")

    toolbox = Toolbox(Workplace(lambda: WorkspaceFiles(desk.root), desk.box), Full(), Clock(60), desk.cancellation)
    assert wrong(toolbox, "save_artifact", type="t", name="n", content="x") == "No more are kept."


@pytest.mark.parametrize("path", ["../secret", "secret", "link", "linked/secret", "folder", "none", ".git/config"])
def test_no_artifact_is_made_of_what_is_outside(toolbox: Toolbox, desk: Desk, path: str):
    outside = desk.root.parent
    (outside / "secret").write_text("secret")
    (desk.root / "link").symlink_to(outside / "secret")
    (desk.root / "linked").symlink_to(outside)
    (desk.root / "folder").mkdir()
    (desk.root / ".git").mkdir()
    (desk.root / ".git/config").write_text("secret")
    assert (desk.root / "link").read_text() == "secret", "the control: an ordinary read follows it"
    wrong(toolbox, "save_artifact", type="t", name="n", path=path)
    assert desk.report.artifacts == []


def test_the_whole_content_is_read_as_safely_as_a_text(desk: Desk):
    files = WorkspaceFiles(desk.root)
    (desk.root / "a.bin").write_bytes(bytes(range(256)))
    (desk.root / "inner").symlink_to("a.bin")
    assert files.read_bytes("a.bin") == files.read_bytes("inner") == bytes(range(256))
    with (desk.root / "big").open("wb") as file:
        file.truncate(20_000_000)
    with pytest.raises(ToolError, match="20000000 bytes"):
        files.read_bytes("big")


# --- what ends an attempt ---------------------------------------------------------------------------------------


def test_a_cancel_and_the_end_of_time_end_it_before_anything_is_done(desk: Desk):
    workplace, late, cancelled = Workplace(lambda: WorkspaceFiles(desk.root), desk.box), Clock(-1), Cancellation()
    cancelled.cancel("Enough.")
    with pytest.raises(OutOfTime):
        Toolbox(workplace, desk.report, late, Cancellation()).run("write_file", {"path": "a", "content": ""})
    with pytest.raises(AdapterError, match="Enough") as caught:
        Toolbox(workplace, desk.report, Clock(60), cancelled).run("write_file", {"path": "a", "content": ""})
    assert caught.value.kind is Failure.CANCELLED
    assert list(desk.root.iterdir()) == []

"""Where programs are installed, as npm, pip and others lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.adapters.installation import Installation, find
from orchestration.domain.errors import InvalidInput


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_program_of_the_system_needs_nothing():
    found = find(["sh", "-c", "x"])
    assert (Path(found.argv[0]).name, found.argv[1:], found.roots) == ("sh", ("-c", "x"), ())


def test_of_npm_the_outermost_node_modules_is_shown(tmp_path: Path):
    real = program(tmp_path / "app/node_modules/coder/node_modules/inner/cli.js")
    link = tmp_path / "app/node_modules/.bin/coder"
    link.parent.mkdir()
    link.symlink_to(real)
    assert find([str(link)]) == Installation((str(link),), (tmp_path / "app/node_modules",))


def test_a_link_from_elsewhere_is_followed_to_what_is_shown(tmp_path: Path):
    real = program(tmp_path / "lib/node_modules/coder/cli.js")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/coder").symlink_to(real)
    assert find([str(tmp_path / "bin/coder")]) == Installation((str(real),), (tmp_path / "lib/node_modules",))


def test_of_a_virtual_environment_its_python_is_shown_as_well(tmp_path: Path):
    program(tmp_path / "python/bin/python3.12")
    venv = tmp_path / "venv"
    coder = program(venv / "bin/coder", f"#!{venv}/bin/python\n")
    (venv / "bin/python").symlink_to(tmp_path / "python/bin/python3.12")
    (venv / "pyvenv.cfg").write_text(f"home = {tmp_path / 'python/bin'}\nversion = 3.12\n")
    assert find([str(coder)]) == Installation((str(coder),), (venv, tmp_path / "python"))
    assert find([str(venv / "bin/python"), "-m", "coder"]).argv[0] == str(venv / "bin/python"), "not what it links to"


def test_of_a_lone_program_nothing_else_is_shown(tmp_path: Path):
    coder = program(tmp_path / "home/.local/bin/coder")
    program(tmp_path / "home/.local/bin/other")
    assert find([str(coder)]).roots == (coder,)


def test_an_interpreter_elsewhere_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path / "runtime/bin/node9")
    monkeypatch.setenv("PATH", f"{tmp_path / 'runtime/bin'}:/usr/bin:/bin")
    coder = program(tmp_path / "node_modules/coder/cli.js", "#!/usr/bin/env -S node9 --quiet\n")
    assert find([str(coder)]).roots == (tmp_path / "node_modules", tmp_path / "runtime")


def test_an_interpreter_that_is_not_there_is_a_sentence(tmp_path: Path):
    coder = program(tmp_path / "coder", "#!/usr/bin/env no-such-runtime\n")
    with pytest.raises(InvalidInput, match="coder needs no-such-runtime, which is not on the server's PATH"):
        find([str(coder)])


def test_a_script_that_an_interpreter_is_given_is_shown(tmp_path: Path):
    script = program(tmp_path / "app/agent.py")
    assert find(["/bin/sh", str(script), "/workspace/x", "--flag"]).roots == (script,)


@pytest.mark.parametrize("word", ["/nowhere/coder", "no-such-coder"])
def test_a_program_that_is_not_there_is_a_sentence(word: str):
    with pytest.raises(InvalidInput, match=f"The program {word} is not "):
        find([word])


def test_a_program_that_cannot_be_run_says_that(tmp_path: Path):
    (tmp_path / "coder").write_text("x")
    with pytest.raises(InvalidInput, match="It is there, but it cannot be run"):
        find([str(tmp_path / "coder")])

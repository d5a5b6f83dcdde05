"""What lies in the tree: no stray top-level entry, no address of one machine, nothing vendored and changed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.architecture import tree

# Written so that this file does not find itself.
REGISTRIES = re.compile(r"py[p]i\.org|pythonhoste[d]\.org|registr[y]\.npmjs|deb\.debia[n]\.org", re.IGNORECASE)
MACHINE_PATHS = re.compile(r"(?:^|[^A-Za-z0-9_./-])/(?:work|farm|root)/", re.MULTILINE)
TOP = {
    *(".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile"),
    *("README.md", "deploy", "docs", "manage.py", "orchestration", "prompts", "pyproject.toml", "requirements"),
    *("static", "swarmsite", "templates", "tests"),
}
NO_NAMES = re.compile(r"(?:^|/)(?:utils?|helpers?|services|managers?|misc|common)(?:\.py$|/)")
VENDOR = tree.ROOT / "static" / "vendor"


def lines_with(pattern: re.Pattern[str], text: str) -> list[int]:
    return [text.count("\n", 0, match.end()) + 1 for match in pattern.finditer(text)]


def vendored(listing: str) -> dict[str, str]:
    """File name to checksum, from the lines of VENDORED.txt."""
    rows = [line.split() for line in listing.splitlines() if line.strip() and not line.startswith("#")]
    return {row[0]: row[-1] for row in rows}


def changed_vendored(folder: Path, listing: str) -> list[str]:
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in vendored(listing)}
    present = {path.name for path in folder.iterdir() if path.suffix in {".js", ".css", ".woff2"}}
    return sorted({name for name, told in vendored(listing).items() if sums[name] != told} | (present - set(sums)))


def test_the_top_level_holds_what_it_should():
    assert tree.top_level() <= TOP


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINE_PATHS], ids=["a registry's host", "a machine's path"])
def test_no_file_names(pattern: re.Pattern[str]):
    assert not {name: found for name, text in tree.texts() if (found := lines_with(pattern, text))}


def test_no_module_is_named_for_nothing():
    assert not [name for name in tree.product() if NO_NAMES.search(name)]


def test_vendored_files_are_byte_for_byte_what_they_were():
    assert not changed_vendored(VENDOR, (VENDOR / "VENDORED.txt").read_text())


@pytest.mark.parametrize("name", [".ci/run", "deploy/setup.sh"])
def test_scripts_can_be_executed(name: str):
    assert (tree.ROOT / name).stat().st_mode & 0o111


def planted(*parts: str) -> str:
    return "first line\n" + "/".join(parts)


def test_a_planted_path_is_found():
    assert lines_with(MACHINE_PATHS, planted("", "work", "main")) == [2]
    assert lines_with(MACHINE_PATHS, planted("open('", "root", ".ssh')")) == [2]
    assert not lines_with(MACHINE_PATHS, planted("", "workspace", "a"))
    assert not lines_with(MACHINE_PATHS, planted("https://example.org", "work", "a"))


def test_a_planted_registry_is_found():
    assert lines_with(REGISTRIES, "first line\nhttps://files." + "python" + "hosted.org/x") == [2]
    assert not lines_with(REGISTRIES, "https://example.org")


@pytest.mark.parametrize("name", ["orchestration/utils.py", "orchestration/web/helpers/a.py", "swarmsite/services.py"])
def test_a_planted_name_for_nothing_is_found(name: str):
    assert NO_NAMES.search(name)
    assert not NO_NAMES.search("orchestration/stages/merge.py")


def test_a_planted_change_of_a_vendored_file_is_found(tmp_path: Path):
    (tmp_path / "a.js").write_text("let a = 1")
    told = f"# file sha256\na.js x 1.0 MIT {hashlib.sha256(b'let a = 1').hexdigest()}\n"
    assert not changed_vendored(tmp_path, told)
    (tmp_path / "a.js").write_text("let a = 2")
    assert changed_vendored(tmp_path, told) == ["a.js"]


def test_a_planted_file_that_nobody_listed_is_found(tmp_path: Path):
    (tmp_path / "stray.js").write_text("")
    assert changed_vendored(tmp_path, "") == ["stray.js"]

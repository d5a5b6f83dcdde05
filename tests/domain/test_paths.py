"""A path's text alone says whether it stays in the repository."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.paths import parts


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("src/app.py", ("src", "app.py")),
        ("./src//app.py", ("src", "app.py")),
        ("src/", ("src",)),
        (".", ()),
        ("", ()),
        ("..a/b..", ("..a", "b..")),
        (".github/**", (".github", "**")),
    ],
)
def test_a_path_is_its_names(path: str, names: tuple[str, ...]):
    assert parts(path) == names


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "a/..", "a/../b", "/", "/etc/passwd", "//x"])
def test_what_leaves_or_could_leave_has_none(path: str):
    assert parts(path) is None


@given(st.lists(st.sampled_from(["a", "b.c", ".", "..", "...", ""]), max_size=6).map("/".join))
def test_an_accepted_path_never_leads_outside(path: str):
    names = parts(path)
    if names is not None:
        assert not posixpath.normpath(path).startswith(("/", "../"))
        assert posixpath.normpath(path) == ("/".join(names) or ".")

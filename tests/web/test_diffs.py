"""Taking a unified diff apart: line numbers, renames, odd names, and what is folded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.reads.diffs import FOLD_ABOVE, FileDiff, Row, parse

RENAMED = """\
diff --git a/old name.py b/new name.py
similarity index 90%
rename from old name.py
rename to new name.py
index 1..2 100644
--- a/old name.py
+++ b/new name.py
@@ -1,2 +1,2 @@ def f():
 same
-a
+b
\\ No newline at end of file
diff --git a/logo.png b/logo.png
new file mode 100644
index 0000000..1111111
Binary files /dev/null and b/logo.png differ
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
"""


def test_it_reads_renames_new_deleted_binary_and_mode_changes():
    files = list(parse(RENAMED))
    assert [(file.path, file.note) for file in files] == [
        ("new name.py", "renamed from old name.py"),
        ("logo.png", "new, binary"),
        ("gone.py", "deleted"),
        ("run.sh", "mode 100755"),
    ]
    assert [(file.insertions, file.deletions) for file in files] == [(1, 1), (0, 0), (0, 1), (0, 0)]


def test_it_numbers_the_lines_of_both_sides():
    assert next(parse(RENAMED)).rows == [
        Row("hunk", None, None, "def f():"),
        Row("same", 1, 1, "same"),
        Row("del", 2, None, "a"),
        Row("add", None, 2, "b"),
        Row("hunk", None, None, "No newline at end of file"),
    ]


def test_a_diff_that_was_cut_says_so():
    text = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n... the rest is not shown\n"
    assert next(parse(text)).rows[-1].text == "the rest is not shown"


def test_content_that_looks_like_a_header_is_content():
    text = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n--- a/fake\n+++ b/fake\n"
    (file,) = parse(text)
    assert file.path == "a"
    assert [row.text for row in file.rows[1:]] == ["-- a/fake", "++ b/fake"]


def test_nothing_is_no_file():
    assert list(parse("")) == []


@given(st.text())
def test_any_text_can_be_read(text: str):
    list(parse(text))
    list(parse("diff --git a/x b/x\n@@ -1 +1 @@\n" + text))


@pytest.mark.parametrize("name", ["poetry.lock", "web/package-lock.json", "go.sum", "Cargo.lock"])
def test_lock_files_are_folded(name: str):
    assert FileDiff(name).folded
    assert not FileDiff(name + ".py").folded


def test_long_changes_are_folded():
    row = Row("same", 1, 1, "")
    assert FileDiff("a.py", rows=[row] * (FOLD_ABOVE + 1)).folded
    assert not FileDiff("a.py", rows=[row] * FOLD_ABOVE).folded


def test_what_git_really_writes_adds_up(tmp_path: Path):
    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *args],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    git("init", "-q")
    (tmp_path / "a b.txt").write_text("".join(f"{n}\n" for n in range(50)))
    git("add", "-A")
    git("commit", "-qm", "one")
    (tmp_path / "a b.txt").write_text("".join(f"{n}\n" for n in range(50) if n % 7))
    (tmp_path / "c.txt").write_text("new\n")
    git("add", "-A")
    files = list(parse(git("diff", "--cached", "--no-color")))
    assert [(file.path, file.insertions, file.deletions) for file in files] == [("a b.txt", 0, 8), ("c.txt", 1, 0)]
    assert all(row.new == int(row.text) + 1 - (int(row.text) // 7 + 1) for row in files[0].rows if row.kind == "same")

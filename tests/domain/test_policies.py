"""Which files have a merge policy, and what is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.policies import MAX_COMMAND, MAX_RULES, Policy, Rule, policy_for, read_policies


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("CHANGELOG.md", "CHANGELOG.md", True),
        ("CHANGELOG.md", "docs/CHANGELOG.md", False),
        ("**/CHANGELOG.md", "docs/CHANGELOG.md", True),
        ("**/CHANGELOG.md", "CHANGELOG.md", True),
        ("dist/**", "dist/a/b.js", True),
        ("dist/**", "dist", False),
        ("dist/*", "dist/a/b.js", False),
        ("*.lock", "a.lock", True),
        ("*.lock", "a/b.lock", False),
        ("a?.txt", "ab.txt", True),
        ("a?.txt", "a/.txt", False),
        ("a[b].txt", "ab.txt", False),
        ("a[b].txt", "a[b].txt", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**", "any/thing", True),
        ("a.txt", "a.txt\n", False),
    ],
)
def test_a_glob_matches_whole_paths(glob: str, path: str, matches: bool):
    found = policy_for(path, read_policies([[glob, "union"]]))
    assert found == (Policy.UNION if matches else None)


def test_the_first_rule_that_matches_decides():
    rules = read_policies([["docs/a.md", "ours"], ["docs/**", "theirs"]])
    assert rules == (Rule("docs/a.md", Policy.OURS), Rule("docs/**", Policy.THEIRS))
    assert (policy_for("docs/a.md", rules), policy_for("docs/b.md", rules)) == (Policy.OURS, Policy.THEIRS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "a list of at most"),
        ([["a", "union"]] * (MAX_RULES + 1), "a list of at most"),
        (["union"], "not a glob, a policy"),
        ([["a", "union", "b"]], "union takes no command"),
        ([["a", "union", "", ""]], "not a glob, a policy"),
        ([["a", "regenerate"]], "needs a command"),
        ([["a", "regenerate", "  "]], "needs a command"),
        ([["a", "regenerate", 1]], "needs a command"),
        ([["a", "regenerate", "x" * (MAX_COMMAND + 1)]], "needs a command"),
        ([["/etc/passwd", "union"]], "not a glob inside the repository"),
        ([["../x", "union"]], "not a glob inside the repository"),
        ([["", "union"]], "not a glob inside the repository"),
        ([[1, "union"]], "not a glob inside the repository"),
        ([["a", "merge"]], "no merge policy; there are: union, ours, theirs"),
        ([["a", ["union"]]], "no merge policy"),
    ],
)
def test_what_is_no_policy_is_refused_with_a_sentence(value: Any, said: str):
    with pytest.raises(InvalidInput, match=said):
        read_policies(value)

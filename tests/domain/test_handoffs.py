"""Done is our verdict, never the agent's word."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.handoffs import (
    CheckResult,
    Claim,
    Evidence,
    SubmittedHandoff,
    objections,
    parse_handoff,
    verdict,
)
from orchestration.domain.states import AttemptStatus

GREEN = CheckResult("make test", 0, "", 10)
RED = CheckResult("make lint", 1, "E501", 10)
KILLED = CheckResult("make all", 0, "", 10, limit="killed after 300 s")
KINDS = ("change", "verify", "research")


def evidence(**changes: Any) -> Evidence:
    return replace(Evidence(changed=True, marked_paths=(), outside_paths=(), checks=(GREEN,)), **changes)


def refused(arguments: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_handoff(arguments)
    return str(caught.value)


# --- its shape --------------------------------------------------------------------------------------------------


def test_a_handoff_is_read():
    given = {"status": "partial", "summary": "Half.", "concerns": ["slow"], "suggestions": None, "split": []}
    assert parse_handoff(given) == SubmittedHandoff(status=Claim.PARTIAL, summary="Half.", concerns=["slow"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"summary": "Done."}, "status is missing."),
        ({"status": "done", "summary": "x"}, "status: input should be 'complete', 'partial', 'blocked' or 'failed'."),
        ({"status": "complete", "summary": ""}, "summary: string should have at least 1 character."),
        ({"status": "complete", "summary": "x" * 20_001}, "summary: string should have at most 20000 characters."),
        ({"status": "complete", "summary": "x", "concerns": "none"}, "concerns: input should be a valid list."),
        ({"status": "complete", "summary": "x", "concerns": ["x"] * 51}, "concerns: list should have at most 50"),
        ({"status": "complete", "summary": "x", "suggestions": ["x" * 4001]}, "suggestions.0: string should have"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], sentence: str):
    assert sentence in refused(given)


def test_what_cannot_be_stored_is_replaced():
    read = parse_handoff({"status": "complete", "summary": "a\x00\ud83d"})
    assert read.summary == "a" + 2 * "\N{REPLACEMENT CHARACTER}"


# --- the verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "passed", "ending"),
    [
        (GREEN, True, "exit code 0"),
        (RED, False, "exit code 1"),
        (KILLED, False, "killed after 300 s"),
        (CheckResult("x", None, "", 1, limit="killed after 1 s"), False, "killed after 1 s"),
        (CheckResult("x", None, "", 1), False, "exit code None"),
    ],
)
def test_a_check_passed_only_if_it_ended_by_itself_with_0(check: CheckResult, passed: bool, ending: str):
    assert (check.passed, check.ending) == (passed, ending)


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_that_nothing_speaks_against_stands(kind: str):
    stands = verdict(Claim.COMPLETE, kind, evidence(changed=kind == "change"))
    assert (stands.status, stands.reason, stands.suspicious) == (AttemptStatus.COMPLETE, "", "")


@pytest.mark.parametrize(
    ("kind", "changed", "marked", "outside", "checks"),
    list(product(KINDS, (True, False), ((), ("a.py",)), ((), ("b.py",)), ((), (GREEN,), (GREEN, RED), (KILLED,)))),
)
def test_a_claim_of_complete_stands_only_where_nothing_is_wrong(
    kind: str,
    changed: bool,
    marked: tuple[str, ...],
    outside: tuple[str, ...],
    checks: tuple[CheckResult, ...],
):
    found = evidence(changed=changed, marked_paths=marked, outside_paths=outside, checks=checks)
    wrong = bool(marked or outside or not {RED, KILLED}.isdisjoint(checks) or (kind == "change" and not changed))
    result = verdict(Claim.COMPLETE, kind, found)
    assert result.status is (AttemptStatus.FAILED if wrong else AttemptStatus.COMPLETE)
    assert bool(result.suspicious) == bool(objections(kind, found)) == wrong
    thrown_away = kind != "change" and changed
    assert bool(result.reason) == (wrong or thrown_away)


def test_each_objection_names_its_cause():
    found = evidence(
        changed=False, marked_paths=("a", "b", "c", "d", "e"), outside_paths=("x.py",), checks=(RED, GREEN, KILLED)
    )
    assert objections("change", found) == [
        "Nothing was changed although the subtask asks for a change.",
        "Conflict markers stand in a, b, c and 2 more.",
        "Files outside the allowed directory were changed: x.py.",
        "The acceptance check `make lint` did not pass (exit code 1).",
        "The acceptance check `make all` did not pass (killed after 300 s).",
    ]
    result = verdict(Claim.COMPLETE, "change", found)
    assert result.reason == " ".join(objections("change", found))
    assert (
        result.suspicious
        == "It was handed off as complete. Nothing was changed although the subtask asks for a change."
    )


@pytest.mark.parametrize("claim", [Claim.PARTIAL, Claim.BLOCKED, Claim.FAILED])
@pytest.mark.parametrize("found", [evidence(), evidence(changed=False, checks=(RED,))])
def test_an_agent_that_admits_less_is_believed_whatever_was_found(claim: Claim, found: Evidence):
    result = verdict(claim, "change", found)
    assert result.status == AttemptStatus(str(claim))
    assert result.reason == f"The agent handed off as {claim}."
    assert result.suspicious == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_conflict_may_be_settled_by_keeping_what_landed_and_that_is_said(kind: str):
    kept = evidence(changed=False, merges=True)
    assert objections(kind, kept) == []
    found = verdict(Claim.COMPLETE, kind, kept)
    assert (found.status, found.reason) == (AttemptStatus.COMPLETE, "")
    assert found.suspicious == "It settled its conflict by keeping what landed: nothing of its own work is left."
    assert verdict(Claim.COMPLETE, kind, evidence(merges=True)).suspicious == ""


def test_a_name_that_git_made_up_is_none_to_keep():
    assert objections("change", evidence(merges=True, made_up_paths=("thing~0a1b",))) == [
        "Git made up these names, give them others or take them away: thing~0a1b."
    ]

"""A swarm succeeds only where everything did; every other end says why."""

from __future__ import annotations

from itertools import product

import pytest

from orchestration.domain.handoffs import CheckResult
from orchestration.domain.outcome import outcome
from orchestration.domain.states import SubtaskStatus, SwarmStatus

GREEN = CheckResult("make test", 0, "", 10)
RED = CheckResult("make lint", 2, "", 10)
KILLED = CheckResult("make all", 0, "", 10, limit="killed after 300 s")
COMPLETE, FAILED, CONFLICT = SubtaskStatus.COMPLETE, SubtaskStatus.FAILED, SubtaskStatus.CONFLICT
CHECKS = ((), (GREEN,), (RED,), (GREEN, RED), (KILLED, GREEN))
ERRORS = ("", "The model refused the key.")
SHAPES = [
    shape for size in range(4) for shape in product((COMPLETE, FAILED, CONFLICT, SubtaskStatus.PENDING), repeat=size)
]


def named(*statuses: SubtaskStatus) -> dict[str, SubtaskStatus]:
    return {f"t{number}": status for number, status in enumerate(statuses)}


@pytest.mark.parametrize(("checks", "error"), list(product(CHECKS, ERRORS)))
def test_it_succeeds_exactly_where_something_was_planned_and_everything_is_well(
    checks: tuple[CheckResult, ...], error: str
):
    for shape, landed in product(SHAPES, (0, 1, 3)):
        end = outcome(named(*shape), landed, checks, error)
        well = bool(shape) and set(shape) == {COMPLETE} and all(check.passed for check in checks) and not error
        assert (end.status is SwarmStatus.SUCCEEDED) == well, (shape, landed)
        assert bool(end.reason) == (not well or not checks)


@pytest.mark.parametrize("status", [status for status in SubtaskStatus if status is not COMPLETE])
def test_one_subtask_that_is_not_complete_is_enough_whatever_its_status(status: SubtaskStatus):
    end = outcome(named(COMPLETE, status), 1, (GREEN,))
    assert end.status is SwarmStatus.PARTLY_SUCCEEDED
    assert end.reason == f"1 of 2 subtasks did not complete: t1 ({status.replace('_', ' ')})."


def test_why_the_first_of_them_failed_is_told_with_it():
    """What waited for it, or was cancelled, says nothing of its own."""
    statuses = named(COMPLETE, SubtaskStatus.CANCELLED, SubtaskStatus.BLOCKED, FAILED, CONFLICT)
    reasons = {"t1": "By ada.", "t2": "It needs t3.", "t3": "\n The key was refused (401).\nMore.", "t4": "No."}
    end = outcome(statuses, 1, (GREEN,), reasons=reasons)
    assert end.reason.endswith("t4 (conflict). t3: The key was refused (401).")
    assert len(outcome(named(FAILED), 0, (), reasons={"t0": "x" * 5000}).reason) < 400
    assert outcome(named(FAILED), 0, (), reasons={"t0": ""}).reason.endswith("did not complete: t0 (failed).")


def test_nothing_done_is_a_failure():
    assert outcome(named(FAILED, CONFLICT), 0, ()).status is SwarmStatus.FAILED


def test_a_landing_of_a_subtask_that_was_cancelled_meanwhile_is_something():
    assert outcome(named(SubtaskStatus.CANCELLED), 1, ()).status is SwarmStatus.PARTLY_SUCCEEDED


@pytest.mark.parametrize("checks", CHECKS)
def test_nothing_planned_is_a_failure_and_never_verified(checks: tuple[CheckResult, ...]):
    end = outcome({}, 0, checks)
    assert (end.status, end.verified) == (SwarmStatus.FAILED, False)
    assert end.reason == "The planner planned nothing, so nothing was done."


def test_nothing_planned_because_planning_stopped_says_so():
    end = outcome({}, 0, (), "The key was refused.")
    assert end.reason == (
        "The planner planned nothing, so nothing was done. Planning stopped early: The key was refused."
    )


def test_a_repository_without_checks_is_said_to_be_unverified():
    end = outcome(named(COMPLETE), 1, ())
    assert (end.status, end.verified) == (SwarmStatus.SUCCEEDED, False)
    assert end.reason == "Succeeded, unverified: this repository has no checks."


def test_green_checks_verify():
    end = outcome(named(COMPLETE), 1, (GREEN,))
    assert (end.status, end.verified, end.reason) == (SwarmStatus.SUCCEEDED, True, "")


@pytest.mark.parametrize("checks", [(RED,), (GREEN, RED), (KILLED,)])
def test_a_red_check_never_verifies_and_is_named(checks: tuple[CheckResult, ...]):
    end = outcome(named(COMPLETE), 1, checks)
    assert (end.status, end.verified) == (SwarmStatus.PARTLY_SUCCEEDED, False)
    red = checks[-1]
    assert end.reason == f"The check `{red.command}` is red on the result ({red.ending})."


def test_every_reason_is_told_and_long_lists_are_cut():
    statuses = {f"t{number}": SubtaskStatus.TIMED_OUT for number in range(7)}
    end = outcome(statuses, 0, (RED,) * 5, "The budget is used up.")
    assert end.status is SwarmStatus.FAILED
    assert end.reason.startswith(
        "Planning stopped early: The budget is used up. 7 of 7 subtasks did not complete: "
        "t0 (timed out), t1 (timed out), t2 (timed out), t3 (timed out), t4 (timed out) and 2 more. "
    )
    assert end.reason.count("is red on the result (exit code 2).") == 3

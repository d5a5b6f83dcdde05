"""The planner may look, ends with a judged plan, and gets one chance to mend a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository
from orchestration.agents import planner
from orchestration.agents.planner import CUT_OFF, MAX_TURNS, Planned
from orchestration.demo.service import Answer
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.planning import SubmittedPlan, judge, parse_plan
from orchestration.domain.states import SubtaskStatus
from orchestration.domain.tools import PLANNER_TOOLS
from tests.agents.rig import Model, Turn, make_store, require_answered

TASKS: list[dict[str, Any]] = [
    {"name": "one", "instruction": "Do it."},
    {"name": "two", "instruction": "Test it.", "dependencies": ["one"]},
]
PLAN: dict[str, Any] = {"scratchpad": "Two steps.", "done": True, "tasks": TASKS}
GOOD = ("submit_plan", PLAN)
CIRCLE = ("submit_plan", PLAN | {"tasks": [TASKS[0] | {"dependencies": ["two"]}, TASKS[1]]})
LOOK = ("read_file", {"path": "README.md"})


@pytest.fixture
def repository(tmp_path: Path) -> tuple[BareRepository, str]:
    return make_store(tmp_path, {"README.md": "# Larder\n"})


@pytest.fixture
def planned(model: Model, repository: tuple[BareRepository, str]) -> Any:
    """Runs the planner with what the model says."""

    def run(*turns: Turn, known: dict[str, SubtaskStatus] | None = None) -> Planned:
        def verdict(plan: SubmittedPlan) -> list[str]:
            return judge(plan, known or {}, work_in_flight=False, working_dir=None)

        conversation = model.says(*turns).conversation(PLANNER_TOOLS)
        try:
            return planner.plan(conversation, *repository, verdict)
        finally:
            for request in model.service.requests:
                require_answered(request.messages)

    return run


def test_a_good_plan_is_taken_at_once(planned: Any, model: Model):
    assert planned(GOOD) == Planned(parse_plan(PLAN), ())
    (request,) = model.service.requests
    assert request.closing == "submit_plan"
    assert set(request.tools) == {"submit_plan", "list_files", "read_file", "grep", "git_log"}


def test_it_may_look_first(planned: Any, model: Model):
    looks = [("list_files", {}), ("grep", {"pattern": "Lard"}), ("git_log", {})]
    assert planned(LOOK, looks, GOOD) == Planned(parse_plan(PLAN), ())
    assert model.told[:3] == ["# Larder", "README.md", "README.md:1: # Larder"]
    assert model.told[3].endswith(" Ada: commit 1")


def test_a_wrong_look_is_told_and_costs_no_chance(planned: Any, model: Model):
    wrong = [("read_file", {"path": "none"}), ("bash", {"command": "ls"}), ("read_file", "{")]
    assert planned(wrong, GOOD).problems == ()
    assert model.told[0] == "Error: There is no file 'none'."
    assert model.told[1].startswith("Error: There is no tool 'bash'")
    assert model.told[2].startswith("Error: The arguments of read_file are not valid JSON")


def test_a_bad_plan_is_sent_back_with_its_problem(planned: Any, model: Model):
    found = planned(CIRCLE, GOOD)
    assert found.plan == parse_plan(PLAN)
    (problem,) = found.problems
    assert problem.startswith("The dependencies go in a circle: ")
    assert model.told == [
        f"That plan cannot be used. {problem}\n\nCall `submit_plan` again with the whole plan, corrected.\n"
    ]


def test_all_problems_are_sent_back(planned: Any, model: Model):
    bad = PLAN | {"tasks": [TASKS[0] | {"scope": ["../x"]}, TASKS[1] | {"dependencies": ["zero", "old"]}]}
    found = planned(("submit_plan", bad), GOOD, known={"old": SubtaskStatus.FAILED})
    assert len(found.problems) == 3
    assert all(problem in model.told[0] for problem in found.problems)
    for culprit in ("'../x'", "'zero'", "'old'"):
        assert culprit in model.told[0]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (("submit_plan", "{"), "The arguments of submit_plan are not valid JSON"),
        (("submit_plan", {}), "That is no plan: it has neither `tasks` nor `done`."),
        (("submit_plan", ""), "That is no plan"),
        (("submit_plan", {"done": True, "tasks": []}), "The plan has no tasks and nothing is running"),
        (("submit_plan", {"done": True, "tasks": "none"}), "tasks: input should be a valid list."),
        (("submit_plan", PLAN | {"tasks": TASKS * 5000}), "The plan has 10000 tasks; at most 300 are taken at once."),
        (("submit_plan", PLAN | {"tasks": TASKS + TASKS[:1]}), "The name 'one' occurs twice."),
        ("I would begin with the parser.", "no call of submit_plan and contains no JSON object."),
        ('{"note": "I am thinking."}', "That is no plan"),
        (Answer(calls=(GOOD,), fault="bad_json_arguments"), "not valid JSON"),
    ],
    ids=["json", "empty", "nothing", "no tasks", "shape", "10000", "twice", "prose", "other json", "cut"],
)
def test_whatever_is_wrong_is_told_once_and_the_second_try_counts(planned: Any, model: Model, bad: Turn, sentence: str):
    found = planned(bad, GOOD)
    assert found.plan == parse_plan(PLAN)
    assert sentence in found.problems[0]
    assert found.problems[0] in model.told[0]
    assert model.service.total == 2


def test_an_answer_that_was_cut_off_is_told_so(planned: Any, model: Model):
    cut = Answer(calls=(GOOD,), fault="bad_json_arguments", finish_reason="length")
    assert planned(cut, GOOD).problems[1] == CUT_OFF
    assert CUT_OFF in model.told[0]


def test_a_plan_that_is_unusable_twice_is_none_and_both_reasons_are_known(planned: Any, model: Model):
    found = planned(CIRCLE, "I do not know.", GOOD)
    assert found.plan is None
    assert [problem.split(" ", 3)[:3] for problem in found.problems] == [
        ["The", "dependencies", "go"],
        ["The", "answer", "is"],
    ]
    assert model.service.total == 2


def test_what_was_wrong_both_times_is_said_once(planned: Any):
    found = planned("I do not know.", "I still do not know.", GOOD)
    assert found.plan is None
    assert found.problems == ("The answer is no call of submit_plan and contains no JSON object.",)
    assert str(found.failure) == found.problems[0]


def test_looking_again_before_the_second_try_is_allowed(planned: Any, model: Model):
    assert planned(CIRCLE, LOOK, GOOD).plan == parse_plan(PLAN)
    assert model.told[1] == "# Larder"


def test_a_plan_in_prose_is_taken(planned: Any):
    said = f"Here is my plan:\n```json\n{str(PLAN).replace(chr(39), chr(34)).replace('True', 'true')}\n```\n"
    assert planned(said) == Planned(parse_plan(PLAN), ())


def test_looks_beside_a_good_plan_are_not_needed(planned: Any, model: Model):
    assert planned([LOOK, GOOD, LOOK]).plan == parse_plan(PLAN)
    assert model.service.total == 1


def test_looks_beside_a_bad_plan_are_answered_too(planned: Any, model: Model):
    assert planned([LOOK, CIRCLE, CIRCLE], GOOD).plan == parse_plan(PLAN)
    assert model.told[0] == model.told[2] == "Not run: the plan came first."
    assert model.told[1].startswith("That plan cannot be used. ")


def hurries(model: Model) -> list[tuple[int, str]]:
    """Which requests of the conversation were the first to hold each reminder."""
    found: dict[str, int] = {}
    for request in model.service.requests:
        for message in request.messages:
            if "Submit your plan now" in str(message.get("content")):
                found.setdefault(str(message["content"]), request.number)
    return [(number, words.split(".")[0]) for words, number in found.items()]


def test_a_planner_that_only_looks_is_asked_for_its_plan_in_time_and_then_has_none(planned: Any, model: Model):
    assert planned(LOOK) == Planned(None, (f"The planner submitted no plan in {MAX_TURNS} turns.",))
    assert model.service.total == MAX_TURNS == 40
    assert hurries(model) == [(36, "You have 5 more answers"), (40, "You have one more answer")]


def test_a_planner_that_listens_to_the_reminder_has_a_plan(planned: Any, model: Model):
    assert planned(*[LOOK] * 35, GOOD).plan == parse_plan(PLAN)
    assert model.service.total == 36
    assert "Submit your plan now" in model.service.requests[-1].last_text


def test_nobody_is_hurried_who_looks_for_a_while(planned: Any, model: Model):
    planned(*[LOOK] * 34, GOOD)
    assert hurries(model) == []


def test_what_was_wrong_with_its_only_plan_is_still_told_after_it_only_looked(planned: Any):
    found = planned(CIRCLE, LOOK)
    assert found.plan is None
    assert [problem.split(" ", 3)[2] for problem in found.problems] == ["go", "submitted"]
    assert found.failure.kind is Failure.TRANSIENT
    assert str(found.failure).endswith("The planner submitted no plan in 40 turns.")


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        (Answer(status=401), Failure.PERMANENT),
        (Answer(status=503), Failure.TRANSIENT),
        (Answer("half", fault="half_stream"), Failure.TRANSIENT),
    ],
)
def test_a_model_that_fails_is_no_empty_plan(planned: Any, turn: Turn, kind: Failure):
    with pytest.raises(AdapterError) as caught:
        planned(LOOK, turn)
    assert caught.value.kind is kind

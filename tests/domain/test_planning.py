"""A planner's answer: its shape, whether it can be used, and what stands in for it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.errors import InvalidInput
from orchestration.domain.planning import (
    MAX_TASKS_IN_PLAN,
    MAX_TASKS_IN_SWARM,
    PlannedTask,
    SubmittedPlan,
    judge,
    parse_plan,
    should_plan,
    single_task_plan,
)
from orchestration.domain.requests import MAX_CHARACTERS
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus

Known = dict[str, SubtaskStatus]


def task(name: str = "one", **fields: Any) -> dict[str, Any]:
    return {"name": name, "instruction": "Do it.", **fields}


def plan(*tasks: dict[str, Any], done: bool = True) -> SubmittedPlan:
    return parse_plan({"scratchpad": "", "done": done, "tasks": list(tasks)})


def problems(*tasks: dict[str, Any], known: Known | None = None, working_dir: str | None = None) -> list[str]:
    return judge(plan(*tasks), known or {}, work_in_flight=False, working_dir=working_dir)


def refused(arguments: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- its shape --------------------------------------------------------------------------------------------------


def test_a_task_has_the_defaults_of_the_contract():
    assert plan(task()).tasks[0].model_dump() == {
        "name": "one",
        "instruction": "Do it.",
        "acceptance": "",
        "acceptance_checks": [],
        "scope": [],
        "dependencies": [],
        "priority": 5,
        "specialty": "",
        "kind": "change",
        "decompose": False,
        "variants": 1,
    }


def test_unknown_fields_are_ignored_and_null_is_nothing():
    read = parse_plan({"done": None, "tasks": [task(scope=None, color="red")], "more": 1})
    assert read == plan(task(), done=False)


@pytest.mark.parametrize("arguments", [{}, {"scratchpad": "I am thinking."}, {"tasks": None, "done": None}])
def test_what_says_nothing_about_tasks_is_no_plan(arguments: dict[str, Any]):
    assert refused(arguments) == "That is no plan: it has neither `tasks` nor `done`."


@pytest.mark.parametrize("count", [MAX_TASKS_IN_PLAN + 1, 10_000])
def test_ten_thousand_tasks_are_refused_with_one_sentence(count: int):
    sentence = refused({"done": False, "tasks": [task(f"t-{number}", priority=99) for number in range(count)]})
    assert sentence == f"The plan has {count} tasks; at most {MAX_TASKS_IN_PLAN} are taken at once."


def test_as_many_tasks_as_are_taken_at_once_are_taken():
    assert not problems(*(task(f"t-{number}") for number in range(MAX_TASKS_IN_PLAN)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"priority": 0}, "tasks.0.priority: input should be greater than or equal to 1."),
        ({"priority": 11}, "tasks.0.priority: input should be less than or equal to 10."),
        ({"kind": "rewrite"}, "tasks.0.kind: input should be 'change', 'verify' or 'research'."),
        ({"variants": 99}, "tasks.0.variants: input should be less than or equal to 10."),
        ({"instruction": ""}, "tasks.0.instruction: string should have at least 1 character."),
        ({"instruction": "x" * (MAX_CHARACTERS + 1)}, "tasks.0.instruction: string should have at most 100000"),
        ({"scope": "src/**"}, "tasks.0.scope: input should be a valid list."),
        ({"scope": [""]}, "tasks.0.scope.0: string should have at least 1 character."),
        ({"acceptance_checks": ["x"] * 21}, "tasks.0.acceptance_checks: list should have at most 20 items"),
        ({"dependencies": [3]}, "tasks.0.dependencies.0: input should be a valid string."),
        ({"name": None}, "tasks.0.name is missing."),
    ],
)
def test_a_wrong_field_is_told_with_its_place(fields: dict[str, Any], sentence: str):
    assert sentence in refused({"done": True, "tasks": [task(**fields)]})


@pytest.mark.parametrize("tasks", ["a plan in prose", {"name": "one"}, [["one"]], [None], 3])
def test_tasks_that_are_none_are_refused(tasks: object):
    assert refused({"done": True, "tasks": tasks}).startswith("tasks")


def test_at_most_five_wrong_fields_are_told():
    sentence = refused({"done": True, "tasks": [task(priority=0) for _ in range(9)]})
    assert sentence.count("greater than or equal") == 5
    assert sentence.endswith("And 4 more.")


def test_what_cannot_be_stored_is_replaced():
    read = plan(task(instruction="a\x00b\ud83d", scope=["a\x00"]))
    assert read.tasks[0].instruction == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert "\x00" not in read.tasks[0].scope[0]


# --- whether it can be used -------------------------------------------------------------------------------------


def test_a_good_plan_has_no_problems():
    known = {"base": SubtaskStatus.COMPLETE, "late": SubtaskStatus.RUNNING}
    tasks = [task("one", dependencies=["base", "late"]), task("two", dependencies=["one"], scope=["src/**", "./a.py"])]
    assert problems(*tasks, known=known) == []


@pytest.mark.parametrize("name", ["", "Upper", "under_score", "-dash", "a" * 51, "a/b", "..", "spa ce", "ä", "one\n"])
def test_a_name_that_could_be_no_part_of_a_branch_is_refused(name: str):
    (problem,) = problems(task(name))
    assert repr(name[:60]) in problem


@pytest.mark.parametrize("name", ["a", "0", "a-b-", "a" * 50])
def test_names_at_the_edge_are_taken(name: str):
    assert problems(task(name)) == []


def test_a_name_that_occurs_twice_is_refused():
    assert problems(task("one"), task("two"), task("one")) == ["The name 'one' occurs twice."]


@pytest.mark.parametrize("status", SubtaskStatus)
def test_a_name_of_an_earlier_task_is_refused_whatever_became_of_it(status: SubtaskStatus):
    (problem,) = problems(task("one"), known={"one": status})
    assert problem == "The name 'one' is taken by an earlier task; every name is used once."


@pytest.mark.parametrize("glob", ["../other/**", "/etc/*", "src/../../x", "..", "src/.."])
def test_a_scope_that_leaves_the_repository_is_refused(glob: str):
    assert problems(task(scope=["src/**", glob])) == [
        f"The scope {glob!r} of 'one' leaves the repository; write paths relative to its root."
    ]


@pytest.mark.parametrize("glob", ["services/api/**", "./services/api/x.py", "services/api"])
def test_a_scope_inside_the_working_directory_is_taken(glob: str):
    assert problems(task(scope=[glob]), working_dir="services/api") == []


@pytest.mark.parametrize("glob", ["**/*.py", "services/**", "services/api2/x", "README.md", "."])
def test_a_scope_outside_the_working_directory_is_refused(glob: str):
    (problem,) = problems(task(scope=[glob]), working_dir="services/api")
    assert problem == f"The scope {glob!r} of 'one' lies outside 'services/api'."


def test_an_unknown_dependency_is_refused():
    assert problems(task(dependencies=["nobody"])) == ["'one' depends on 'nobody', which is no task."]


@pytest.mark.parametrize("status", SubtaskStatus)
def test_a_dependency_that_will_not_be_met_is_refused(status: SubtaskStatus):
    found = problems(task(dependencies=["old"]), known={"old": status})
    assert found == ([f"'one' depends on 'old', which is {status}."] if status in SUBTASK_LOST else [])


def test_a_circle_is_told_in_the_direction_of_depends_on():
    (problem,) = problems(
        task("a", dependencies=["b"]), task("b", dependencies=["c"]), task("c", dependencies=["a"]), task("d")
    )
    circle = "a -> b -> c -> a"
    assert problem.removeprefix("The dependencies go in a circle: ").removesuffix(".") in {
        circle,
        "b -> c -> a -> b",
        "c -> a -> b -> c",
    }


def test_a_task_that_depends_on_itself_is_refused():
    assert problems(task("a", dependencies=["a"])) == ["The dependencies go in a circle: a -> a."]


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_a_swarm_has_a_most(more: int, fits: bool):
    known = {f"old-{number}": SubtaskStatus.COMPLETE for number in range(MAX_TASKS_IN_SWARM - 2 + more)}
    found = problems(task("one"), task("two"), known=known)
    assert found == ([] if fits else [f"The swarm would have over {MAX_TASKS_IN_SWARM} tasks."])


@pytest.mark.parametrize(("done", "in_flight", "known"), list(product((True, False), repeat=3)))
def test_a_plan_without_tasks_is_taken_only_while_work_runs_or_when_all_is_done(
    done: bool, in_flight: bool, known: bool
):
    earlier = {"old": SubtaskStatus.COMPLETE} if known else {}
    found = judge(plan(done=done), earlier, work_in_flight=in_flight, working_dir=None)
    assert bool(found) == (not in_flight and not (done and known))


def test_at_most_five_problems_are_told_and_the_rest_is_counted():
    found = problems(*(task(f"t-{number}", scope=["/x"]) for number in range(9)))
    assert len(found) == 6
    assert found[-1] == "And 4 more problems."


NAMES = st.sampled_from(["alpha", "bravo", "charlie", "delta", "Bad", "old", "gone"])
SCOPES = st.sampled_from(["src/**", "api/x", "../x", "/etc", "api/../../y"])
TASKS = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "instruction": st.just("x"),
            "dependencies": st.lists(NAMES, max_size=2),
            "scope": st.lists(SCOPES, max_size=1),
        }
    ),
    max_size=5,
)
KNOWN: Known = {"old": SubtaskStatus.COMPLETE, "gone": SubtaskStatus.FAILED}


def escapes(path: str) -> bool:
    depth = 0
    for name in path.split("/"):
        depth += -1 if name == ".." else 1
        if depth < 0:
            return True
    return path.startswith("/")


def needed_by(name: str, edges: dict[str, list[str]]) -> set[str]:
    """Everything on the way down from it; itself, where that is a circle."""
    found: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        one = waiting.pop()
        if one in edges and one not in found:
            found.add(one)
            waiting += edges[one]
    return found


def faults(tasks: list[dict[str, Any]]) -> set[str]:
    """The names that a person would point at."""
    names = [one["name"] for one in tasks]
    edges = {one["name"]: one["dependencies"] for one in tasks}
    wrong = {name for name in names if name in KNOWN or names.count(name) > 1 or name == "Bad"}
    wrong |= {glob for one in tasks for glob in one["scope"] if escapes(glob)}
    wrong |= {name for one in tasks for name in one["dependencies"] if name == "gone" or name not in {*names, *KNOWN}}
    return wrong | {name for name in edges if name in needed_by(name, edges)}


@given(TASKS)
def test_no_faulty_plan_is_accepted_and_every_refusal_names_a_culprit(tasks: list[dict[str, Any]]):
    found = judge(plan(*tasks), KNOWN, work_in_flight=True, working_dir=None)
    wrong = faults(tasks)
    assert bool(found) == bool(wrong)
    assert len(found) <= 6
    for problem in found:
        assert any(culprit in problem for culprit in wrong) or problem.startswith("And ")


# --- what stands in, and when to plan ---------------------------------------------------------------------------


@pytest.mark.parametrize("request_text", ["Mend it.", "x" * MAX_CHARACTERS])
def test_the_stand_in_carries_the_whole_request_and_is_itself_a_good_plan(request_text: str):
    stand_in = single_task_plan(request_text)
    assert [one.instruction for one in stand_in.tasks] == [request_text]
    assert stand_in.done
    assert judge(stand_in, {}, work_in_flight=False, working_dir="services/api") == []
    assert stand_in.tasks == [
        PlannedTask(name="main", instruction=request_text, acceptance="The request is fulfilled.")
    ]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"iterations": 0}, True),
        ({"iterations": 0, "capacity": False}, False),
        ({"active": 0}, True),
        ({"active": 0, "done": True}, False),
        ({"active": 0, "done": True, "new_handoffs": 9}, False),
        ({"new_handoffs": 2}, False),
        ({"new_handoffs": 3}, True),
        ({"new_handoffs": 3, "capacity": False}, False),
        ({"new_handoffs": 3, "done": True}, False),
    ],
)
def test_it_is_planned_at_first_after_three_handoffs_or_when_nothing_runs(facts: dict[str, Any], expected: bool):
    plain = {"iterations": 1, "new_handoffs": 0, "active": 5, "capacity": True, "done": False}
    assert should_plan(**plain | facts) is expected

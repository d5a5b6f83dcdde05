"""The simulated work: the same in every process, shaped as the contract says, and bounded from below rightly."""

from __future__ import annotations

import pytest

from orchestration.demo.wire import read_request
from orchestration.domain.handoffs import parse_handoff
from orchestration.domain.planning import SubmittedPlan, judge
from orchestration.domain.tools import WORKER_TOOLS
from orchestration.management.bench.figures import Spent, most_at_once, percentile, resident_mb
from orchestration.management.bench.model import Script, path_of, worker_calls
from orchestration.management.bench.schedule import handoff_delays_ms
from orchestration.management.bench.workload import FASTEST_S, SLOWEST_S, TURNS, Workload


def layer_of(name: str) -> int:
    return int(name.split("-")[1])


def test_each_layer_needs_two_of_the_one_above():
    needs = Workload().needs
    assert len(needs) == 200
    for layer in range(5):
        names = [name for name in needs if layer_of(name) == layer]
        assert len(names) == 40
        for name in names:
            assert len(set(needs[name])) == (2 if layer else 0)
            assert all(layer_of(one) == layer - 1 for one in needs[name])


def test_a_seed_decides_everything():
    one, same, other = Workload(seed=7), Workload(seed=7), Workload(seed=8)
    assert (one.needs, one.lower_bound_s) == (same.needs, same.lower_bound_s)
    assert one.needs != other.needs
    assert one.latency_s("a", 0) != other.latency_s("a", 0)


def test_latencies_lie_within_the_contracts_bounds_and_are_stretched():
    quick = Workload(pace=0.5)
    for turn in range(100):
        assert FASTEST_S <= Workload().latency_s("a", turn) <= SLOWEST_S
        assert quick.latency_s("a", turn) == Workload().latency_s("a", turn) / 2


def test_the_bound_is_the_longest_chain_where_agents_are_many():
    chain = Workload(subtasks=3, layers=3)
    assert chain.lower_bound_s == pytest.approx(chain.latency_s("", 0) + sum(map(chain.work_s, chain.needs)))


def test_the_bound_is_the_shared_work_where_agents_are_few():
    flat = Workload(subtasks=10, layers=1, agents=2)
    assert flat.lower_bound_s == pytest.approx(flat.latency_s("", 0) + sum(map(flat.work_s, flat.needs)) / 2)
    assert flat.lower_bound_s > flat.critical_path_s


def asking(closing: str, subtask: str = "", turns: int = 0):
    head = f"swarm: x\nsubtask: {subtask}\n" if subtask else "swarm: x\n"
    messages = [{"role": "user", "content": head}, *({"role": "assistant", "content": "."} for _ in range(turns))]
    return read_request(1, {"messages": messages, "tools": [{"function": {"name": closing}}]}, "")


def test_the_plan_is_one_that_is_taken():
    workload = Workload(subtasks=20)
    ((name, arguments),) = Script(workload)(asking("submit_plan")).calls
    plan = SubmittedPlan.model_validate(arguments)
    assert name == "submit_plan"
    assert plan.done
    assert {task.name: tuple(task.dependencies) for task in plan.tasks} == workload.needs
    assert judge(plan, {}, work_in_flight=False, working_dir=None) == []


def test_a_worker_takes_eight_turns_of_which_three_run_a_command():
    calls = worker_calls("layer-0-000")
    assert len(calls) == TURNS
    assert [name for name, _ in calls].count("bash") == 3
    assert {name for name, _ in calls} <= {tool.name for tool in WORKER_TOOLS}
    assert parse_handoff(calls[-1][1]).status == "complete"


def test_no_two_subtasks_touch_the_same_file():
    names = list(Workload().needs)
    assert len({path_of(name) for name in names}) == len(names)


def test_the_model_notes_when_it_was_asked_and_answers_in_its_time():
    script = Script(Workload(seed=3))
    answer = script(asking("handoff", "layer-0-000", turns=2))
    assert answer.calls == (worker_calls("layer-0-000")[2],)
    assert answer.delay_s == Workload(seed=3).latency_s("layer-0-000", 2)
    assert len(script.asked["layer-0-000"]) == 1


def test_a_handoff_lasts_from_the_last_answer_needed_to_the_next_request():
    workload = Workload(subtasks=3, layers=3)
    first, second, third = workload.needs
    last = TURNS - 1
    asked = {
        "": [0.0],
        first: [1.0, 10.0],
        second: [10.0 + workload.latency_s(first, last) + 0.25, 50.0],
        third: [50.0 + workload.latency_s(second, last) + 0.5],
    }
    assert handoff_delays_ms(workload, asked) == pytest.approx([250, 500])


def test_a_handoff_waits_for_the_later_of_two():
    workload = Workload(subtasks=6, layers=2)
    late = {name: 100.0 * number for number, name in enumerate(workload.needs, 1)}
    asked = {name: [late[name]] for name in workload.needs}
    delays = dict(
        zip([n for n, needed in workload.needs.items() if needed], handoff_delays_ms(workload, asked), strict=True)
    )
    for name, delay in delays.items():
        ends = [late[one] + workload.latency_s(one, TURNS - 1) for one in workload.needs[name]]
        assert delay == pytest.approx(1000 * (late[name] - max(ends)))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 3), (0.95, 5), (0.0, 1), (1.0, 5)], ids=["half", "most", "least", "all"]
)
def test_a_percentile_is_one_of_the_values(share: float, expected: int):
    assert percentile([5, 1, 4, 2, 3], share) == expected
    assert percentile([], share) == 0


def test_overlap_counts_what_runs_at_the_same_moment():
    assert most_at_once([(0, 2), (1, 3), (2, 4)]) == 2
    assert most_at_once([(0, 4), (1, 4), (2, 4)]) == 3
    assert most_at_once([]) == 0


def test_time_spent_is_told_apart_from_what_was_spent_before():
    assert Spent(5, 3).since(Spent(2, 1)) == Spent(3, 2)
    assert Spent.so_far().own_s > 0
    assert resident_mb() > 1

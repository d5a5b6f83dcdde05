"""Who is asked first, who is left alone, and when one is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.domain.conversation import Endpoint
from orchestration.domain.endpoints import UNHEALTHY_AFTER, Health, ModelRole, choose, read_roles
from orchestration.domain.errors import InvalidInput


def endpoint(name: str, **fields: Any) -> Endpoint:
    return Endpoint(name, "openai", f"http://{name}/v1", "m", **fields)


OWN, HEAVY, LIGHT = endpoint("own", weight=1), endpoint("heavy", weight=9), endpoint("light", weight=3)
ALL = (OWN, LIGHT, HEAVY)
ILL = Health(failures=UNHEALTHY_AFTER, failed_at=100.0)


def names(health: dict[Endpoint, Health], now: float = 101.0) -> str:
    choice = choose(ALL, {one.place: state for one, state in health.items()}, now, probe_after_s=30.0)
    return " ".join(one.name + ("?" if one is choice.probe else "") for one in choice.order)


def test_the_swarms_own_comes_first_then_the_heaviest():
    assert names({}) == "own heavy light"


def test_among_equals_a_much_slower_one_goes_last():
    slow, quick = endpoint("slow"), endpoint("quick")
    health = {slow.place: Health(latency_ms=900.0), quick.place: Health(latency_ms=300.0)}
    assert [one.name for one in choose((OWN, slow, quick), health, 0, probe_after_s=30).order[1:]] == ["quick", "slow"]
    health[slow.place] = Health(latency_ms=500.0)
    assert [one.name for one in choose((OWN, slow, quick), health, 0, probe_after_s=30).order[1:]] == ["slow", "quick"]


def test_weight_counts_more_than_latency():
    health = {HEAVY: Health(latency_ms=9000.0), LIGHT: Health(latency_ms=1.0)}
    assert names(health) == "own heavy light"


def test_one_that_failed_three_times_goes_last():
    assert names({OWN: Health(failures=2)}) == "own heavy light"
    assert names({OWN: ILL}) == "heavy light own"


def test_nobody_healthy_is_no_reason_to_ask_nobody():
    assert names(dict.fromkeys(ALL, ILL), now=1000.0) == "own heavy light"


def test_after_a_while_one_call_tries_it_first_and_only_one():
    assert names({OWN: ILL}, now=129.9) == "heavy light own"
    assert names({OWN: ILL}, now=130.0) == "own? heavy light"
    probed = ILL.probed(130.0)
    assert names({OWN: probed}, now=131.0) == "heavy light own"
    assert names({OWN: probed.failed(131.0)}, now=160.0) == "heavy light own"
    assert names({OWN: probed.failed(131.0)}, now=161.0) == "own? heavy light"


def test_one_answer_makes_it_healthy_again():
    assert ILL.answered(100.0) == Health(latency_ms=100.0)
    assert Health(latency_ms=100.0).answered(200.0).latency_ms == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("", set(ModelRole)),
        (" , ", set(ModelRole)),
        ("planner", {ModelRole.PLANNER}),
        ("Worker, reviewer,", {ModelRole.WORKER, ModelRole.REVIEWER}),
    ],
)
def test_roles_are_read(text: str, roles: set[ModelRole]):
    assert read_roles(text) == roles


def test_an_unknown_role_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"no role boss; write some of: planner, subplanner, worker"):
        read_roles("planner, boss")


def test_endpoints_of_two_teams_with_one_name_are_not_mixed_up():
    assert endpoint("a", id="x").place != endpoint("a", id="y").place

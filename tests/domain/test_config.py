"""A swarm's configuration: the seeds' defaults, and one sentence for everything that is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestration.domain.config import NOT_YET, Strategy, SwarmConfig, parse_config
from orchestration.domain.errors import InvalidInput

BOUNDS = {
    "max_subagents": (1, 1000),
    "max_steps_per_subagent": (1, 1000),
    "max_total_steps": (1, 1_000_000),
    "subagent_timeout_secs": (5, 86_400),
    "critical_path_threshold": (1, 100),
    "max_concurrent_requests": (1, 1000),
    "request_delay_ms": (0, 60_000),
    "max_retries": (0, 20),
    "max_delay_ms": (500, 3_600_000),
    "base_delay_ms": (0, 30_000),
    "budget_tokens": (1, 1_000_000_000_000),
}
LIMITS = [(name, bound) for name, bounds in BOUNDS.items() for bound in bounds]


def refused(given: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_config(given)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("Configuration: ")
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_the_defaults_are_those_of_the_contract():
    assert parse_config({}).model_dump(mode="json") == {
        "max_subagents": 100,
        "max_steps_per_subagent": 100,
        "max_total_steps": 1500,
        "subagent_timeout_secs": 600,
        "parallel_enabled": True,
        "critical_path_threshold": 10,
        "model": None,
        "agent": None,
        "max_concurrent_requests": None,
        "request_delay_ms": 1000,
        "working_dir": None,
        "max_retries": 3,
        "base_delay_ms": 500,
        "max_delay_ms": 30_000,
        "strategy": "automatic",
        "plan_approval": False,
        "gate": None,
        "landing": None,
        "cache": True,
        "budget_usd": None,
        "budget_tokens": None,
        "deadline": None,
    }


@pytest.mark.parametrize(("name", "value"), LIMITS)
def test_the_bounds_themselves_are_taken(name: str, value: int):
    assert getattr(parse_config({name: value}), name) == value


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("far", [-1, 10**13, 10**40])
def test_what_lies_outside_the_bounds_is_refused_by_name(name: str, far: int):
    assert name in refused({name: far})


@pytest.mark.parametrize(("name", "value"), LIMITS)
@pytest.mark.parametrize("step", [-1, 1])
def test_one_step_beyond_a_bound_is_refused(name: str, value: int, step: int):
    low, high = BOUNDS[name]
    if not low <= value + step <= high:
        refused({name: value + step})


@pytest.mark.parametrize("value", ["many", None, 1.5, [1], {"a": 1}, float("nan")])
def test_what_is_no_whole_number_is_refused(value: object):
    assert "max_subagents" in refused({"max_subagents": value})


@pytest.mark.parametrize("usd", [5, 0.1, "0.000001", 1_000_000])
def test_a_budget_in_dollars_is_kept_to_the_millionth(usd: object):
    config = parse_config({"budget_usd": usd})
    assert config.budget_usd == Decimal(str(usd))
    assert SwarmConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("usd", [0, -1, "0.0000001", 1_000_001, "much", float("nan"), float("inf")])
def test_what_is_no_budget_is_refused(usd: object):
    assert "budget_usd" in refused({"budget_usd": usd})


def test_a_deadline_has_a_zone():
    config = parse_config({"deadline": "2026-03-04T05:06:07+01:00"})
    assert config.deadline == datetime(2026, 3, 4, 4, 6, 7, tzinfo=UTC)
    assert SwarmConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("deadline", ["2026-03-04T05:06:07", "tomorrow", ""])
def test_what_is_no_moment_everywhere_is_refused(deadline: object):
    assert "deadline" in refused({"deadline": deadline})


def test_an_unknown_field_is_answered_with_the_known_ones():
    sentence = refused({"max_agents": 5})
    assert "max_agents is not known; the fields are " in sentence
    assert "max_subagents" in sentence


def test_the_name_of_an_unknown_field_is_not_repeated_for_ever():
    assert len(refused({"x" * 1_000_000: 1})) < 1000


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_a_field_of_a_later_version_is_told_apart_from_a_slip(name: str):
    assert refused({name: 1}) == f"Configuration: {name} cannot be set in this version; leave it out."


def test_all_later_fields_are_told_at_once():
    assert "collapse, review cannot be set" in refused({"collapse": {}, "review": "off", "max_subagents": 0})


def test_no_later_field_exists_already():
    assert NOT_YET.isdisjoint(SwarmConfig.model_fields)


def test_all_that_is_wrong_is_told_at_once():
    sentence = refused({"max_subagents": 0, "strategy": "luck"})
    assert "max_subagents" in sentence
    assert "strategy" in sentence
    assert "'by_domain'" in sentence


def test_a_first_delay_longer_than_the_longest_is_refused():
    sentence = refused({"base_delay_ms": 2000, "max_delay_ms": 1000})
    assert sentence == "Configuration: The first delay, base_delay_ms, must not exceed max_delay_ms."
    assert parse_config({"base_delay_ms": 1000, "max_delay_ms": 1000}).max_delay_ms == 1000


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_is_taken(strategy: Strategy):
    assert parse_config({"strategy": str(strategy)}).strategy is strategy


@pytest.mark.parametrize(
    ("given", "kept"), [("services/api", "services/api"), ("./services//api/", "services/api"), ("ünï", "ünï")]
)
def test_a_working_directory_is_kept_in_its_plain_form(given: str, kept: str):
    assert parse_config({"working_dir": given}).working_dir == kept


@pytest.mark.parametrize("path", ["", ".", "/", "/srv", "..", "../x", "a/../../b", "a\x00b", "a\nb"])
def test_a_working_directory_outside_the_repository_is_refused(path: str):
    assert "working_dir: write a sub-directory of the repository" in refused({"working_dir": path})


@pytest.mark.parametrize("model", ["a\x00b", "a\nb"])
def test_a_model_that_no_database_could_look_for_is_refused(model: str):
    assert "model: write it as endpoint/model" in refused({"model": model})


@pytest.mark.parametrize("name", ["model", "working_dir"])
def test_half_a_character_is_refused(name: str):
    assert f"{name}: input should be a valid string" in refused({name: "\ud83d"})


def test_it_cannot_be_changed_after_it_was_submitted():
    with pytest.raises(ValidationError):
        setattr(parse_config({}), "max_subagents", 3)  # noqa: B010 - what mypy refuses is tried


@pytest.mark.parametrize(("given", "slots"), [({}, 100), ({"max_subagents": 7}, 7), ({"parallel_enabled": False}, 1)])
def test_slots(given: dict[str, Any], slots: int):
    assert parse_config(given).slots == slots


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*SwarmConfig.model_fields, "other"]), JSON, max_size=4))
def test_anything_at_all_is_taken_or_refused_with_a_sentence_and_what_is_taken_can_be_stored(given: dict[str, Any]):
    with suppress(InvalidInput):
        config = parse_config(given)
        stored = json.dumps(config.model_dump(mode="json"), ensure_ascii=False).encode()
        assert parse_config(json.loads(stored)) == config

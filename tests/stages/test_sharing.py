"""Results between agents: one owner a key whoever else writes, limits that hold, and what dependents are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import Signal
from django.utils import timezone

from orchestration.adapters import secrets
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.redaction import REMOVED
from orchestration.domain.states import AttemptStatus, SubtaskStatus
from orchestration.models import Attempt, Event, SharedResult, Subtask, Swarm
from orchestration.stages import sharing
from orchestration.stages.execute import execute
from orchestration.stages.sharing import find, forget_expired, of_dependencies, share, tell
from orchestration.stages.transition import moves
from tests import factories
from tests.stages.world import Model, World, at_once, call, claimed, hand_off, says

WRITERS = 100


@pytest.fixture
def swarm() -> Swarm:
    return factories.make_swarm()


def agent(swarm: Swarm, name: str, **fields: Any) -> Attempt:
    """One at work on a subtask of its own."""
    return factories.make_attempt(factories.make_subtask(swarm, name=name, status="running", **fields))


def outdate(**which: Any) -> None:
    SharedResult.objects.filter(**which).update(expires_at=timezone.now() - timedelta(seconds=1))


def events(swarm: Swarm) -> list[dict[str, Any]]:
    return list(Event.objects.filter(swarm=swarm, kind="result.shared").values_list("facts", flat=True))


def test_a_result_is_there_for_everybody_with_its_schema_and_its_producer(swarm: Swarm):
    said = share(agent(swarm, "survey"), "api/users", {"port": 80, "hosts": ["a"]}, ["net", "net", "draft"])
    assert said == "Shared api/users (25 bytes). Everybody in this swarm can read it."
    row = SharedResult.objects.get()
    assert (row.subtask.name, row.attempt.number, row.size, row.version) == ("survey", 1, 25, 1)
    assert row.schema == {"type": "object", "properties": {"port": "integer", "hosts": "array"}}
    assert tell(swarm) == (
        "api/users (from survey; object {port: integer, hosts: array}, 25 bytes; tags net, draft)\n"
        '{"hosts":["a"],"port":80}'
    )
    assert events(swarm) == [{"key": "api/users", "name": "survey", "version": 1, "size": 25}]


def test_its_owner_writes_it_again_also_in_a_later_attempt(swarm: Swarm):
    first = agent(swarm, "survey")
    share(first, "api", 1, ["old"])
    assert "version 2" in share(first, "api", 2, [])
    with moves(swarm) as together:
        together.advance(first, AttemptStatus.LOST)
    share(factories.make_attempt(first.subtask), "api", [3], ["new"])
    row = SharedResult.objects.get()
    assert (row.value, row.tags, row.version, row.attempt.number) == ([3], ["new"], 3, 2)
    assert row.schema["type"] == "array"


def test_another_is_told_whose_it_is_and_changes_nothing(swarm: Swarm):
    share(agent(swarm, "survey"), "api", 1, [])
    with pytest.raises(InvalidInput, match=r"The key api belongs to survey, .* such as docs/api"):
        share(agent(swarm, "docs"), "api", 2, [])
    assert SharedResult.objects.get().value == 1
    assert len(events(swarm)) == 1


def test_the_same_key_in_another_swarm_is_another_result(swarm: Swarm):
    other = factories.make_swarm()
    share(agent(swarm, "survey"), "api", 1, [])
    share(agent(other, "survey"), "api", 2, [])
    assert [one.value for one in find(swarm)] == [1]
    assert [one.value for one in find(other)] == [2]


def race(attempts: list[Attempt], key: Callable[[int], str]) -> list[Any]:
    return at_once(*(partial(share, one, key(n), {"by": n}, []) for n, one in enumerate(attempts)))


def test_of_a_hundred_writers_exactly_one_owns_the_key(swarm: Swarm):
    attempts = [agent(swarm, f"writer-{n}") for n in range(WRITERS)]
    results = race(attempts, lambda _: "the-key")
    won = [n for n, said in enumerate(results) if isinstance(said, str)]
    row = SharedResult.objects.get()
    assert len(won) == 1
    assert (row.value, row.subtask, row.version) == ({"by": won[0]}, attempts[won[0]].subtask, 1)
    told = [str(said) for n, said in enumerate(results) if n != won[0]]
    assert all(f"The key the-key belongs to writer-{won[0]}," in said for said in told)
    assert [fact["name"] for fact in events(swarm)] == [f"writer-{won[0]}"]


def test_a_writer_that_looks_first_and_writes_then_steals(swarm: Swarm, monkeypatch: pytest.MonkeyPatch):
    """The control: without the condition in the statement, the last of several owners takes it."""

    def takes_it(subtask: Subtask, key: str, fields: dict[str, Any]) -> bool:
        return bool(SharedResult.objects.filter(swarm=subtask.swarm, key=key).update(**fields))

    share(agent(swarm, "survey"), "api", 1, [])
    monkeypatch.setattr(sharing, "_rewrite", takes_it)
    share(agent(swarm, "docs"), "api", 2, [])
    assert SharedResult.objects.get().subtask.name == "docs"


def test_an_expired_key_has_one_new_owner_whoever_wants_it(swarm: Swarm):
    share(agent(swarm, "survey"), "the-key", "old", [])
    outdate(key="the-key")
    results = race([agent(swarm, f"writer-{n}") for n in range(8)], lambda _: "the-key")
    won = [n for n, said in enumerate(results) if isinstance(said, str)]
    assert [SharedResult.objects.get().value] == [{"by": n} for n in won]


def test_what_is_expired_is_given_to_nobody_and_taken_away(swarm: Swarm):
    survey = agent(swarm, "survey")
    share(survey, "api", 1, [])
    share(survey, "name", 2, [])
    outdate(key="api")
    dependent = factories.make_subtask(swarm, name="docs", needs=[survey.subtask])
    assert [one.key for one in find(swarm)] == [one.key for one in of_dependencies(dependent)] == ["name"]
    forget_expired()
    assert [row.key for row in SharedResult.objects.all()] == ["name"]


def test_an_attempt_that_is_over_or_not_ours_shares_nothing(swarm: Swarm):
    straggler = agent(swarm, "survey")
    Attempt.objects.filter(pk=straggler.pk).update(lease_token="another worker's")
    with pytest.raises(AdapterError, match="taken over") as refused:
        share(straggler, "api", 1, [])
    assert refused.value.kind is Failure.CANCELLED
    assert not SharedResult.objects.exists()


def test_the_count_in_a_swarm_holds_under_many_writers(swarm: Swarm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sharing, "MAX_RESULTS", 5)
    attempts = [agent(swarm, f"writer-{n}") for n in range(12)]
    results = race(attempts, lambda n: f"key-{n}")
    assert SharedResult.objects.count() == len([said for said in results if isinstance(said, str)]) == 5
    assert {str(said) for said in results if isinstance(said, InvalidInput)} == {
        "The swarm has shared 5 results; no more are kept."
    }
    owner = SharedResult.objects.first()
    assert owner is not None
    assert "version 2" in share(owner.attempt, owner.key, "mine may still change", [])


def test_one_subtask_cannot_use_it_all_up(swarm: Swarm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sharing, "MAX_RESULTS_OF_SUBTASK", 2)
    greedy = agent(swarm, "greedy")
    share(greedy, "a", 1, [])
    share(greedy, "b", 1, [])
    with pytest.raises(InvalidInput, match="This subtask has shared 2 results"):
        share(greedy, "c", 1, [])
    share(agent(swarm, "modest"), "d", 1, [])
    assert [one.key for one in find(swarm)] == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("key", "value", "tags", "why"),
    [("a b", 1, [], "The key"), ("a", "x" * 25_000, [], "bytes as JSON"), ("a", 1, ["a b"], "The tag")],
)
def test_what_is_out_of_bounds_is_refused_and_leaves_nothing(
    swarm: Swarm, key: str, value: Any, tags: list[str], why: str
):
    with pytest.raises(InvalidInput, match=why):
        share(agent(swarm, "survey"), key, value, tags)
    assert not SharedResult.objects.exists()
    assert not events(swarm)


def test_secrets_are_taken_out_before_it_is_stored(swarm: Swarm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secrets, "_named", {"MAIN_KEY"})
    monkeypatch.setenv("MAIN_KEY", "sk-proj-0123456789abcdef")
    survey = agent(swarm, "survey")
    share(survey, "api", {"key": "Bearer sk-proj-0123456789abcdef", "sk-proj-0123456789abcdef": 1}, [])
    assert SharedResult.objects.get().value == {"key": f"Bearer {REMOVED}", REMOVED: 1}
    assert "sk-proj" not in str(SharedResult.objects.values())
    with pytest.raises(InvalidInput, match="The key"):
        share(survey, "sk-proj-0123456789abcdef", 1, [])


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({}, ["Api", "api/a", "api/b", "name"]),
        ({"key": "api/a"}, ["api/a"]),
        ({"prefix": "api/"}, ["api/a", "api/b"]),
        ({"prefix": "api"}, ["api/a", "api/b"]),
        ({"tags": ["x"]}, ["api/a", "name"]),
        ({"tags": ["x", "y"]}, ["api/a", "api/b", "name"]),
        ({"producer": "naming"}, ["Api", "name"]),
        ({"producer": "naming", "tags": ["x"]}, ["name"]),
        ({"key": "api/a", "tags": ["y"]}, []),
        ({"key": "none"}, []),
    ],
)
def test_results_are_found_by_key_prefix_tag_and_producer(swarm: Swarm, wanted: dict[str, Any], keys: list[str]):
    survey, naming = agent(swarm, "survey"), agent(swarm, "naming")
    share(survey, "api/a", 1, ["x"])
    share(survey, "api/b", 2, ["y"])
    share(naming, "name", 3, ["x"])
    share(naming, "Api", 4, [])
    assert [one.key for one in find(swarm, **wanted)] == keys


def test_who_finds_nothing_is_told_what_there_is(swarm: Swarm):
    assert tell(swarm, key="api") == "No shared result fits. Nothing has been shared yet."
    survey = agent(swarm, "survey")
    for n in range(21):
        share(survey, f"k{n:02}", n, [])
    assert tell(swarm, key="api").endswith("k18, k19 and more.")


def test_dependents_are_told_what_their_dependencies_and_the_parts_of_these_shared(swarm: Swarm):
    whole, other = agent(swarm, "whole"), agent(swarm, "other")
    part = agent(swarm, "part", parent=whole.subtask)
    for producer in (whole, part, other):
        share(producer, f"{producer.subtask.name}/api", 1, [])
    dependent = factories.make_subtask(swarm, name="docs", needs=[whole.subtask])
    assert [one.key for one in of_dependencies(dependent)] == ["part/api", "whole/api"]


@pytest.mark.sandbox
def test_agents_share_through_their_tools(world: World, model: Model):
    swarm = world.running()
    model.workers["survey"] = [
        says(call("share_result", key="port", value=8080, tags=["net"])),
        hand_off(summary="It listens on 8080."),
    ]
    model.workers["docs"] = [
        says(call("get_results", tags=["net"]), call("share_result", key="port", value=1)),
        hand_off(),
    ]
    survey = world.assigned(swarm, "survey", kind="research")
    execute(survey.pk)
    docs = world.assigned(swarm, "docs", kind="research")
    docs.subtask.dependencies.add(survey.subtask)
    execute(docs.pk)
    assert Subtask.objects.get(name="docs").status == SubtaskStatus.COMPLETE
    first, second = [request.messages for request in world.service.requests if request.subtask == "docs"]
    assert "port (from survey; integer, 4 bytes; tags net): 8080" in first[1]["content"]
    told = [message["content"] for message in second if message["role"] == "tool"]
    assert told[0] == "port (from survey; integer, 4 bytes; tags net)\n8080"
    assert told[1].startswith("Error: The key port belongs to survey, which shared it first;")


@contextmanager
def listening(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@pytest.mark.sandbox
def test_several_looks_of_one_answer_read_the_database_at_once_and_leave_no_connection(world: World, model: Model):
    swarm, opened = world.running(), []
    for number in range(4):
        share(claimed(world.assigned(swarm, f"survey-{number}")), f"found/{number}", number, [])
    looks = [call("get_results", key=f"found/{number}") for number in range(4)]
    model.workers["docs"] = [says(*looks), hand_off()]
    docs = world.assigned(swarm, "docs", kind="research")

    def note(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if threading.current_thread().name == "tool call":
            opened.append(connection)

    with listening(connection_created, note):
        execute(docs.pk)
    told = [message["content"] for message in world.service.requests[-1].messages if message["role"] == "tool"]
    assert [text.split("\n")[-1] for text in told] == ["0", "1", "2", "3"]
    assert opened
    assert [one.connection for one in opened] == [None] * len(opened)


def test_a_claimed_attempt_may_share(world: World):
    """The lease that a worker holds is the one that is asked for."""
    attempt = claimed(world.assigned(world.running()))
    assert share(attempt, "api", 1, []).startswith("Shared api")

"""While somebody looks, an answer is shown as it grows, clean; while nobody does, nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from orchestration.adapters import live, onlookers
from orchestration.adapters.llm import waiting
from orchestration.demo.service import Answer
from orchestration.domain.events import draft_group
from orchestration.models import Attempt, Step
from orchestration.stages import aloud
from orchestration.stages.execute import execute
from tests.stages.gateway_rig import Lines, opened
from tests.stages.world import Model, World, call, hand_off

KEY = "sk-planted-0123456789abcdef"
TALK = "I look at the parser first."


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """What went out to pages."""
    sent: list[tuple[str, int, str]] = []
    monkeypatch.setattr(live, "say", lambda *message: sent.append(message))
    monkeypatch.setattr(waiting, "TEXT_EVERY_S", 0.0)
    return sent


def attempt_of(world: World, model: Model, text: str = TALK) -> Attempt:
    talk = Answer(text, calls=(call("write_file", path="one.txt", content="1"),), chunks=6, pace_s=0.01)
    model.workers["one"] = [talk, hand_off()]
    return world.assigned(world.running())


@pytest.fixture
def looked_at() -> Iterator[list[Attempt]]:
    """Put an attempt in, and somebody looks at it."""
    seen: list[Attempt] = []
    yield seen
    for attempt in seen:
        aloud.depart(attempt.subtask.public_id)


def look_at(attempt: Attempt, looked_at: list[Attempt]) -> None:
    aloud.attend(attempt.subtask.public_id)
    looked_at.append(attempt)


def test_whoever_looks_sees_it_grow_until_it_is_in_the_transcript(
    world: World, model: Model, said: list[Any], looked_at: list[Attempt], monkeypatch: pytest.MonkeyPatch
):
    attempt = attempt_of(world, model)
    look_at(attempt, looked_at)
    written: list[int] = []
    monkeypatch.setattr(live, "say", lambda *message: (said.append(message), written.append(Step.objects.count())))
    execute(attempt.pk)
    assert {(group, number) for group, number, _ in said} == {(draft_group(attempt.subtask.public_id), 1)}
    texts = [text for *_, text in said]
    assert all(TALK.startswith(text) for text in texts)
    assert texts[-2:] == [TALK, ""]
    assert (written[0], written[-1]) == (0, 1), "its end is told when the step is there"


def test_nobody_looks_and_nothing_is_sent(world: World, model: Model, said: list[Any]):
    execute(attempt_of(world, model).pk)
    assert said == []


def test_somebody_looks_at_another_subtask(world: World, model: Model, said: list[Any], looked_at: list[Attempt]):
    attempt = attempt_of(world, model)
    look_at(world.assigned(attempt.subtask.swarm, "two"), looked_at)
    execute(attempt.pk)
    assert said == []


def test_no_piece_of_a_key_is_shown(
    world: World, model: Model, said: list[Any], looked_at: list[Attempt], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SWARM_TEST_MODEL_KEY", KEY)
    attempt = attempt_of(world, model, f"It is {KEY}, I think.")
    look_at(attempt, looked_at)
    execute(attempt.pk)
    assert any("[secret removed], I think." in text for *_, text in said)
    assert not [text for *_, text in said if "sk-p" in text or "abcdef" in text]


def test_an_answer_that_fails_is_taken_away_at_the_end(
    world: World, model: Model, said: list[Any], looked_at: list[Attempt]
):
    attempt = world.assigned(world.running(max_retries=0))
    model.workers["one"] = [Answer(TALK, fault="half_stream", chunks=6)]
    look_at(attempt, looked_at)
    execute(attempt.pk)
    assert [text for *_, text in said][-1:] in ([""], []), "what was begun is ended"
    assert Attempt.objects.get().status == "failed"


def test_an_agent_that_is_not_ours_is_shown_as_well(world: World, said: list[Any], looked_at: list[Attempt]):
    with opened(world, Lines(Answer(TALK, chunks=6)), network=True) as office:
        office.post()
        assert said == []
        look_at(office.attempt, looked_at)
        office.post()
    assert [text for *_, text in said][-2:] == [TALK, ""]


# --- several processes ------------------------------------------------------------------------------------------


def test_other_processes_learn_of_it_by_the_shared_cache(settings: Settings, tmp_path: Any):
    """Any cache that is not this process's own; a file's stands for Redis."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    }
    name = draft_group("elsewhere")
    assert not onlookers.anybody(name)
    onlookers._heard.clear()  # what it believes for a moment
    onlookers._said.clear()
    onlookers.stay(name)  # as the other process does
    assert onlookers.anybody(name)
    cache.clear()
    assert onlookers.anybody(name), "believed for a moment: the cache is not asked for every piece"
    onlookers._heard.clear()
    assert not onlookers.anybody(name)

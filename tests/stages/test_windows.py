"""A model with a small window: a planner begins anew in time, and agents of other makes are cut to fit."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.models import ModelEndpoint, PlanIteration
from orchestration.stages.plan import plan
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, opened
from tests.stages.world import Model, World, hand_offs, planned, task
from tests.strict import complaint

WINDOW = 8000


def chat(turns: int) -> list[dict[str, Any]]:
    """A conversation in the shape of Chat Completions."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend the parser."}]
    for number in range(turns):
        call = {"id": f"c{number}", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": f"{number}: " + "word " * 200})
    return messages


def blocks(turns: int) -> list[dict[str, Any]]:
    """The same in the shape of Messages."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend the parser."}]
    for number in range(turns):
        use = {"type": "tool_use", "id": f"c{number}", "name": "look", "input": {"at": 1}}
        result = {"type": "tool_result", "tool_use_id": f"c{number}", "content": f"{number}: " + "word " * 200}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return messages


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(("path", "messages"), [(CHAT, chat(60)), (MESSAGES, blocks(60))], ids=["chat", "messages"])
def test_what_an_agent_sends_through_the_gateway_is_cut_to_fit(
    world: World, kind: str, path: str, messages: list[dict[str, Any]]
):
    world.endpoint.context_window = WINDOW
    with opened(world, Lines(Answer("Good.")), kind=kind) as office:
        assert office.post(path, messages=messages).status_code == 200
        (request,) = office.service.requests
        assert complaint(kind, request.body) == ""
        assert len(str(request.body)) < 3 * WINDOW < len(str(messages))
        assert request.first_text.startswith("Mend the parser.")
        assert "59: word" in str(request.messages[-1])


@pytest.mark.parametrize(("window", "begins_anew"), [(WINDOW, True), (None, False)])
def test_a_planner_begins_anew_before_its_window_is_full(
    world: World, model: Model, window: int | None, *, begins_anew: bool
):
    ModelEndpoint.objects.filter(pk=world.endpoint.pk).update(context_window=window)
    notes = "Plan: " + "word " * 3000
    model.plans = [planned(task(name), done=False, scratchpad=notes) for name in ("one", "two")]
    swarm = world.submit()
    plan(swarm.pk)
    hand_offs(swarm, 3)
    plan(swarm.pk)
    first, again = world.service.requests
    assert PlanIteration.objects.count() == 2
    assert again.turns == (0 if begins_anew else 1)
    assert ("Your scratchpads of earlier iterations" in again.first_text) is begins_anew
    assert first.first_text.splitlines()[0] == again.first_text.splitlines()[0] == f"swarm: {swarm.public_id}"

"""An agent that is not ours asks models through a token of its attempt, within the attempt's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.conversation import Usage
from orchestration.models import ModelCall, Step
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, anthropic_client, openai_client, opened

KINDS = pytest.mark.parametrize("kind", ["openai", "anthropic"])
TOOL = {"name": "read", "description": "Reads.", "parameters": {"type": "object", "properties": {"path": {}}}}
CALLS = (("read", {"path": "a.txt"}), ("read", {"path": "b é.txt"}))


@KINDS
@pytest.mark.any_database
@pytest.mark.parametrize("stream", [False, True])
def test_an_openai_client_is_answered_by_either_kind(world, kind, stream):
    answer = Answer("I read it.", CALLS, usage=Usage(120, 30, 20))
    with opened(world, Lines(answer), kind=kind, network=True) as office:
        with openai_client(office.access) as client:
            asked: dict[str, Any] = {
                "model": "gpt-of-theirs",
                "messages": [{"role": "system", "content": "Work."}, {"role": "user", "content": "Mend it."}],
                "tools": [{"type": "function", "function": TOOL}],
            }
            if stream:
                with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                    for _ in events:
                        continue
                    done = events.get_final_completion()
            else:
                done = client.chat.completions.create(**asked)
        [choice] = done.choices
        assert choice.message.content == "I read it."
        assert choice.finish_reason == "tool_calls"
        assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == [one for _, one in CALLS]
        assert len({call.id for call in choice.message.tool_calls}) == 2
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (120, 30)
        assert done.usage.prompt_tokens_details.cached_tokens == 20
        assert done.model == "real-1"
        assert office.service.requests[0].model == "real-1"
        assert office.service.requests[0].tools == ("read",)


@KINDS
@pytest.mark.any_database
@pytest.mark.parametrize("stream", [False, True])
def test_an_anthropic_client_is_answered_by_either_kind(world, kind, stream):
    answer = Answer("I read it.", CALLS, usage=Usage(120, 30, 20))
    with opened(world, Lines(answer), kind=kind, network=True) as office, anthropic_client(office.access) as client:
        asked: dict[str, Any] = {
            "model": "claude-of-theirs",
            "max_tokens": 500,
            "system": [{"type": "text", "text": "Work.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "Mend it."}],
            "tools": [{"name": "read", "description": "Reads.", "input_schema": TOOL["parameters"]}],
        }
        if stream:
            with client.messages.stream(**asked) as events:
                done = events.get_final_message()
        else:
            done = client.messages.create(**asked)
        said, *uses = done.content
        assert said.text == "I read it."
        assert [use.input for use in uses] == [one for _, one in CALLS]
        assert len({use.id for use in uses}) == 2
        assert done.stop_reason == "tool_use"
        usage = done.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (100, 20, 30)
        assert done.model == "real-1"


def test_a_call_is_booked_on_the_attempt_as_a_workers(world):
    with opened(world, Lines(Answer("Done.", CALLS, usage=Usage(100, 20)))) as office:
        assert office.post(CHAT).status_code == 200
        attempt, [call] = office.fresh(), ModelCall.objects.all()
        assert (attempt.steps, attempt.tool_calls, attempt.tokens, attempt.reserved_steps) == (1, 2, 120, 0)
        assert (call.purpose, call.attempt_id, call.endpoint_id) == ("worker", attempt.pk, world.endpoint.pk)
        assert (office.swarm().tokens, office.swarm().tool_calls) == (120, 2)
        assert [step.text for step in Step.objects.all()] == ["Done."]
        assert office.post(MESSAGES).status_code == 200
        assert office.fresh().steps == 2

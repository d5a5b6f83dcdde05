"""Responses: a whole conversation comes with each request, and every item of the answer is told as it should be."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from orchestration.adapters.serving.responses import FREEFORM, Responses
from orchestration.adapters.serving.shape import Question
from orchestration.domain.conversation import Message, ToolCall, ToolSpec
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from tests.adapters.serving.rig import TOKEN, Caller, reply, served

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
READ = {"type": "function", "name": "read", "description": "Reads.", "parameters": SCHEMA, "strict": False}
PATCH = {"type": "custom", "name": "patch", "description": "Patches.", "format": {"type": "grammar", "definition": "x"}}


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def asked(*items: dict[str, Any], **body: Any) -> Question:
    return Responses().question({"input": list(items), **body})


def test_a_conversation_as_coding_agents_send_it():
    question = asked(
        item("message", role="developer", content=[{"type": "input_text", "text": "Be brief."}]),
        {"role": "user", "content": "Mend it."},
        item("reasoning", summary=[], encrypted_content="x"),
        item("message", role="assistant", content=[{"type": "output_text", "text": "I read.", "annotations": []}]),
        item("function_call", call_id="c1", name="read", arguments='{"path": "a"}'),
        item("custom_tool_call", call_id="c2", name="patch", input="*** Begin"),
        item("function_call_output", call_id="c1", output="the file"),
        item("custom_tool_call_output", call_id="c2", output=[{"type": "input_text", "text": "Done."}]),
        instructions="You are an agent.",
        tools=[READ, PATCH, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "read"},
        max_output_tokens=70,
        store=False,
        include=["reasoning.encrypted_content"],
        reasoning={"effort": "high"},
    )
    calls = (ToolCall("c1", "read", '{"path": "a"}'), ToolCall("c2", "patch", '{"input": "*** Begin"}'))
    assert question.messages == (
        Message("system", "You are an agent."),
        Message("system", "Be brief."),
        Message("user", "Mend it."),
        Message("assistant", "I read.", calls),
        Message("tool", "the file", tool_call_id="c1"),
        Message("tool", "Done.", tool_call_id="c2"),
    )
    assert question.tools == (ToolSpec("read", "Reads.", SCHEMA), ToolSpec("patch", "Patches.\nx", FREEFORM))
    assert (question.tool_choice, question.max_output_tokens) == ("read", 70)
    assert question.freeform == {"patch"}
    assert Responses().question({"input": "Hi."}).messages == (Message("user", "Hi."),)


def test_tools_in_a_namespace_are_joined_for_the_service_and_parted_for_the_client():
    """As Codex offers the tools of a server that it was given."""
    space = {"type": "namespace", "name": "mcp__house", "description": "Ours.", "tools": [READ, {"type": "other"}]}
    earlier = item("function_call", call_id="c1", name="read", namespace="mcp__house", arguments="{}")
    said = item("function_call_output", call_id="c1", output="x")
    question = asked({"role": "user", "content": "Mend it."}, earlier, said, tools=[READ, space])
    assert [tool.name for tool in question.tools] == ["read", "mcp__house__read"]
    assert question.tools[1].parameters == SCHEMA
    assert question.messages[1].tool_calls[0].name == "mcp__house__read"
    called = reply("", ToolCall("c2", "mcp__house__read", '{"path": "b"}'), ToolCall("c3", "read", "{}"))
    spaced, plain = Responses().answer(question, called)["output"]
    assert (spaced["namespace"], spaced["name"], spaced["call_id"]) == ("mcp__house", "read", "c2")
    assert ("namespace" in plain, plain["name"]) == (False, "read")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "has no input"),
        ({"input": []}, "has no input"),
        ({"input": "x", "previous_response_id": "resp_1"}, "keeps no responses"),
        ({"input": "x", "conversation": "c"}, "keeps no responses"),
        ({"input": [item("message", role="robot", content="x")]}, "the role 'robot'"),
        ({"input": [item("item_reference", id="x")]}, "the type 'item_reference'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "does not stand in the request"),
        ({"input": [item("function_call", name="x", arguments="")]}, "A call has no call_id."),
        ({"input": [item("function_call_output", output="x")]}, "has no call_id"),
    ],
)
def test_what_cannot_be_carried_is_refused_in_a_sentence(body, why):
    with pytest.raises(InvalidInput, match=why):
        Responses().question(body)


def client_at(base_url: object) -> Any:
    return openai.OpenAI(api_key=TOKEN, base_url=f"{base_url}/openai/v1", max_retries=0)


CALLS = (ToolCall("c1", "read", '{"path": "é"}'), ToolCall("c2", "patch", json.dumps({"input": "*** Begin\n"})))


def test_the_real_client_reads_a_whole_answer():
    with served(Caller(says=lambda _: reply("I see.", *CALLS))) as http, client_at(http.base_url) as client:
        answer = client.responses.create(model="m", input="Go.", tools=[READ, PATCH])
    said, function, custom = answer.output
    assert (answer.status, answer.output_text, said.role) == ("completed", "I see.", "assistant")
    assert (function.call_id, json.loads(function.arguments)) == ("c1", {"path": "é"})
    assert (custom.type, custom.call_id, custom.input) == ("custom_tool_call", "c2", "*** Begin\n")
    assert (answer.usage.input_tokens, answer.usage.input_tokens_details.cached_tokens) == (12, 2)
    assert answer.usage.total_tokens == 15


def test_the_real_client_puts_a_stream_together():
    long = "word " * 1000
    with (
        served(Caller(says=lambda _: reply(long, *CALLS))) as http,
        client_at(http.base_url) as client,
        client.responses.stream(model="m", input="Go.", tools=[READ, PATCH]) as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == long
    assert [one.type for one in final.output] == ["message", "function_call", "custom_tool_call"]
    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == long
    assert [one.sequence_number for one in events if hasattr(one, "sequence_number")] == list(range(len(events)))
    kinds = [one.type for one in events]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_an_answer_that_was_cut_off_says_so():
    question = Responses().question({"input": "x"})
    whole = Responses().answer(question, reply("half", finish="length"))
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert b"event: response.incomplete" in b"".join(Responses().events(question, reply("x", finish="length")))


def test_an_answer_of_nothing_is_a_message():
    whole = Responses().answer(Responses().question({"input": "x"}), reply(""))
    assert [one["type"] for one in whole["output"]] == ["message"]


def test_what_fails_after_the_stream_began_ends_it_as_failed():
    caller = Caller(waits=True)

    def fail(_: Question) -> Any:
        raise AdapterError(Failure.TRANSIENT, "house is overloaded.")

    caller.says = fail
    body = {"input": "x", "stream": True}
    with (
        served(caller, keep_alive_s=0.02) as client,
        client.stream("POST", "/openai/v1/responses", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        caller.go.set()
        told = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert told[-1]["type"] == "response.failed"
    assert told[-1]["response"]["error"] == {"code": "overloaded", "message": "house is overloaded."}


def test_what_fails_before_has_its_status():
    with served(Caller()) as client:
        refused = client.post("/openai/v1/responses", json={"input": []})
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "The request has no input.")
        assert client.get("/openai/v1/responses").status_code == 405
        assert client.get("/openai/v1/responses/resp_1").status_code == 404

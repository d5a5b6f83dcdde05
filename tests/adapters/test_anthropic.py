"""The Messages wire: what is sent for a history, and what is read from events, whole bodies and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from orchestration.adapters.llm.anthropic import Anthropic
from orchestration.adapters.llm.failures import Busy, ContentRefused, ContextTooLong, RequestRefused
from orchestration.adapters.llm.keys import Key
from orchestration.adapters.llm.messages_draft import MessagesDraft
from orchestration.adapters.llm.pool import ManyPools
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolCall, ToolSpec, Usage
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.windows import LONGEST_ANSWER

SECRET = "sk-ant-very-secret-value"
SYSTEM = Message("system", "You work.")
TASK = Message("user", "swarm: s1\nsubtask: one\nDo it.")
GREP = ToolSpec("grep", "Search.", {"type": "object", "properties": {"pattern": {"type": "string"}}})
READ = ToolSpec("read_file", "Read.", {"type": "object"})
CACHED = {"cache_control": {"type": "ephemeral"}}


def endpoint(base_url: str = "http://127.0.0.1:1") -> Endpoint:
    return Endpoint("main", "anthropic", base_url, "m-1", key_env="MAIN_KEY", loopback=True)


def encode(*messages: Message, tools: Sequence[ToolSpec] = (), **options: Any) -> dict[str, Any]:
    options = {"tool_choice": None, "max_output_tokens": None} | options
    value: dict[str, Any] = orjson.loads(Anthropic().encode(endpoint(), messages, tools, **options))
    return value


def calls(*calls: tuple[str, str], text: str = "") -> Message:
    return Message("assistant", text, tuple(ToolCall(id_, "grep", arguments) for id_, arguments in calls))


def result(id_: str, text: str) -> Message:
    return Message("tool", text, tool_call_id=id_)


def shape(body: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(turn["role"], [block["type"] for block in turn["content"]]) for turn in body["messages"]]


# What is sent


def test_the_system_prompt_stands_apart_and_a_limit_is_always_told():
    body = encode(SYSTEM, TASK)
    assert body["system"] == [{"type": "text", "text": "You work.", **CACHED}]
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m-1", LONGEST_ANSWER, True)
    assert encode(TASK, max_output_tokens=99)["max_tokens"] == 99
    assert "system" not in encode(TASK)


def test_tools_and_choices():
    body = encode(TASK, tools=[GREP, READ], tool_choice="required")
    assert body["tools"][0] == {"name": "grep", "description": "Search.", "input_schema": GREP.parameters}
    assert body["tool_choice"] == {"type": "any"}
    assert encode(TASK, tools=[GREP], tool_choice="grep")["tool_choice"] == {"type": "tool", "name": "grep"}
    assert "tool_choice" not in encode(TASK, tool_choice="required")


def test_what_stays_the_same_is_marked_for_the_cache():
    body = encode(SYSTEM, TASK, calls(("a", "{}")), result("a", "found"), tools=[GREP, READ])
    assert "cache_control" not in body["tools"][0]
    assert body["tools"][1]["cache_control"] == body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert json.dumps(body).count("cache_control") == 3


def test_all_results_of_one_turn_are_one_message_before_what_is_said():
    body = encode(TASK, calls(("a", "{}"), ("b", "{}"), text="Looking."), result("a", "1"), result("b", ""), TASK)
    assert shape(body) == [
        ("user", ["text"]),
        ("assistant", ["text", "tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "text"]),
    ]
    assert [block.get("tool_use_id") for block in body["messages"][2]["content"]] == ["a", "b", None]


def test_roles_alternate_and_no_text_is_empty():
    said = Message("assistant", " \n"), Message("assistant", "one"), Message("assistant", "two")
    body = encode(SYSTEM, TASK, Message("user", ""), Message("user", "more"), *said, TASK)
    assert shape(body) == [("user", ["text", "text"]), ("assistant", ["text", "text"]), ("user", ["text"])]


def test_arguments_are_always_an_object():
    body = encode(TASK, calls(("a", '{"pattern": "x"}'), ("b", "{broken"), ("c", "")))
    assert [block["input"] for block in body["messages"][1]["content"]] == [
        {"pattern": "x"},
        {"not_json": "{broken"},
        {},
    ]


def test_ids_of_other_services_become_ones_that_are_accepted_and_used_once():
    turn = [calls(("functions.grep:0", "{}"), ("call_0", "{}")), result("functions.grep:0", "1"), result("call_0", "2")]
    body = encode(TASK, *turn, *turn)
    made = [block["id"] for turn in body["messages"][1::2] for block in turn["content"]]
    answered = [block["tool_use_id"] for turn in body["messages"][2::2] for block in turn["content"]]
    assert made == answered
    assert len(set(made)) == 4
    assert all(id_.replace("_", "").isalnum() for id_ in made)
    assert made[1] == "call_0"


def test_half_a_surrogate_pair_can_be_sent():
    assert encode(Message("user", "a\ud800b"))["messages"][0]["content"][0]["text"] == "a?b"


# What is read


class Asker:
    def __init__(self) -> None:
        self.answer = Answer("hello")
        self.service = ScriptedService(lambda _: self.answer)
        self.pools = ManyPools()
        self.progress: list[int] = []

    async def ask(self, *, base_url: str = "", provider: Anthropic | None = None) -> Reply:
        provider = provider or Anthropic()
        to = endpoint(base_url or self.service.base_url.removesuffix("/v1"))
        body = provider.encode(to, [SYSTEM, TASK], [GREP], tool_choice=None, max_output_tokens=None)
        return await provider.complete(self.pools, to, Key(SECRET), body, on_progress=self.progress.append)

    async def refused(self, **options: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            await self.ask(**options)
        assert SECRET not in repr(caught.value)
        assert str(caught.value).endswith(".")
        return caught.value


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    asker = Asker()
    yield asker
    await asker.pools.aclose()
    asker.service.close()


@pytest.mark.parametrize("fault", [None, "no_stream"])
async def test_a_reply_with_text_calls_and_usage(asker: Asker, fault: Any):
    grep = ("grep", {"pattern": "ä" * 20})
    asker.answer = Answer("Looking.", calls=(grep, ("read_file", {})), usage=Usage(100, 7, 60), fault=fault)
    reply = await asker.ask()
    assert (reply.text, reply.finish_reason, reply.usage) == ("Looking.", "tool_calls", Usage(100, 7, 60))
    assert [(call.name, json.loads(call.arguments or "{}")) for call in reply.tool_calls] == [grep, ("read_file", {})]
    assert len({call.id for call in reply.tool_calls}) == 2


async def test_the_request_carries_key_and_version_and_is_understood_by_scripts(asker: Asker):
    await asker.ask()
    (seen,) = asker.service.requests
    assert (seen.kind, seen.swarm, seen.subtask, seen.tools) == ("anthropic", "s1", "one", ("grep",))
    assert (seen.authorization, asker.progress[-1]) == (SECRET, 5)


async def test_the_base_url_may_name_the_version(asker: Asker):
    assert (await asker.ask(base_url=asker.service.base_url)).text == "hello"


@pytest.mark.parametrize(
    ("said", "finish"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("stop_sequence", "stop")],
)
async def test_how_an_answer_ended(asker: Asker, said: str, finish: str):
    asker.answer = Answer("words", finish_reason=said)
    assert (await asker.ask()).finish_reason == finish


async def test_without_a_count_the_tokens_are_estimated(asker: Asker):
    asker.answer = Answer("12345678", fault="no_usage")
    usage = (await asker.ask()).usage
    assert (usage.output_tokens, usage.estimated) == (2, True)


async def test_tokens_written_to_the_cache_are_input_too():
    draft = MessagesDraft()
    counted = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60}
    draft.take({"type": "message_start", "message": {"usage": counted}})
    draft.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
    assert draft.usage(0) == Usage(95, 9, 60)


def test_thinking_counts_as_progress_and_is_not_kept():
    draft = MessagesDraft()
    draft.take({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}})
    draft.take({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}})
    draft.take({"type": "ping"})
    draft.take({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Yes"}})
    draft.take({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "."}})
    assert (draft.text(), draft.size, draft.calls()) == ("Yes.", 6, ())


# What goes wrong


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (401, {"type": "authentication_error"}, Failure.PERMANENT, "refused the key in $MAIN_KEY (401"),
        (403, {"type": "permission_error"}, Failure.PERMANENT, "refused the key in $MAIN_KEY (403"),
        (404, {"type": "not_found_error"}, Failure.PERMANENT, "knows no model m-1 at /v1/messages (404"),
        (400, {"message": "Your credit balance is too low."}, Failure.BUDGET, "has no credit left (400"),
        (402, {"type": "billing_error"}, Failure.BUDGET, "has no credit left (402"),
        (429, {"type": "rate_limit_error"}, Failure.TRANSIENT, "asks for fewer requests (429"),
        (529, {"type": "overloaded_error"}, Failure.TRANSIENT, "is overloaded or broken (529"),
        (500, {"type": "api_error"}, Failure.TRANSIENT, "is overloaded or broken (500"),
    ],
)
async def test_statuses_are_told_apart(asker: Asker, status: int, error: dict[str, Any], kind: Failure, words: str):
    asker.answer = Answer(status=status, error=error)
    refused = await asker.refused()
    assert (refused.kind, words in str(refused)) == (kind, True), refused
    assert not isinstance(refused, RequestRefused)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, ContextTooLong),
        (400, {"message": "input length and `max_tokens` exceed context limit: 190 + 20 > 200"}, ContextTooLong),
        (413, {"type": "request_too_large"}, ContextTooLong),
        (400, {"type": "content_filter", "message": "no"}, ContentRefused),
        (400, {"message": "messages: roles must alternate"}, RequestRefused),
    ],
)
async def test_faults_of_the_request_itself(asker: Asker, status: int, error: dict[str, Any], kind: type[AdapterError]):
    asker.answer = Answer(status=status, error=error)
    assert type(await asker.refused()) is kind


@pytest.mark.parametrize(("kind", "limited"), [("rate_limit_error", True), ("overloaded_error", False)])
async def test_an_error_event_in_the_middle(asker: Asker, kind: str, limited: bool):
    asker.answer = Answer("long", error={"type": kind, "message": "busy"}, fault="error_event")
    refused = await asker.refused()
    assert isinstance(refused, Busy)
    assert refused.rate_limited is limited


@pytest.mark.parametrize("fault", ["drop", "half_stream", "bad_event", "stall"])
async def test_half_an_answer_is_none(asker: Asker, fault: Any):
    asker.answer = Answer("a long answer", fault=fault)
    assert (await asker.refused(provider=Anthropic(idle_timeout_s=0.05))).transient


async def test_a_quoted_key_is_hidden(asker: Asker):
    asker.answer = Answer(status=401, error={"message": f"invalid x-api-key {SECRET}"})
    assert "[key]" in str(await asker.refused())

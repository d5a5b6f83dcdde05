"""What an agent gets to see of a model's answer: no secret, no half of one, and the truth about what went wrong."""

from __future__ import annotations

from base64 import b64encode

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.errors import AdapterError, Failure
from orchestration.models import Step
from orchestration.stages.forward import LONGEST_ANSWER
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, openai_client, opened

pytestmark = pytest.mark.any_database
KEY = "sk-planted-0123456789abcdef"
ENCODED = b64encode(KEY.encode()).decode()
REFUSED = Answer(status=400, error={"message": f"bad request of {KEY}"})


@pytest.fixture
def key(monkeypatch, world):
    monkeypatch.setenv("SWARM_TEST_MODEL_KEY", KEY)
    world.endpoint.key_env = "SWARM_TEST_MODEL_KEY"


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_key_that_the_model_echoes_does_not_reach_the_agent(world, key, kind, path, stream):
    echo = Answer(f"It is {KEY}, or {ENCODED}.", (("write", {"text": KEY, "other": ENCODED}),), chunks=30)
    with opened(world, Lines(echo), kind=kind) as office:
        said = office.post(path, stream=stream).text
        assert "[secret removed]" in said
        assert KEY not in said
        assert ENCODED[:24] not in said
        assert KEY not in Step.objects.get().text
        sent = office.service.requests[0]
        assert KEY in sent.authorization or sent.kind == "anthropic"  # the control: the service had it to echo


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_nor_does_one_that_the_service_quotes_in_an_error(world, key, path):
    with opened(world, Lines(REFUSED)) as office:
        refused = office.post(path)
        assert refused.status_code == 400
        assert "bad request of" in refused.text
        assert KEY not in refused.text
        assert not office.access.stop.is_set


def test_an_agent_that_has_the_key_cannot_send_it_on(world, key):
    with opened(world, Lines(Answer("Yes."))) as office:
        office.post(messages=[{"role": "user", "content": f"I found {KEY}."}])
        assert office.service.requests[0].last_text == "I found [secret removed]."


def test_an_endpoint_that_refuses_our_key_ends_the_attempt_with_the_reason(world):
    with opened(world, Lines(Answer(status=401, error={"message": "who are you"}))) as office:
        refused = office.post()
        assert (refused.status_code, refused.headers["x-should-retry"]) == (502, "false")
        with pytest.raises(AdapterError, match="refused a request without a key") as ended:
            office.access.stop.check()
        assert ended.value.kind is Failure.PERMANENT


def test_an_endpoint_without_credit_ends_it_as_well(world):
    broke = Answer(status=429, error={"code": "insufficient_quota", "message": "no money"})
    with opened(world, Lines(broke)) as office:
        assert office.post().json()["error"]["code"] == "insufficient_quota"
        with pytest.raises(AdapterError, match="has no credit left") as ended:
            office.access.stop.check()
        assert ended.value.kind is Failure.BUDGET


def test_a_bad_moment_of_the_service_is_tried_again_before_the_agent_hears_of_it(world):
    with opened(world, Lines(Answer(status=503), Answer(fault="half_stream"), Answer("Whole."))) as office:
        assert office.post().json()["choices"][0]["message"]["content"] == "Whole."
        assert (office.service.total, office.fresh().steps) == (3, 1)


def test_a_service_that_stays_down_is_told_as_such_and_ends_nothing(world):
    with opened(world, Lines(Answer(status=503)), max_retries=1) as office:
        for path, status in ((CHAT, 503), (MESSAGES, 529)):
            refused = office.post(path)
            assert (refused.status_code, refused.headers["x-should-retry"]) == (status, "true")
        assert not office.access.stop.is_set
        assert (office.fresh().steps, office.fresh().reserved_steps) == (0, 0)


def test_when_the_attempts_time_is_used_up_the_agent_is_stopped(world):
    with opened(world, Lines(Answer("Never.", held="for ever")), seconds=0.3) as office:
        assert office.post().status_code == 503
        assert office.post().status_code == 503
        with pytest.raises(AdapterError, match=r"time limit of 0\.3 s is used up"):
            office.access.stop.check()


@pytest.mark.parametrize(
    ("kind", "asked", "sent"),
    [
        ("openai", 100, 100),
        ("openai", 200_000, None),
        ("openai", None, None),
        ("anthropic", 100, 100),
        ("anthropic", 200_000, LONGEST_ANSWER),
    ],
)
def test_an_answers_limit_is_carried_where_every_model_accepts_it(world, kind, asked, sent):
    with opened(world, Lines(), kind=kind) as office:
        assert office.post(max_tokens=asked).status_code == 200
        assert office.service.requests[0].body.get("max_tokens") == sent


def test_a_conversation_goes_on_over_both_kinds(world):
    """Ids of calls come back as they were given, and the results reach the service beside them."""
    read = Answer("", (("read", {"path": "a"}),))
    with opened(world, Lines(read, Answer("It says x.")), kind="anthropic", network=True) as office:
        tool = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}
        with openai_client(office.access) as client:
            said = [{"role": "user", "content": "Read a."}]
            first = client.chat.completions.create(model="m", messages=said, tools=[tool]).choices[0].message
            result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "x"}
            said += [first.model_dump(exclude_none=True), result]
            second = client.chat.completions.create(model="m", messages=said, tools=[tool]).choices[0].message
        assert second.content == "It says x."
        answered = office.service.requests[1].messages[-1]["content"][0]
        called = office.service.requests[1].messages[-2]["content"][0]
        assert (answered["type"], answered["tool_use_id"], answered["content"]) == ("tool_result", called["id"], "x")

"""How a client wants its answer, and the images that it shows: carried to either kind of endpoint, or refused in a
sentence."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.adapters.serving.anthropic import Messages
from orchestration.adapters.serving.openai import ChatCompletions
from orchestration.adapters.serving.pictures import BEHIND
from orchestration.adapters.serving.responses import Responses
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Image, Sampling
from orchestration.domain.errors import InvalidInput
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, Office, opened
from tests.stages.world import World
from tests.strict import complaint

KINDS = pytest.mark.parametrize("kind", ["openai", "anthropic"])
RESPONSES = "/openai/v1/responses"
SCHEMA = {"type": "object", "properties": {"port": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "found", "schema": SCHEMA, "strict": True}}
PLAIN_FORM = {"type": "json_schema", "schema": SCHEMA}
PIXEL = b64encode(b"\x89PNG\r\n\x1a\n and the rest").decode()
TASK = {"role": "user", "content": "Mend it."}
pytestmark = pytest.mark.any_database


def sent(office: Office, kind: str) -> Mapping[str, Any]:
    """The last request, which the strictest service would take."""
    body: Mapping[str, Any] = office.service.requests[-1].body
    assert complaint(kind, body) == ""
    return body


# --- sampling ---------------------------------------------------------------------------------------------------


def test_from_either_shape_to_a_service_of_the_openai_kind(world: World):
    with opened(world, Lines(), network=True) as office:
        chat = {"temperature": 0.2, "top_p": 0.9, "stop": "END", "max_tokens": 50, "response_format": FORM}
        assert office.post(CHAT, **chat).status_code == 200
        wanted = {"temperature": 0.2, "top_p": 0.9, "stop": ["END"], "max_tokens": 50, "response_format": FORM}
        assert {name: sent(office, "openai")[name] for name in wanted} == wanted
        messages = {
            "temperature": 1,
            "stop_sequences": ["A", "B"],
            "output_config": {"format": PLAIN_FORM},
        }
        assert office.post(MESSAGES, **messages).status_code == 200
        body = sent(office, "openai")
        assert (body["temperature"], body["stop"]) == (1, ["A", "B"])
        assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA}
        text = {"format": {"type": "json_schema", "name": "found", "schema": SCHEMA, "strict": True}}
        asked = {"input": "Mend it.", "top_p": 0.5, "text": text}
        assert office.client.post(RESPONSES, json=asked).status_code == 200
        assert (sent(office, "openai")["top_p"], sent(office, "openai")["response_format"]) == (0.5, FORM)


def test_from_either_shape_to_a_service_of_the_anthropic_kind(world: World):
    with opened(world, Lines(), kind="anthropic", network=True) as office:
        asked = {"temperature": 0.2, "top_p": 1, "stop": ["END", " "], "max_tokens": 50, "response_format": FORM}
        assert office.post(CHAT, **asked).status_code == 200
        body = sent(office, "anthropic")
        assert (body["temperature"], body["stop_sequences"], body["max_tokens"]) == (0.2, ["END"], 50)
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
        assert "top_p" not in body, "all of it is what the service does anyway"
        assert office.post(MESSAGES, top_p=0.5).status_code == 200
        assert sent(office, "anthropic")["top_p"] == 0.5


@KINDS
def test_who_wants_nothing_sends_nothing(world: World, kind: str):
    with opened(world, Lines(), kind=kind, network=True) as office:
        assert office.post(CHAT, temperature=None, response_format={"type": "text"}, stop=None).status_code == 200
        assert not {"temperature", "top_p", "stop", "stop_sequences", "response_format", "output_config"} & set(
            sent(office, kind)
        )


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"temperature": 1.5}, "takes a temperature from 0 to 1, not 1.5."),
        ({"response_format": {"type": "json_object"}}, "cannot be held to JSON without a schema; give one, or offer"),
    ],
)
def test_what_a_kind_cannot_do_is_refused_in_a_sentence_and_ends_nothing(world: World, wish: Any, why: str):
    with opened(world, Lines(), kind="anthropic", network=True) as office:
        refused = office.post(CHAT, **wish)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
        assert why in refused.json()["error"]["message"]
        assert (office.service.total, office.access.stop.is_set) == (0, False)
        assert (office.fresh().steps, office.fresh().reserved_steps) == (0, 0)
        assert office.post(CHAT).status_code == 200
    with opened(world, Lines(), network=True) as office:
        assert office.post(CHAT, **wish).status_code == 200, "the other kind can"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"temperature": 3}, "The temperature must be a number from 0 to 2."),
        ({"temperature": "hot"}, "The temperature must be a number"),
        ({"temperature": True}, "The temperature must be a number"),
        ({"top_p": -1}, "The top_p must be a number from 0 to 1."),
        ({"stop": [""]}, "Stop must be a text, or a list of at most 16 texts, none of them empty."),
        ({"stop": {"a": 1}}, "Stop must be"),
        ({"stop": ["x"] * 17}, "Stop must be"),
        ({"response_format": {"type": "xml"}}, "The form of the answer is 'xml'"),
        ({"response_format": {"type": "json_schema"}}, "json_schema with a schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}}, "json_schema with a schema"),
    ],
)
def test_a_wish_that_is_none_is_refused_before_anybody_is_asked(body: dict[str, Any], why: str):
    with pytest.raises(InvalidInput) as refused:
        ChatCompletions().question({"messages": [TASK], **body})
    assert why in str(refused.value)


def test_wishes_are_the_same_value_whoever_writes_them():
    wanted = Sampling(0.5, 0.9, ("END",), {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}})
    form = {"type": "json_schema", "schema": SCHEMA}
    common = {"temperature": 0.5, "top_p": 0.9}
    chat = common | {"stop": ["END"], "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
    assert ChatCompletions().question({"messages": [TASK], **chat}).sampling == wanted
    now = common | {"stop_sequences": ["END"], "output_config": {"format": form}}
    early = common | {"stop_sequences": ["END"], "output_format": form}
    for body in (now, early):
        assert Messages().question({"messages": [TASK], **body}).sampling == wanted
    said = Responses().question({"input": "Hi.", **common, "text": {"format": form, "verbosity": "low"}}).sampling
    assert said == Sampling(0.5, 0.9, (), wanted.form)


# --- images -----------------------------------------------------------------------------------------------------

OPENAI_IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}}
ANTHROPIC_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
RESPONSES_IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}


def shown(kind: str, content: Any) -> list[str]:
    """The bytes of the images of a message as the service got them."""
    if kind == "openai":
        return [part["image_url"]["url"].partition(",")[2] for part in content if part["type"] == "image_url"]
    return [block["source"]["data"] for block in content if block["type"] == "image"]


@KINDS
@pytest.mark.parametrize(
    ("path", "image"), [(CHAT, OPENAI_IMAGE), (MESSAGES, ANTHROPIC_IMAGE), (RESPONSES, RESPONSES_IMAGE)]
)
def test_an_image_of_the_user_reaches_either_kind(world: World, kind: str, path: str, image: Any):
    text = {"type": "input_text" if path == RESPONSES else "text", "text": "What is it?"}
    said = [{"role": "user", "content": [text, image]}]
    with opened(world, Lines(Answer("A pixel.")), kind=kind, network=True) as office:
        asked = {"input": said} if path == RESPONSES else {"messages": said, "max_tokens": 100}
        assert office.client.post(path, json=asked).status_code == 200
        (message,) = sent(office, kind)["messages"]
        assert message["content"][0]["text"] == "What is it?"
        assert shown(kind, message["content"]) == [PIXEL]


@KINDS
def test_an_image_that_a_tool_gave_stands_behind_the_results(world: World, kind: str):
    """As agents read a picture: no service of the openai kind takes it in a result."""
    uses: list[Any] = [{"type": "tool_use", "id": name, "name": "read", "input": {}} for name in ("t1", "t2")]
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a.png"}, ANTHROPIC_IMAGE]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
        {"type": "text", "text": "Go on."},
    ]
    history = [TASK, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    with opened(world, Lines(), kind=kind, network=True) as office:
        assert office.post(MESSAGES, messages=history).status_code == 200
        body = sent(office, kind)
        assert f"a.png\n{BEHIND}" in str(body["messages"]).replace("\\n", "\n")
        listed = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
        found = [image for content in listed for image in shown(kind, content)]
        assert found == [PIXEL]


def test_of_a_call_in_responses_too():
    items = [
        {"type": "function_call", "call_id": "c1", "name": "view", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [RESPONSES_IMAGE]},
    ]
    *_, result, image = Responses().question({"input": [{"role": "user", "content": "Look."}, *items]}).messages
    assert (result.role, result.text, result.images) == ("tool", BEHIND, ())
    assert (image.role, image.text, image.images) == ("user", "", (Image("image/png", PIXEL),))


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.org/?secret=1"}}, "as no URL"),
        ({"type": "image_url", "image_url": "file:///etc/passwd"}, "as no URL"),
        ({"type": "image_url"}, "as no URL"),
        ({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}, "as no URL"),
        ({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": PIXEL}}, "'text/html'"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "<svg>"}}, "is no base64"),
        ({"type": "input_audio", "input_audio": {}}, "'input_audio'; leave it out"),
        ({"type": "document"}, "'document'; leave it out"),
    ],
)
def test_what_does_not_stand_in_the_request_is_not_fetched_and_what_is_no_image_refused(part: Any, why: str):
    """An agent without a network could tell the world something by an address that the service then asks for."""
    with pytest.raises(InvalidInput) as refused:
        ChatCompletions().question({"messages": [{"role": "user", "content": [part]}]})
    assert why in str(refused.value)


def test_a_key_inside_an_image_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch):
    key = "sk-planted-0123456789abcdef"
    monkeypatch.setenv("SWARM_TEST_MODEL_KEY", key)
    world.endpoint.key_env = "SWARM_TEST_MODEL_KEY"
    picture = b64encode(b"abc" + key.encode() + b"xyz").decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    with opened(world, Lines(), kind="anthropic", network=True) as office:
        office.post(MESSAGES, messages=[{"role": "user", "content": [image]}])
        assert picture[8:30] not in str(office.service.requests[-1].body)

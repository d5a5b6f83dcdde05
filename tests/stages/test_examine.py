"""What a test of an endpoint says, for everything that can be wrong with one; the page and the command say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Usage
from orchestration.models import ModelEndpoint
from orchestration.stages import examine as module
from orchestration.stages.examine import Examination, examine
from tests import factories

pytestmark = pytest.mark.any_database
PONG = Answer(calls=(("ping", {"word": "hello"}),), usage=Usage(40, 9, 32))


class Bench:
    def __init__(self) -> None:
        self.answer = PONG
        self.service = ScriptedService(lambda _: self.answer)
        self.row = factories.make_endpoint(name="large", base_url=self.service.base_url)

    def says(self, answer: Answer = PONG, **fields: str) -> Examination:
        self.answer = answer
        for name, value in fields.items():
            setattr(self.row, name, value)
        return examine(self.row)

    def refused(self, answer: Answer = PONG, **fields: str) -> str:
        found = self.says(answer, **fields)
        assert not found.works
        return str(found)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.service.close()


@pytest.mark.parametrize("kind", ModelEndpoint.Kind)
def test_what_works_is_told_with_its_figures(bench: Bench, kind: str):
    found = bench.says(kind=kind)
    assert found.works
    assert found.sentences[0] == "large works: large-1 called the tool."
    assert "the whole answer took" in str(found)
    assert "It streams; it counted 40 tokens in, 9 out, 32 from a cache." in str(found)
    (seen,) = bench.service.requests
    assert (seen.tools, seen.kind) == (("ping",), kind)


def test_what_is_missing_but_no_hindrance_is_told(bench: Bench):
    assert "It does not stream" in str(bench.says(Answer(calls=PONG.calls, fault="no_stream")))
    assert "its tokens are estimated" in str(bench.says(Answer(calls=PONG.calls, fault="no_usage")))


def test_a_slow_one_is_called_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    assert "That is slow." not in str(bench.says())
    monkeypatch.setattr(module, "SLOW_MS", -1)
    assert "That is slow." in str(bench.says())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=401), "refused a request without a key (401"),
        (Answer(status=404), "knows no model large-1 at /v1/chat/completions"),
        (Answer(status=402), "has no credit left"),
        (Answer(status=429), "asks for fewer requests"),
        (Answer(status=503), "is overloaded or broken"),
        (Answer(fault="html"), "answered with a web page instead of JSON; check the endpoint's base URL"),
        (Answer("hello"), "large answered, but called no tool: agents cannot work with large-1 there."),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence_after_one_call(bench: Bench, answer: Answer, words: str):
    assert words in bench.refused(answer)
    assert bench.service.total == 1


def test_a_service_that_does_not_run(bench: Bench):
    bench.service.close()
    assert "refused the connection; check that the service runs" in bench.refused()


def test_a_key_that_is_not_set(bench: Bench):
    said = bench.refused(base_url="https://models.example.invalid/v1", key_env="NO_SUCH_KEY")
    assert "set the environment variable $NO_SUCH_KEY" in said


def test_one_that_says_nothing_is_not_waited_for_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    assert "timed out after 0.1 s" in bench.refused(Answer(delay_s=3600))


# The command


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("endpoint", "test", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_it_and_ends_with_it(bench: Bench):
    assert command("large").startswith("large works: large-1 called the tool.\n")
    assert json.loads(command("large", "--json"))["works"] is True
    bench.answer = Answer(status=404)
    with pytest.raises(CommandError, match="large does not work") as caught:
        command("large")
    assert caught.value.returncode == 1


def test_the_command_knows_which_one_is_meant(bench: Bench):
    with pytest.raises(CommandError, match="no endpoint 'small'; there is: large") as caught:
        command("small")
    assert caught.value.returncode == 2
    factories.make_endpoint(factories.make_team("others"), name="large", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(CommandError, match="Several teams have an endpoint 'large'"):
        command("large")
    assert "large works" in command("large", "--team", bench.row.team.name)


# The admin


def change(bench: Bench, client: Client, **button: str) -> str:
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    row = bench.row
    fields = {"name": row.name, "team": row.team.pk, "kind": row.kind, "base_url": row.base_url, "model": row.model}
    figures = {"input_price": 0, "output_price": 0, "weight": 100, "enabled": "on", "address_allowed": "on"}
    path = f"/admin/orchestration/modelendpoint/{row.pk}/change/"
    return client.post(path, {**fields, **figures, **button}, follow=True).content.decode()


def test_the_button_tests_and_stays_on_the_page(bench: Bench, client: Client):
    page = change(bench, client, _test="Save and test")
    assert "Large works: large-1 called the tool." in page
    assert 'name="_test"' in page
    bench.answer = Answer("hello")
    assert "called no tool" in change(bench, client, _test="Save and test")


def test_saving_alone_asks_nobody(bench: Bench, client: Client):
    assert "called the tool" not in change(bench, client)
    assert bench.service.total == 0


def test_several_are_tested_from_the_list(bench: Bench, client: Client):
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    other = factories.make_endpoint(bench.row.team, name="dead", base_url="http://127.0.0.1:1/v1")
    chosen = {"action": "test", "_selected_action": [bench.row.pk, other.pk]}
    page = client.post("/admin/orchestration/modelendpoint/", chosen, follow=True).content.decode()
    assert "Large works" in page
    assert "Dead (127.0.0.1:1) refused the connection" in page

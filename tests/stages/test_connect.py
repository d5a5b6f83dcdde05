"""Connecting a model service: what is wrong is told with what to change, keys lie apart, use forbids removal."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from orchestration.adapters import keyring, secrets
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Usage
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.redaction import REMOVED
from orchestration.domain.rights import Role
from orchestration.management.bootstrap import register_endpoints
from orchestration.models import ModelEndpoint, User
from orchestration.reads.endpoints import Standing, standings
from orchestration.stages import connect
from orchestration.stages.adopt import save
from orchestration.stages.withhold import forget_unused, release, withheld, withhold
from tests import factories

pytestmark = pytest.mark.any_database
KEY = "sk-typed-0123456789abcdef"
PONG = Answer(calls=(("ping", {"word": "hello"}),), usage=Usage(40, 9, 0))


class Bench:
    def __init__(self) -> None:
        self.answer = PONG
        self.keys: list[str] = []
        self.service = ScriptedService(self._said, model="small-1")
        self.team = factories.make_team("Bakery")
        self.person = factories.join(factories.make_user(), self.team, Role.MAINTAINER)

    def _said(self, request: Request) -> Answer:
        self.keys.append(request.authorization)
        return self.answer

    def typed(self, **fields: object) -> ModelEndpoint:
        """As a form leaves it: not saved."""
        plain: dict[str, object] = {"team": self.team, "name": "ours", "model": "small-1"}
        return ModelEndpoint(**plain | {"base_url": self.service.base_url} | fields)

    def saved(self, key: str = "", **fields: object) -> ModelEndpoint:
        row = self.typed(**fields)
        save(row, self.person, key)
        return row

    def standing(self) -> Standing:
        (found,) = standings([self.team])
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    bench = Bench()
    yield bench
    bench.service.close()


@pytest.mark.parametrize("kind", ModelEndpoint.Kind)
def test_it_is_tried_with_the_key_that_was_typed_and_keeps_nothing(bench: Bench, kind: str):
    trial = connect.try_out(bench.typed(kind=kind), KEY)
    assert trial.found.works
    assert trial.models == ("small-1",)
    assert [key.removeprefix("Bearer ") for key in bench.keys] == [KEY]
    assert not ModelEndpoint.objects.exists()
    assert KEY not in keyring.values()


@pytest.mark.parametrize(
    ("fields", "answer", "part", "words"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, PONG, "base_url", "refused the connection"),
        ({"model": ""}, PONG, "model", "Choose one of its list"),
        ({}, Answer(status=404), "model", "knows no model small-1"),
        ({}, Answer(status=401), "key", "refused the key that was given (401"),
        ({}, Answer("hello"), "model", "called no tool"),
        ({}, Answer(fault="html"), "base_url", "a web page instead of JSON"),
        ({}, Answer(status=402), "", "has no credit left"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_change(
    bench: Bench, fields: dict[str, str], answer: Answer, part: str, words: str
):
    bench.answer = answer
    found = connect.try_out(bench.typed(**fields), KEY).found
    assert (found.works, found.part) == (False, part)
    assert words in str(found)
    assert KEY not in str(found)


def test_a_service_without_a_list_is_asked_for_nothing_but_the_name(bench: Bench):
    nowhere = bench.service.base_url.replace("/v1", "/elsewhere")
    trial = connect.try_out(bench.typed(base_url=nowhere, model=""), "")
    assert trial.models == ()
    assert "keeps no list" in str(trial.found)


def test_the_key_lies_in_the_keyring_and_goes_with_the_row(bench: Bench):
    row = bench.saved(KEY)
    assert keyring.read(f"endpoint-{row.public_id}") == KEY
    assert KEY not in str(ModelEndpoint.objects.filter(pk=row.pk).values().get())
    assert connect.test(row).works
    assert bench.keys == [f"Bearer {KEY}"]
    assert secrets.clean(KEY) == REMOVED
    connect.remove(row, bench.person)
    with pytest.raises(AdapterError):
        keyring.read(f"endpoint-{row.public_id}")
    assert not ModelEndpoint.objects.exists()


def test_a_key_takes_the_variables_place_and_can_be_taken_away(bench: Bench):
    row = bench.saved(KEY, key_env="SOME_KEY")
    assert (row.key_env, row.key_kept) == ("", True)
    row.key_kept = False
    save(row, bench.person, "")
    assert KEY not in keyring.values()


def test_what_a_test_said_stays_with_the_row(bench: Bench):
    row = bench.saved()
    assert bench.standing().word == "Not tested"
    bench.answer = Answer(status=404)
    connect.test(row)
    assert (bench.standing().word, bench.standing().role) == ("Does not work", "failed")
    assert "knows no model" in bench.standing().said
    bench.answer = PONG
    connect.test(row)
    row.refresh_from_db()
    assert bench.standing().word == "Works"
    assert bench.standing().latency_ms == row.test_latency_ms is not None


def test_its_calls_say_what_it_costs_and_that_it_works(bench: Bench):
    row = bench.saved()
    bench.answer = Answer(status=404)
    connect.test(row)
    swarm = factories.make_swarm(factories.make_repository(bench.team), endpoint=row)
    for cost in ("0.25", "1.50"):
        swarm.model_calls.create(endpoint=row, purpose="worker", cost_usd=cost, latency_ms=800)
    standing = bench.standing()
    assert (standing.word, standing.calls, standing.cost_usd, standing.latency_ms) == ("Works", 2, Decimal("1.75"), 800)


def test_off_is_off(bench: Bench):
    row = bench.saved()
    connect.switch(row, bench.person, on=False)
    assert bench.standing().word == "Off"
    connect.switch(row, bench.person, on=True)
    assert bench.standing().word == "Not tested"


def test_one_that_is_in_use_is_not_removed_and_says_by_what(bench: Bench):
    row = bench.saved(KEY)
    swarm = factories.make_swarm(factories.make_repository(bench.team), endpoint=row, title="Replace the store")
    with pytest.raises(InvalidInput, match="“Replace the store”"):
        connect.remove(row, bench.person)
    assert keyring.read(f"endpoint-{row.public_id}") == KEY
    type(swarm).objects.filter(pk=swarm.pk).update(status="succeeded", finished_at=timezone.now())
    connect.remove(row, bench.person)
    row.refresh_from_db()
    assert (row.enabled, row.key_kept) == (False, False)
    assert row.removed_at
    assert standings([bench.team]) == []
    bench.saved()  # its name is free again
    swarm.refresh_from_db()
    assert swarm.endpoint == row  # whose figures stay


def test_the_environments_own_would_come_back(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    told = {"base_url": bench.service.base_url, "model": "small-1", "key_env": ""}
    monkeypatch.setitem(settings.SWARM, "OPENAI_ENDPOINT", told)
    monkeypatch.setitem(settings.SWARM, "ANTHROPIC_ENDPOINT", None)
    row = bench.saved(KEY, name="openai", base_url="https://models.example/v1")
    assert not connect.from_environment(row)
    register_endpoints(bench.team)
    row.refresh_from_db()
    assert not row.key_kept  # the key was given for another address, and is not sent to this one
    with pytest.raises(InvalidInput, match="take OPENAI_MODEL out of the environment"):
        connect.remove(row, bench.person)


def test_a_private_address_needs_an_operator(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    row = bench.typed(address_allowed=False)
    with pytest.raises(InvalidInput, match="an operator can list it in SWARM_ALLOWED_HOSTS_OUT"):
        connect.check_address(row)
    assert not connect.try_out(row, "").found.works
    assert bench.service.total == 0
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ("127.0.0.0/8",))
    connect.check_address(row)
    assert connect.try_out(row, "").found.works


def test_a_key_is_held_back_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    name = withhold(KEY)
    assert withheld(name) == KEY
    assert withheld("endpoint-whatever") == ""  # drafts and nothing else
    release("endpoint-whatever")
    release(name)
    assert withheld(name) == ""
    late = withhold(KEY)
    monkeypatch.setattr("orchestration.stages.withhold.KEPT_S", -1.0)
    forget_unused()
    assert withheld(late) == ""


def test_a_key_whose_row_is_gone_is_forgotten_and_one_that_is_named_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    kept, gone = bench.saved(KEY), bench.saved("sk-another-0123456789", name="gone")
    ModelEndpoint.objects.filter(pk=gone.pk).delete()  # as the admin does it
    forget_unused()
    assert "sk-another-0123456789" in keyring.values()  # it might be about to be written
    monkeypatch.setattr("orchestration.stages.withhold.UNNAMED_S", -1.0)
    forget_unused()
    assert keyring.values() == {KEY}
    assert connect.test(kept).works


def test_a_person_is_named_in_the_log_and_a_key_is_not(bench: Bench, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    bench.saved(KEY)
    assert isinstance(bench.person, User)
    assert f"{bench.person.username} saved the model endpoint ours" in caplog.text
    assert KEY not in caplog.text


def test_an_operator_who_moves_it_in_the_admin_sends_the_key_nowhere_else(bench: Bench, client: Client):
    row = bench.saved(KEY)
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    path = f"/admin/orchestration/modelendpoint/{row.pk}/change/"
    fields = {"name": "ours", "team": row.team.pk, "kind": row.kind, "model": row.model, "weight": 100}
    figures = {"input_price": 0, "output_price": 0, "enabled": "on", "address_allowed": "on"}
    client.post(path, {**fields, **figures, "base_url": row.base_url})
    row.refresh_from_db()
    assert row.key_kept
    page = client.post(path, {**fields, **figures, "base_url": "http://127.0.0.1:9/v1"}, follow=True).content.decode()
    assert "is used no more" in page
    row.refresh_from_db()
    assert (row.key_kept, row.base_url) == (False, "http://127.0.0.1:9/v1")

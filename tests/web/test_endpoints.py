"""Models on pages: tested before they are saved, with errors beside their fields and keys in no page at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from orchestration.adapters import keyring
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Usage
from orchestration.domain.rights import Role
from orchestration.models import ModelEndpoint
from tests import factories as make
from tests.web.conftest import House

KEY = "sk-page-0123456789abcdef"
PONG = Answer(calls=(("ping", {"word": "hello"}),), usage=Usage(40, 9, 0))


class Office:
    """A maintainer with a browser, and a service that an operator listed."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.answer = PONG
        self.keys: list[str] = []
        self.pages: list[str] = []
        self.service = ScriptedService(self._said, model="small-1")
        self.client = house.client("maintainer")

    def _said(self, request: Request) -> Answer:
        self.keys.append(request.authorization.removeprefix("Bearer "))
        return self.answer

    def typed(self, **fields: Any) -> dict[str, Any]:
        plain = {"name": "ours", "kind": "openai", "base_url": self.service.base_url, "model": "small-1"}
        return plain | {"team": self.house.team.pk} | fields

    def post(self, path: str = "/models/new/?service=other", **fields: Any) -> tuple[int, str]:
        response = self.client.post(path, self.typed(**fields))
        self.pages.append(response.content.decode())
        return response.status_code, self.pages[-1]

    def edit(self, row: ModelEndpoint, **fields: Any) -> tuple[int, str]:
        return self.post(f"/models/{row.public_id}/", **fields)

    def get(self, path: str) -> str:
        self.pages.append(self.client.get(path).content.decode())
        return self.pages[-1]


@pytest.fixture
def office(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Office]:
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ("127.0.0.1",))
    office = Office(house)
    yield office
    office.service.close()
    assert not [page for page in office.pages if KEY in page]


def beside(page: str, field: str) -> str:
    return page.partition(f'id="id_{field}_error"')[2].partition("</div>")[0]


def ours(name: str = "ours") -> ModelEndpoint:
    return ModelEndpoint.objects.get(name=name)


def test_the_services_are_offered_and_fill_the_form(office: Office):
    page = office.get("/models/new/")
    for title in ("Ollama", "vLLM", "LM Studio", "Anthropic", "OpenAI", "Another service"):
        assert f">{title}</a>" in page
    page = office.get("/models/new/?service=ollama")
    assert 'value="http://127.0.0.1:11434/v1"' in page
    assert 'name="name" value="ollama"' in page
    page = office.get("/models/new/?service=anthropic")
    assert '<input type="hidden" name="kind" value="anthropic">' in page
    assert "Which service?" in office.get("/models/new/?service=nonsense")


def test_a_second_of_a_service_gets_another_name(office: Office):
    make.make_endpoint(office.house.team, name="ollama")
    assert 'name="name" value="ollama-2"' in office.get("/models/new/?service=ollama")


def test_what_the_service_has_can_be_chosen(office: Office):
    status, page = office.post(test="1", model="")
    assert status == 400
    assert "Choose one of its 1 model" in page
    assert '<option value="small-1"></option>' in page
    assert 'name="choose" value="small-1"' in page
    status, page = office.post(choose="small-1", model="")
    assert status == 200
    assert "ours works: small-1 called the tool." in page
    assert 'value="small-1"' in page
    assert not ModelEndpoint.objects.filter(name="ours").exists()  # only tested


def test_the_key_of_the_test_need_not_be_typed_again_and_is_in_no_page(office: Office):
    assert office.post(test="1", key=KEY)[0] == 200
    assert "It is held back since the test" in office.pages[-1]
    assert office.post()[0] == 302
    row = ours()
    assert (row.key_kept, row.key_env) == (True, "")
    assert keyring.read(f"endpoint-{row.public_id}") == KEY
    assert [path.name for path in (settings.DATA_DIR / "keys").iterdir()] == [f"endpoint-{row.public_id}"]
    assert (row.test_works, bool(row.tested_at)) == (True, True)  # what the test said is known at once
    for path in ("/models/", f"/models/{row.public_id}/", f"/models/{row.public_id}/remove/", "/repositories/"):
        office.get(path)


def test_a_key_that_was_tested_goes_to_no_other_address(office: Office):
    office.post(test="1", key=KEY)
    other = ScriptedService(lambda _: PONG)
    try:
        assert office.post(base_url=other.base_url)[0] == 302
    finally:
        other.close()
    assert not ours().key_kept
    assert ours().tested_at is None


def test_a_key_that_was_refused_is_not_held_back(office: Office):
    office.answer = Answer(status=401)
    status, page = office.post(test="1", key=KEY)
    assert status == 400
    assert "refused the key that was given (401" in beside(page, "key")
    office.post()
    assert not ours().key_kept


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"name": ""}, "name", "Give it a name"),
        ({"name": "a/b"}, "name", "must not hold a slash"),
        ({"name": "taken"}, "name", "has a model of that name already"),
        ({"base_url": ""}, "base_url", "Write where the service is"),
        ({"base_url": "ftp://x/"}, "base_url", "begins with https://"),
        ({"base_url": "https://me:secret@x.example/"}, "base_url", "must not hold a name, password or key"),
        ({"base_url": "https://x.example/?key=1"}, "base_url", "must not have a ? or # part"),
        ({"base_url": "http://8.8.8.8/v1", "key": KEY}, "base_url", "would send the key unencrypted"),
        ({"base_url": "http://10.1.2.3/v1"}, "base_url", "an operator can list it in SWARM_ALLOWED_HOSTS_OUT"),
        ({"model": ""}, "model", "Name the model"),
        ({"key": "with a space"}, "key", "holds a space"),
        ({"input_price": "-1"}, "input_price", "Write an amount"),
        ({"max_concurrent": "0"}, "max_concurrent", "1"),
        ({"context_window": "12"}, "context_window", "2000"),
        ({"base_url": "http://127.0.0.1:9/v1", "test": "1"}, "base_url", "refused the connection"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(office: Office, fields: dict[str, str], field: str, sentence: str):
    make.make_endpoint(office.house.team, name="taken")
    status, page = office.post(**fields)
    assert status == 400
    assert sentence in beside(page, field)
    assert not ModelEndpoint.objects.filter(name=fields.get("name", "ours")).exclude(name="taken").exists()


def test_everything_that_is_typed_is_saved(office: Office):
    limits = {"input_price": "3", "output_price": "15.5", "context_window": "32768", "max_concurrent": "4"}
    assert office.post(**limits, weight="50", roles=["worker", "planner"])[0] == 302
    row = ours()
    assert (float(row.input_price), float(row.output_price), row.context_window) == (3, 15.5, 32768)
    assert (row.max_concurrent, row.weight, row.roles) == (4, 50, "worker, planner")
    page = office.get(f"/models/{row.public_id}/")
    assert 'value="15.5"' in page
    assert page.count("checked") == 2
    assert "only worker, planner" in office.get("/models/")


def test_an_operator_vouches_for_a_private_address_and_a_maintainer_does_not(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ())
    assert office.post()[0] == 400
    office.client = office.house.client("operator")
    assert office.post()[0] == 302
    assert ours().address_allowed
    office.client = office.house.client("maintainer")
    assert office.edit(ours(), model="other")[0] == 302  # the same address stays vouched for
    assert ours().address_allowed
    assert office.edit(ours(), base_url="http://127.0.0.1:9/v1")[0] == 400
    assert ours().base_url == office.service.base_url


def test_a_kept_key_is_sent_to_the_address_that_it_was_given_for_alone(office: Office):
    office.post(key=KEY)
    row = ours()
    status, page = office.edit(row, base_url="http://127.0.0.1:9/v1")
    assert status == 400
    assert "is sent nowhere else: give one for the new address, or forget it." in beside(page, "key")
    assert office.edit(row, base_url="http://127.0.0.1:9/v1", test="1")[0] == 400
    assert office.keys == []
    assert office.edit(row, base_url=f"{office.service.base_url}/deeper")[0] == 302  # the same origin
    assert ours().key_kept
    assert office.edit(row, base_url="http://127.0.0.1:9/v1", forget_key="on")[0] == 302
    assert not ours().key_kept
    assert KEY not in keyring.values()


def test_nor_is_the_key_of_a_variable_that_an_operator_named(office: Office):
    row = make.make_endpoint(office.house.team, name="ours", base_url=office.service.base_url, key_env="SHOP_KEY")
    assert office.edit(row, base_url="http://127.0.0.1:9/v1")[0] == 400
    assert office.edit(row, base_url="http://127.0.0.1:9/v1", key=KEY)[0] == 302
    assert (ours().key_env, ours().key_kept) == ("", True)
    office.edit(row, key_env="SECRET_KEY", is_demo="on", base_url="http://127.0.0.1:9/v1")
    assert (ours().key_env, ours().is_demo) == ("", False)  # nobody names a variable on this page


def test_a_name_alone_can_be_changed_and_the_key_stays(office: Office):
    office.post(key=KEY)
    assert "One is kept, encrypted." in office.get(f"/models/{ours().public_id}/")
    assert office.edit(ours(), name="renamed")[0] == 302
    assert ours("renamed").key_kept
    assert keyring.read(f"endpoint-{ours('renamed').public_id}") == KEY


def test_the_list_tells_how_each_is_and_what_can_be_done(office: Office):
    office.post(test="1")
    office.post()
    make.make_endpoint(office.house.team, name="asleep", enabled=False)
    make.make_endpoint(make.make_team("Other"), name="foreign")
    page = office.get("/models/")
    assert "Works" in page
    assert ">Off<" in page.replace("</svg>", ">")
    assert "foreign" not in page
    seen = office.house.client("viewer").get("/models/").content.decode()
    assert "ours" in seen
    for action in ("Test ours", "Remove ours", "Connect a model"):
        assert action in page
        assert action not in seen


def test_a_test_from_the_list_says_what_is_wrong(office: Office):
    office.post()
    office.answer = Answer(status=404)
    path = f"/models/{ours().public_id}/test/"
    page = office.client.post(path, follow=True).content.decode()
    assert page.count("knows no model small-1") == 2  # as the answer, and as its state from now on
    assert "Does not work" in page


def test_switching_off_and_on(office: Office):
    office.post()
    path = f"/models/{ours().public_id}/switch/"
    assert "ours is off" in office.client.post(path, {"to": "off"}, follow=True).content.decode()
    assert not ours().enabled
    assert "ours is on again" in office.client.post(path, {"to": "on"}, follow=True).content.decode()
    assert ours().enabled


def test_removing_asks_first_and_is_refused_while_in_use(office: Office):
    office.post(key=KEY)
    row = ours()
    path = f"/models/{row.public_id}/remove/"
    assert "its key is deleted here" in office.get(path)
    swarm = make.make_swarm(office.house.repository, endpoint=row, title="Rewrite the till")
    page = office.client.post(path, follow=True).content.decode()
    assert "It cannot be removed now." in page
    assert "Rewrite the till" in page
    swarm.delete()
    assert "ours is removed" in office.client.post(path, follow=True).content.decode()
    assert not ModelEndpoint.objects.filter(name="ours").exists()
    assert office.client.get(path).status_code == 404


def test_the_demos_model_is_shown_and_not_changed(office: Office):
    demo = make.make_endpoint(office.house.team, name="the demo's", is_demo=True)
    assert "the demo&#x27;s" in office.get("/models/")
    assert office.client.get(f"/models/{demo.public_id}/").status_code == 404


def test_a_team_that_is_not_ones_own_is_not_given_a_model(office: Office):
    other = make.make_team("Second")
    assert office.post(team=other.pk)[0] == 400
    make.join(office.house.maintainer, other, Role.MAINTAINER)
    assert office.post(team=other.pk)[0] == 302
    assert ours().team == other


def test_an_empty_list_says_the_next_step(db: None):
    make.make_team("Alone", ada=Role.MAINTAINER, ben=Role.VIEWER)
    from orchestration.models import User

    for name, said in (("ada", "Connect a model"), ("ben", "A maintainer of your team can connect one.")):
        client = Client()
        client.force_login(User.objects.get(username=name))
        assert said in client.get("/models/").content.decode()


def test_the_first_model_leads_to_the_first_repository(office: Office):
    lonely = make.make_team("Lonely", zoe=Role.OWNER)
    from orchestration.models import User

    office.client = Client()
    office.client.force_login(User.objects.get(username="zoe"))
    response = office.client.post("/models/new/?service=other", office.typed(team=lonely.pk))
    assert response.headers["Location"] == "/repositories/new/"

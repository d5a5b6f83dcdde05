"""Who may open and do what: every address against a stranger, a visitor and every role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern

from orchestration.web.urls import urlpatterns
from tests import factories as make
from tests.web.conftest import House

WHO = ("anonymous", "stranger", "viewer", "member", "maintainer", "owner", "operator")
SIGN_IN = 302  # anonymous visitors are sent to the sign-in page
GONE = 404  # a stranger does not even learn that it exists
READ = {"anonymous": SIGN_IN, "stranger": GONE, "viewer": 200, "member": 200, "maintainer": 200}
OWN = READ | {"stranger": 200}  # a page that holds only one's own
STEER = {"anonymous": SIGN_IN, "stranger": GONE, "viewer": 403, "member": 200, "maintainer": 200}
CONFIGURE = {"anonymous": SIGN_IN, "stranger": GONE, "viewer": 403, "member": 403, "maintainer": 200}
GETS = {
    "board": OWN,
    "profile": OWN,
    "repositories": OWN,
    "new-swarm": OWN | {"viewer": 403},
    "new-repository": OWN | {"viewer": 403, "member": 403},
    "swarm": READ,
    "swarm-plan": READ,
    "new-subtask": STEER,
    "subtask-edit": STEER,
    "swarm-subtasks": READ,
    "swarm-cancel": STEER,
    "subtask-revert": CONFIGURE,
    "swarm-limits": STEER,
    "swarm-queue": READ,
    "subtask": READ,
    "subtask-conflict": READ | {"viewer": 302, "member": 302, "maintainer": 302},  # it has none: back to its page
    "artifact": READ,
    "repository": READ,
    "repository-queue": READ,
    "edit-repository": CONFIGURE,
    "endpoints": OWN,
    "new-endpoint": OWN | {"viewer": 403, "member": 403},
    "endpoint": CONFIGURE,
    "endpoint-remove": CONFIGURE,
}
DONE = 302  # an action answers with a redirect to its page
ACT = STEER | {"member": DONE, "maintainer": DONE}
NO_CONFLICT = STEER | {"member": GONE, "maintainer": GONE}  # tests/web/test_conflicts.py has one
POSTS = {
    "swarm-pause": ACT,
    "swarm-resume": ACT,
    "swarm-approve": ACT,
    "swarm-cancel": ACT,
    "subtask-retry": ACT,
    "subtask-cancel": ACT,
    "subtask-revert": CONFIGURE | {"maintainer": DONE},
    "swarm-landing": ACT,
    "subtask-conflict": NO_CONFLICT,
    "conflict-guide": NO_CONFLICT,
    "conflict-give-up": NO_CONFLICT,
    "swarm-message": ACT,
    "subtask-message": ACT,
    "question-answer": ACT,
    "edit-repository": CONFIGURE | {"maintainer": 400},  # the empty form comes back
    "swarm-limits": STEER | {"member": 400, "maintainer": 400},  # nothing to change
    "new-subtask": STEER | {"member": 400, "maintainer": 400},
    "subtask-edit": STEER | {"member": 400, "maintainer": 400},
    "endpoint": CONFIGURE | {"maintainer": 400},
    "endpoint-test": CONFIGURE | {"maintainer": DONE},
    "endpoint-switch": CONFIGURE | {"maintainer": DONE},
    "endpoint-remove": CONFIGURE | {"maintainer": DONE},
    "new-endpoint": {who: SIGN_IN if who == "anonymous" else 400 for who in WHO},
    "new-repository": {who: SIGN_IN if who == "anonymous" else 400 for who in WHO} | {"viewer": 400},
    "new-swarm": {who: SIGN_IN if who == "anonymous" else 400 for who in WHO},
    "demo": {who: SIGN_IN if who == "anonymous" else GONE for who in WHO},  # there is none here
    "profile": {who: SIGN_IN if who == "anonymous" else 400 for who in WHO},
    "new-token": {who: SIGN_IN if who == "anonymous" else 400 for who in WHO},
    "revoke-token": {who: SIGN_IN if who == "anonymous" else GONE for who in WHO},  # there is none of this name
}
# These answer everybody, and have tests of their own.
PUBLIC = {"sign-in", "sign-in-link", "sign-out", "theme", "alive", "ready"}
EVERYBODY = ("owner", "operator")  # as the maintainer


def expected(table: dict[str, int], who: str) -> int:
    return table["maintainer" if who in EVERYBODY else who]


@pytest.fixture
def addresses(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("orchestration.web.downloads.content_of", lambda _row: b"hello")
    subtask = make.make_subtask(house.swarm)
    artifact = make.make_artifact(house.swarm)
    own: dict[str, Any] = {
        "swarm": house.swarm,
        "subtask": subtask,
        "artifact": artifact,
        "repository": house.repository,
    }
    own["model"] = make.make_endpoint(house.team)
    own["question"] = make.make_question(house.swarm)
    paths = {}
    for pattern in urlpatterns:
        route = str(pattern.pattern)
        noun = route.split("/", maxsplit=1)[0].removesuffix("s").replace("repositorie", "repository")
        row = own.get(noun)
        paths[str(pattern.name)] = "/" + (route.replace("<str:public_id>", row.public_id) if row else route)
    return paths


def test_every_address_is_in_a_table():
    names = {pattern.name for pattern in urlpatterns if isinstance(pattern, URLPattern)}
    assert names == set(GETS) | set(POSTS) | PUBLIC


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", sorted(GETS))
def test_who_may_read(house: House, addresses: dict[str, str], name: str, who: str):
    response = house.client(who).get(addresses[name])
    assert response.status_code == expected(GETS[name], who)
    if who == "anonymous":
        assert response.headers["Location"].startswith("/sign-in/?next=")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", sorted(POSTS))
def test_who_may_act(house: House, addresses: dict[str, str], name: str, who: str):
    response = house.client(who).post(addresses[name])
    assert response.status_code == expected(POSTS[name], who)
    if who in {"anonymous", "stranger", "viewer"}:
        house.swarm.refresh_from_db()
        assert (house.swarm.status, house.swarm.last_seq) == ("running", 0)


@pytest.mark.parametrize("name", sorted(set(POSTS) - {"profile"}))
def test_nothing_is_done_without_the_forms_token(house: House, addresses: dict[str, str], name: str):
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.owner)
    assert client.post(addresses[name]).status_code == 403
    house.swarm.refresh_from_db()
    assert house.swarm.status == "running"


@pytest.mark.parametrize("name", sorted(set(POSTS) - set(GETS)))
def test_an_action_cannot_be_done_by_a_link(house: House, addresses: dict[str, str], name: str):
    assert house.client("owner").get(addresses[name]).status_code == 405


@pytest.mark.parametrize("name", sorted(set(GETS) - set(POSTS)))
def test_a_page_takes_no_post(house: House, addresses: dict[str, str], name: str):
    assert house.client("owner").post(addresses[name]).status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/swarms/zzzzzzzzzzzz/", "/subtasks/zzzzzzzzzzzz/", "/artifacts/zzzzzzzzzzzz/", "/repositories/zzzzzzzzzzzz/"],
)
def test_a_stranger_sees_the_same_page_as_for_what_never_was(house: House, addresses: dict[str, str], path: str):
    hidden = house.client("stranger").get(addresses["swarm"])
    absent = house.client("stranger").get(path)
    assert absent.status_code == hidden.status_code == 404
    assert strip(absent.content, path) == strip(hidden.content, addresses["swarm"])


def strip(content: bytes, path: str) -> str:
    """Without what differs by address and by visit."""
    lines = content.decode().replace(path, "").splitlines()
    return "\n".join(line for line in lines if "csrfmiddlewaretoken" not in line)


@pytest.fixture
def everywhere(house: House) -> Callable[[str], list[str]]:
    """The pages that hold whatever somebody may see."""

    def pages(who: str) -> list[str]:
        client = house.client(who)
        return [client.get(path).content.decode() for path in ("/", "/?q=session", "/repositories/")]

    return pages


def test_a_stranger_finds_nothing_of_others_on_the_shared_pages(everywhere: Callable[[str], list[str]]):
    for page in everywhere("stranger"):
        assert "Replace the session store" not in page
        assert ">shop<" not in page


def test_the_same_pages_show_it_to_a_viewer(everywhere: Callable[[str], list[str]]):
    board, found, repositories = everywhere("viewer")
    assert "Replace the session store" in board
    assert "Replace the session store" in found
    assert ">shop</a>" in repositories


def test_the_stranger_cannot_filter_by_anothers_repository(house: House):
    page = house.client("stranger").get(f"/?repository={house.repository.public_id}").content.decode()
    assert "Replace the session store" not in page
    assert "shop" not in page


def test_a_refusal_says_which_right_is_missing(house: House, addresses: dict[str, str]):
    page = house.client("viewer").post(addresses["swarm-pause"]).content.decode()
    assert "Viewers may look, but not steer." in page


def test_a_viewer_is_not_offered_what_is_refused(house: House, addresses: dict[str, str]):
    seen = house.client("viewer").get(addresses["swarm"]).content.decode()
    assert addresses["swarm-pause"] not in seen
    assert addresses["swarm-pause"] in house.client("member").get(addresses["swarm"]).content.decode()

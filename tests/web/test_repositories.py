"""Repositories: added and changed by maintainers, with an address that is allowed and checks that can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from orchestration.adapters import keyring
from orchestration.domain.rights import Role
from orchestration.models import Repository
from tests import factories as make
from tests.adapters.git.conftest import Clone
from tests.web.conftest import House

GOOD = {
    "name": "till",
    "url": "https://example.org/till.git",
    "branch": "main",
    "checks": "make test\n\n  make lint  \n",
    "check_timeout_s": "300",
}


def add(house: House, who: str = "maintainer", **changes: Any) -> tuple[int, str]:
    given = GOOD | {"team": house.team.pk} | changes
    response = house.client(who).post("/repositories/new/", given)
    return response.status_code, response.content.decode()


def edit(house: House, repository: Repository, **changes: Any) -> tuple[int, str]:
    path = f"/repositories/{repository.public_id}/edit/"
    response = house.client("maintainer").post(path, GOOD | {"name": repository.name} | changes)
    return response.status_code, response.content.decode()


def test_it_adds_one_with_a_check_a_line(house: House):
    assert add(house)[0] == 302
    row = Repository.objects.get(name="till")
    assert row.checks == ["make test", "make lint"]
    assert (row.team, row.branch, row.check_timeout_s) == (house.team, "main", 300)
    assert not row.network
    assert not row.path_allowed


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Give it a name"),
        ("name", "shop", "has a repository of that name already"),
        ("url", "", "Write its https:// URL"),
        ("url", "http://example.org/x.git", "http:// is not encrypted"),
        ("url", "ext::sh -c id", "name a program to run"),
        ("url", "--upload-pack=x", "begins with a dash"),
        ("url", "https://user:token@example.org/x.git", "must not hold a name, password or token"),
        ("url", "/etc", "not one that an operator allowed"),
        ("url", "file:///etc", "not one that an operator allowed"),
        ("url", "git@example.org:x.git", "ssh to example.org is not allowed"),
        ("checks", "true\n" * 21, "at most 20 run"),
        ("checks", "x" * 1001, "is longer than 1000 characters"),
        ("check_timeout_s", "0", "1"),
        ("check_timeout_s", "soon", "whole number"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(house: House, field: str, value: str, sentence: str):
    status, page = add(house, **{field: value})
    assert status == 400
    beside = page.partition(f'id="id_{field}_error"')[2].partition("</div>")[0]
    assert sentence in beside
    assert not Repository.objects.filter(name="till").exists()


def test_nothing_typed_is_lost(house: House):
    _, page = add(house, url="http://example.org/x.git")
    assert 'value="till"' in page
    assert "make lint" in page


def test_a_path_is_taken_where_an_operator_allowed_it(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(settings.SWARM, "LOCAL_REPOSITORIES", ("/srv/git",))
    assert add(house, url="/srv/git/till")[0] == 302
    assert add(house, name="other", url="/srv/git/../secret")[0] == 400


def test_only_teams_where_one_may_are_taken(house: House):
    assert add(house, "member")[0] == 400
    assert add(house, team=make.make_team().pk)[0] == 400
    assert add(house, "stranger", team=house.team.pk)[0] == 400
    assert not Repository.objects.filter(name="till").exists()


def test_a_maintainer_of_one_team_is_not_asked_which(house: House):
    page = house.client("maintainer").get("/repositories/new/").content.decode()
    assert f'<option value="{house.team.pk}" selected>' in page
    make.join(house.maintainer, make.make_team("Second"), Role.MAINTAINER)
    page = house.client("maintainer").get("/repositories/new/").content.decode()
    assert f'<option value="{house.team.pk}">' in page


def test_it_can_be_changed_but_not_moved_to_another_team(house: House):
    other = make.make_team(maintainer=Role.OWNER)
    assert edit(house, house.repository, checks="", network="on", team=other.pk)[0] == 302
    house.repository.refresh_from_db()
    assert house.repository.checks == []
    assert house.repository.network
    assert house.repository.team == house.team


def test_drafts_of_pull_requests_are_switched_on_and_off(house: House):
    for given, kept in (({"draft_pull_requests": "on"}, True), ({}, False)):
        assert edit(house, house.repository, **given)[0] == 302
        house.repository.refresh_from_db()
        assert house.repository.draft_pull_requests is kept


def test_the_form_shows_what_there_is(house: House):
    page = house.client("maintainer").get(f"/repositories/{house.repository.public_id}/edit/").content.decode()
    assert "https://example.org/shop.git" in page
    assert "make test" in page
    assert 'name="team"' not in page


def vouched(house: House) -> Repository:
    return make.make_repository(house.team, url="/srv/private/code", path_allowed=True)


def test_a_path_that_an_operator_vouched_for_stays(house: House):
    row = vouched(house)
    assert edit(house, row, url="/srv/private/code")[0] == 302
    row.refresh_from_db()
    assert row.path_allowed


def test_the_vouching_does_not_follow_to_another_path(house: House):
    row = vouched(house)
    assert edit(house, row, url="/etc")[0] == 400
    row.refresh_from_db()
    assert (row.url, row.path_allowed) == ("/srv/private/code", True)


def test_nor_does_it_survive_a_change_and_a_change_back(house: House):
    row = vouched(house)
    assert edit(house, row, url="https://example.org/x.git")[0] == 302
    row.refresh_from_db()
    assert not row.path_allowed
    assert edit(house, row, url="/srv/private/code")[0] == 400


def test_a_person_cannot_vouch_by_hand(house: House):
    add(house, path_allowed="on", is_demo="on")
    row = Repository.objects.get(name="till")
    assert not row.path_allowed
    assert not row.is_demo


def test_the_demos_repository_cannot_be_changed(house: House):
    demo = make.make_repository(house.team, is_demo=True)
    assert house.client("owner").get(f"/repositories/{demo.public_id}/edit/").status_code == 403
    assert edit(house, demo, url="https://example.org/x.git")[0] == 403
    demo.refresh_from_db()
    assert demo.url == "https://example.org/shop.git"
    assert "/edit/" not in house.client("owner").get(f"/repositories/{demo.public_id}/").content.decode()


def test_its_page_has_its_swarms_checks_and_models(house: House):
    page = house.client("viewer").get(f"/repositories/{house.repository.public_id}/").content.decode()
    for said in ("Replace the session store", "make test", "large-1", "Off for commands", "Bakery"):
        assert said in page


def test_without_checks_it_says_what_that_means(house: House):
    bare = make.make_repository(house.team, checks=[])
    page = house.client("maintainer").get(f"/repositories/{bare.public_id}/").content.decode()
    assert "called unverified" in page
    assert "Add checks" in page


def test_an_empty_list_says_the_next_step(db: None):
    make.make_team("Alone", ada=Role.MAINTAINER, ben=Role.VIEWER)
    from django.test import Client

    from orchestration.models import User

    for name, said in (("ada", "Connect the one that"), ("ben", "A maintainer of your team can connect one.")):
        client = Client()
        client.force_login(User.objects.get(username=name))
        assert said in client.get("/repositories/").content.decode()


def test_a_repository_chooses_who_works_there_among_its_own_teams_agents(house: House):
    page = house.client("maintainer").get("/repositories/new/").content.decode()
    assert 'name="agent"' not in page  # nothing to choose from
    ours = make.make_agent(house.team, name="ours")
    asleep = make.make_agent(house.team, name="asleep", is_active=False)
    theirs = make.make_agent(make.make_team(), name="theirs")
    page = house.client("maintainer").get("/repositories/new/").content.decode()
    assert ">Built-in<" in page
    assert ">ours<" in page.replace("\n", "")
    for foreign in (theirs, asleep):
        assert f'<option value="{foreign.pk}"' not in page
        assert add(house, name=f"with-{foreign.name}", agent=foreign.pk)[0] == 400
    assert add(house, agent=ours.pk)[0] == 302
    row = Repository.objects.get(name="till")
    assert row.agent == ours
    assert edit(house, row, agent="")[0] == 302
    row.refresh_from_db()
    assert row.agent is None


# Connecting: a test before the save, a token that no page shows, checks that were found, rules of merging


TOKEN = "ghp-page-0123456789abcdef"


@pytest.fixture
def till(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A repository on this machine that an operator allowed."""
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path / "data")
    monkeypatch.setitem(settings.SWARM, "LOCAL_REPOSITORIES", (str(tmp_path),))
    clone = Clone(tmp_path / "till")
    clone.commit({"Makefile": "test:\n\ttrue\nlint:\n\ttrue\n", "go.mod": "module x\n"})
    return clone


def beside(page: str, field: str) -> str:
    return page.partition(f'id="id_{field}_error"')[2].partition("</div>")[0]


def test_a_test_finds_checks_and_a_name_and_saves_nothing(house: House, till: Clone):
    status, page = add(house, url=str(till.path), name="", branch="", checks="", test="1")
    assert status == 200
    assert "It works: the branch main stands at" in page
    assert 'name="name" value="till"' in page
    assert '<option value="main"></option>' in page
    assert 'name="suggested" value="make test" checked' in page
    assert 'name="suggested" value="go vet ./...">' in page
    assert not Repository.objects.filter(name="till").exists()


def test_what_is_ticked_joins_what_is_written_once(house: House, till: Clone):
    status, _ = add(house, url=str(till.path), checks="make lint\n", suggested=["make test", "make lint"])
    assert status == 302
    assert Repository.objects.get(name="till").checks == ["make lint", "make test"]


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"branch": "trunk"}, "branch", "There is no branch"),
        ({"url": "/nowhere/at/all"}, "url", "not one that an operator allowed"),
        ({"token": TOKEN}, "token", "A token is for https addresses alone"),
        ({"token": "with a space"}, "token", "holds a space"),
    ],
)
def test_a_test_tells_what_is_wrong_beside_its_field(
    house: House, till: Clone, fields: dict[str, str], field: str, sentence: str
):
    status, page = add(house, **{"url": str(till.path), "branch": "", "test": "1"} | fields)
    assert status == 400
    assert sentence in beside(page, field)
    assert TOKEN not in page


def test_what_is_connected_is_asked_for_something_at_once(house: House, till: Clone):
    response = house.client("maintainer").post(
        "/repositories/new/", GOOD | {"team": house.team.pk, "url": f"file://{till.path}"}, follow=True
    )
    row = Repository.objects.get(name="till")
    assert row.url == str(till.path)
    assert response.redirect_chain == [(f"/swarms/new/?repository={row.public_id}", 302)]
    page = response.content.decode()
    assert "till is connected. What should be done there?" in page
    assert f'<option value="{row.public_id}" selected>' in page


def test_an_operator_who_writes_a_path_vouches_for_it(house: House, tmp_path: Path):
    assert add(house, url=str(tmp_path))[0] == 400
    assert add(house, "operator", url=str(tmp_path))[0] == 302
    assert Repository.objects.get(name="till").path_allowed
    assert add(house, "operator", name="far", url="https://example.org/far.git")[0] == 302
    assert not Repository.objects.get(name="far").path_allowed  # that would be the GitHub App's access


def test_a_token_is_kept_shown_to_nobody_and_sent_nowhere_else(house: House, till: Clone):
    assert add(house, token=TOKEN)[0] == 302
    row = Repository.objects.get(name="till")
    assert keyring.read(f"repository-{row.public_id}") == TOKEN
    for path in ("", "edit/"):
        page = house.client("maintainer").get(f"/repositories/{row.public_id}/{path}").content.decode()
        assert "kept, encrypted" in page
        assert TOKEN not in page
    assert edit(house, row, branch="trunk")[0] == 302  # the same address: it stays
    assert keyring.read(f"repository-{row.public_id}") == TOKEN
    status, page = edit(house, row, url="https://elsewhere.example/till.git")
    assert status == 400
    assert "is sent nowhere else" in beside(page, "token")
    assert edit(house, row, url="https://elsewhere.example/till.git", forget_token="on")[0] == 302
    row.refresh_from_db()
    assert not row.token_kept
    assert TOKEN not in keyring.values()


def test_a_token_that_was_typed_for_a_test_is_held_back(house: House, till: Clone):
    client, url = house.client("maintainer"), "https://127.0.0.1:9/till.git"
    given = GOOD | {"team": house.team.pk, "url": url}
    page = client.post("/repositories/new/", given | {"token": TOKEN, "test": "1"}).content.decode()
    assert "private or reserved address" in beside(page, "url")
    assert "It is held back since the test" in page
    assert TOKEN not in page
    assert client.post("/repositories/new/", given).status_code == 302
    row = Repository.objects.get(name="till")
    assert keyring.read(f"repository-{row.public_id}") == TOKEN


def rules(*rows: tuple[str, str, str]) -> dict[str, str]:
    sent = {"policies-TOTAL_FORMS": str(len(rows)), "policies-INITIAL_FORMS": "0"}
    for number, row in enumerate(rows):
        sent |= {
            f"policies-{number}-{name}": value for name, value in zip(("glob", "policy", "command"), row, strict=True)
        }
    return sent


def test_rules_of_merging_are_written_shown_and_taken_out(house: House):
    row = house.repository
    written = rules(("CHANGELOG.md", "union", ""), ("", "", ""), ("x.lock", "regenerate", "make lock"))
    assert edit(house, row, **written)[0] == 302
    row.refresh_from_db()
    assert row.merge_policies == [["CHANGELOG.md", "union"], ["x.lock", "regenerate", "make lock"]]
    page = house.client("viewer").get(f"/repositories/{row.public_id}/").content.decode()
    assert "keeps the lines of both" in page
    assert "make lock" in page
    page = house.client("maintainer").get(f"/repositories/{row.public_id}/edit/").content.decode()
    assert 'value="CHANGELOG.md"' in page
    assert 'name="policies-3-glob"' in page  # and two empty rows
    assert edit(house, row, **rules(("", "", "")))[0] == 302
    row.refresh_from_db()
    assert row.merge_policies == []


def test_what_is_sent_without_them_leaves_them_as_they_are(house: House):
    Repository.objects.filter(pk=house.repository.pk).update(merge_policies=[["a", "ours"]])
    house.repository.refresh_from_db()
    assert edit(house, house.repository)[0] == 302
    house.repository.refresh_from_db()
    assert house.repository.merge_policies == [["a", "ours"]]


@pytest.mark.parametrize(
    ("rule", "field", "sentence"),
    [
        (("", "union", ""), "glob", "Which files?"),
        (("a.txt", "", ""), "policy", "Choose what is to be done"),
        (("a.txt", "regenerate", ""), "command", "needs a command"),
        (("a.txt", "union", "make"), "command", "takes no command"),
        (("../a.txt", "union", ""), "glob", "not a glob inside the repository"),
        (("a.txt", "nonsense", ""), "policy", "Select a valid choice"),
    ],
)
def test_a_wrong_rule_is_told_beside_its_field(house: House, rule: tuple[str, str, str], field: str, sentence: str):
    status, page = edit(house, house.repository, **rules(rule))
    assert status == 400
    assert sentence in beside(page, f"policies-0-{field}")
    house.repository.refresh_from_db()
    assert house.repository.merge_policies == []

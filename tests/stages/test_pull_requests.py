"""A result becomes one pull request on GitHub, however often it is tried, and tells nothing that it should not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_django.fixtures import Settings

from orchestration.adapters import github as adapter
from orchestration.adapters.github import GitHub
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.publishing import RemoteError
from orchestration.models import Handoff
from orchestration.stages import publish
from orchestration.stages.finish import finish
from orchestration.stages.publish import try_again
from tests.stages import publications
from tests.stages.github import MINTED, Scripted, github_at
from tests.stages.publications import at, due_again, ended, row
from tests.stages.remotes import TOKEN, Bare, Hub, hub_at
from tests.stages.world import World

pytestmark = pytest.mark.sandbox
finalizing = partial(publications.finalizing, landing="pull_request")


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Bare:
    (tmp_path / "hub/acme").mkdir(parents=True)
    made = Bare(world.clone, tmp_path / "hub/acme/shop.git")
    made.git("config", "http.receivepack", "true")
    return made


@pytest.fixture
def github(
    world: World, shop: Bare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[Scripted]:
    adapter.forget_tokens()
    with hub_at(tmp_path / "hub") as (hub, certificate), github_at(shop) as (scripted, api_url):
        terms: dict[str, Any] = {"ALLOWED_HOSTS_OUT": ("127.0.0.1",), "GITHUB_API_URL": api_url}
        settings.SWARM = settings.SWARM | terms
        settings.PUBLIC_URL = "https://swarms.example"
        monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
        monkeypatch.setenv("SHOP_TOKEN", TOKEN)
        hub.private = True
        scripted.hub = hub  # type: ignore[attr-defined]
        at(world, url=hub.url("acme/shop.git"), token_env="SHOP_TOKEN", landing="pull_request")
        yield scripted


def test_the_result_is_one_pull_request_with_its_story(world: World, shop: Bare, github: Scripted):
    swarm, before = finalizing(world, "test -f one.txt"), shop.tip()
    assert ended(swarm) == ("succeeded", "")
    (pull,) = github.pulls
    assert (pull["head"], pull["base"], pull["title"]) == (swarm.branch, "main", "Make it better.")
    assert (shop.tip(swarm.branch), shop.tip()) == (swarm.head_sha, before)
    for part in ("Every check passed", "| one | complete | Wrote one. |", "https://swarms.example/swarms/"):
        assert part in pull["body"]
    found = row(swarm)
    assert (found.status, found.landed_sha, found.pull_request) == ("landed", swarm.head_sha, 1)
    assert found.url == "https://github.example/acme/shop/pull/1"


@pytest.mark.any_database
def test_what_is_only_partly_done_is_offered_too_and_says_so(world: World, github: Scripted):
    assert ended(finalizing(world, "false"))[0] == "partly_succeeded"
    assert "Not every check passed" in github.pulls[0]["body"]


@pytest.mark.any_database
def test_agents_words_call_nobody_close_nothing_and_hold_no_secret(world: World, github: Scripted):
    swarm = finalizing(world)
    Handoff.objects.update(summary=f"Fixes #12, thanks @boss ![x](https://evil.example/{TOKEN}) <img src=x>")
    ended(swarm)
    body = github.pulls[0]["body"]
    for bad in ("#12", "@boss", "![x]", "<img", TOKEN):
        assert bad not in body


def test_a_crash_between_the_opening_and_the_record_makes_no_second_one(
    world: World, github: Scripted, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(publish, "_record", killed)
        swarm = finalizing(world)
        with pytest.raises(Killed):
            finish(swarm.pk)
    assert len(github.pulls) == 1
    assert ended(swarm)[0] == "succeeded"
    assert len(github.pulls) == 1
    assert row(swarm).pull_request == 1


@pytest.mark.any_database
def test_one_of_the_same_branch_is_brought_up_to_date(world: World, github: Scripted):
    swarm = finalizing(world)
    github.pulls.append(
        {"head": swarm.branch, "base": "main", "title": "old", "body": None, "number": 1, "state": "open"}
    )
    ended(swarm)
    assert [one["title"] for one in github.pulls] == ["Make it better."]


@pytest.mark.any_database
def test_one_that_somebody_closed_is_not_opened_again_behind_their_back(world: World, github: Scripted):
    swarm = finalizing(world)
    github.pulls.append(
        {"head": swarm.branch, "base": "main", "title": "old", "body": "", "number": 1, "state": "closed"}
    )
    assert "was closed by somebody" in ended(swarm)[1]
    assert row(swarm).status == "refused"


@pytest.mark.any_database
def test_a_branch_that_somebody_pushed_to_is_not_overwritten(world: World, shop: Bare, github: Scripted):
    swarm = finalizing(world)
    theirs = shop.others_push({"theirs.txt": "x\n"})
    shop.git("update-ref", f"refs/heads/{swarm.branch}", theirs)
    assert "Somebody pushed to swarm/" in ended(swarm)[1]
    assert (shop.tip(swarm.branch), github.pulls) == (theirs, [])


Saying = tuple[int, dict[str, str], str, tuple[str, str], str]
LIMITED = {"x-ratelimit-remaining": "0"}
SAYINGS: tuple[Saying, ...] = (
    (401, {}, "Bad credentials", ("refused", "sign_in"), "the token is wrong, or has no such right (401)"),
    (403, {}, "Resource not accessible", ("refused", "sign_in"), "Resource not accessible"),
    (403, LIMITED, "API rate limit", ("waiting", "limited"), "asks for fewer requests"),
    (404, {}, "Not Found", ("refused", "sign_in"), "has no such right (404)"),
    (422, {}, "No commits between", ("refused", "other"), "No commits between"),
    (429, {}, "slow", ("waiting", "limited"), "asks for fewer requests (429)"),
    (502, {}, "oops", ("waiting", "down"), "trouble of its own (502)"),
)


@pytest.mark.any_database
@pytest.mark.parametrize("case", SAYINGS, ids=lambda case: f"{case[0]}-{case[2]}")
def test_what_github_says_no_to_is_told_and_it_lands_when_it_can(world: World, github: Scripted, case: Saying):
    status, headers, message, found, sentence = case
    github.answers.append((status, headers, {"message": message}))
    swarm = finalizing(world)
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble) == found
    assert sentence in reason
    assert not row(swarm).landed_sha
    if found[0] == "refused":
        try_again(swarm, world.ada)
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"
    assert len(github.pulls) == 1


def test_without_github_or_a_sign_in_it_is_refused_at_once(world: World, github: Scripted, settings: Settings):
    at(world, token_env="")
    with pytest.raises(InvalidInput, match="GITHUB_APP_ID"):
        world.submit()
    at(world, url=str(world.clone.path))
    with pytest.raises(InvalidInput, match="needs a repository on GitHub"):
        world.submit()


@pytest.mark.any_database
def test_an_app_is_given_a_token_for_this_repository_alone_and_once(
    world: World, shop: Bare, github: Scripted, monkeypatch: pytest.MonkeyPatch, settings: Settings
):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", pem.replace("\n", "\\n"))
    settings.SWARM = settings.SWARM | {"GITHUB_APP_ID": "4711"}
    at(world, token_env="", path_allowed=False)
    with pytest.raises(InvalidInput, match="vouch for the repository"):
        world.submit()
    at(world, path_allowed=True)
    hub: Hub = github.hub  # type: ignore[attr-defined]
    hub.accept(MINTED)
    swarm = finalizing(world)
    assert ended(swarm)[0] == "succeeded"
    proofs = [(path, token, fields) for _, path, token, fields in github.asked if token not in {TOKEN, MINTED}]
    assert [path for path, *_ in proofs] == ["/repos/acme/shop/installation", "/app/installations/7/access_tokens"]
    assert proofs[1][2]["repositories"] == ["shop"]
    assert set(proofs[1][2]["permissions"]) == {"contents", "pull_requests", "metadata"}
    claims = jwt.decode(proofs[0][1], key.public_key(), algorithms=["RS256"])
    assert claims["iss"] == "4711"
    assert claims["exp"] - claims["iat"] <= 600


def test_a_key_that_is_none_is_told(github: Scripted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", "not a key")
    with pytest.raises(AdapterError, match="no private key in PEM form"):
        adapter.installation_token("http://127.0.0.1:1", "1", "acme/shop")


def test_github_that_cannot_be_reached_is_waited_for():
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        GitHub("http://127.0.0.1:1", "acme/shop", "token").pull_request("swarm/x")
    assert caught.value.transient

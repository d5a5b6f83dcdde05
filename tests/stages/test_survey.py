"""A repository that is looked at says what is wrong with what, or where its branch stands and what checks it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from orchestration.adapters import keyring, secrets
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import Offer
from orchestration.domain.redaction import REMOVED
from orchestration.domain.rights import Role
from orchestration.models import Repository
from orchestration.stages import survey as module
from orchestration.stages.adopt import save
from orchestration.stages.prepare import address_of
from orchestration.stages.remote import credential_for
from orchestration.stages.survey import Survey, survey
from tests import factories
from tests.adapters.git.conftest import Clone
from tests.stages.remotes import TOKEN, Hub
from tests.stages.world import World

pytestmark = pytest.mark.any_database


@pytest.fixture(autouse=True)
def _own_keys(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "keyring"


def looked_at(url: str, branch: str = "", token: str = "", **fields: object) -> Survey:
    return survey(Repository(url=url, branch=branch, **{"path_allowed": True} | fields), token)


def test_a_path_is_looked_at_and_its_checks_are_found(clone: Clone):
    sha = clone.commit({"Makefile": "test:\n\ttrue\n", "go.mod": "module x\n", "sub/Cargo.toml": ""})
    clone.git("branch", "release")
    found = looked_at(str(clone.path))
    assert found.works
    assert found.sentence == f"It works: the branch main stands at {sha[:8]}."
    assert found.branches == ("main", "release")
    assert [(one.command, one.likely) for one in found.suggestions] == [
        ("make test", True),
        ("go test ./...", False),
        ("go vet ./...", False),
    ]


def test_nothing_is_left_behind_and_nothing_is_saved(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert looked_at(str(clone.path)).works
    assert list(place.iterdir()) == []
    assert not Repository.objects.exists()


def test_only_the_latest_of_a_long_history_is_fetched(clone: Clone, monkeypatch: pytest.MonkeyPatch):
    for number in range(3):
        clone.commit({"a.txt": str(number)})
    seen: list[int] = []
    real = module._found

    def counting(store: BareRepository, sha: str, branch: str, offer: Offer) -> Survey:
        seen.append(len(store.log(sha)))
        return real(store, sha, branch, offer)

    monkeypatch.setattr(module, "_found", counting)
    assert looked_at(str(clone.path)).works
    assert seen == [1]


@pytest.mark.parametrize(
    ("url", "branch", "wrong"),
    [
        ("{nowhere}", "", ("url", "There is no directory")),
        ("{plain}", "", ("url", "is not a git repository")),
        ("{empty}", "", ("url", "is empty: make a first commit there")),
        ("{clone}", "trunk", ("branch", "There is no branch 'trunk': there are main.")),
        ("{clone}", "-x", ("branch", "is not a branch name")),
        ("https://127.0.0.1:9/x.git", "", ("url", "private or reserved address")),
        ("ssh://git@example.org/x.git", "", ("url", "ssh to example.org is not allowed")),
        ("nonsense", "", ("url", "is not an https:// address")),
    ],
)
def test_what_is_wrong_is_told_with_what_to_change(
    clone: Clone, tmp_path: Path, url: str, branch: str, wrong: tuple[str, str]
):
    (tmp_path / "plain").mkdir()
    empty = Clone(tmp_path / "empty")
    places = {"clone": clone.path, "plain": tmp_path / "plain", "empty": empty.path, "nowhere": tmp_path / "no"}
    found = looked_at(url.format(**places), branch)
    assert (found.works, found.part) == (False, wrong[0])
    assert wrong[1] in found.sentence


def test_a_path_that_nobody_allowed_is_not_looked_at(clone: Clone):
    found = looked_at(str(clone.path), path_allowed=False)
    assert (found.works, found.part) == (False, "url")
    assert "not one that an operator allowed" in found.sentence


def test_a_detached_head_needs_a_branch(clone: Clone):
    clone.commit({"a.txt": "on nobody's branch"})
    clone.git("checkout", "-q", "--detach")
    clone.git("commit", "-q", "--allow-empty", "-m", "ahead")
    found = looked_at(str(clone.path))
    assert (found.part, found.branches) == ("branch", ("main",))
    assert looked_at(str(clone.path), "main").works


def test_a_private_one_by_https_wants_a_token_and_says_which_was_wrong(world: World, hub: Hub):
    hub.private = True
    url = hub.url("shop.git")
    without = looked_at(url)
    assert (without.part, "needs a sign-in or is not there" in without.sentence) == ("token", True)
    wrong = looked_at(url, token="a-token-that-is-wrong")
    assert (wrong.part, "refused the token" in wrong.sentence) == ("token", True)
    assert "a-token-that-is-wrong" not in wrong.sentence
    assert looked_at(url, token=TOKEN).works
    assert secrets.clean(TOKEN) == REMOVED
    assert looked_at(url, "trunk", token=TOKEN).part == "branch"


def test_a_server_that_is_away_is_no_matter_of_the_token(world: World, hub: Hub):
    hub.stop()
    found = looked_at(hub.url("shop.git"), token=TOKEN)
    assert (found.part, "cannot be reached" in found.sentence) == ("url", True)


def test_the_token_lies_in_the_keyring_and_opens_the_repository(world: World, hub: Hub):
    hub.private = True
    team = factories.make_team()
    person = factories.join(factories.make_user(), team, Role.MAINTAINER)
    row = Repository(team=team, name="till", url=hub.url("shop.git"), token_env="OLD_TOKEN")
    save(row, person, TOKEN)
    assert TOKEN not in str(Repository.objects.filter(pk=row.pk).values().get())
    assert (row.token_kept, row.token_env) == (True, "")
    credential = credential_for(row, address_of(row))
    assert credential is not None
    assert credential.secret == TOKEN
    assert survey(row, "").works
    row.token_kept = False
    save(row, person, "")
    assert TOKEN not in keyring.values()
    assert survey(row, "").part == "token"

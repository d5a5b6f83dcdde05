"""What people do to a pull request, and what GitHub says: drafts, merges, closings, deletions, limits."""

from __future__ import annotations

import time
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from orchestration.adapters import github as adapter
from orchestration.adapters.github import GitHub
from orchestration.domain.publishing import FIRST_PAUSE_S, LONGEST_WAIT_S, RemoteError, Trouble, pause_s
from orchestration.models import Subtask
from orchestration.stages import publish
from orchestration.stages.finish import finish
from orchestration.stages.publish import try_again
from tests.stages.github import Scripted
from tests.stages.publications import at, due_again, ended, row
from tests.stages.remotes import TOKEN, Bare, Hub
from tests.stages.test_pull_requests import finalizing, github, shop
from tests.stages.test_revert_afterwards import taken_back, two_landed
from tests.stages.world import World

__all__ = ["github", "shop"]  # fixtures
pytestmark = [pytest.mark.sandbox, pytest.mark.any_database]


# Drafts


@pytest.fixture
def drafts(world: World, github: Scripted) -> Scripted:
    at(world, draft_pull_requests=True)
    return github


def test_what_is_all_green_is_no_draft(world: World, drafts: Scripted):
    ended(finalizing(world, "true"))
    assert drafts.pulls[0]["draft"] is False


def test_without_the_option_nothing_is_one(world: World, github: Scripted):
    ended(finalizing(world, "false"))
    assert github.pulls[0]["draft"] is False


def test_what_is_only_partly_done_is_a_draft(world: World, drafts: Scripted):
    swarm = finalizing(world, "true")
    Subtask.objects.create(swarm=swarm, name="undone", status="failed", iteration=swarm.iterations.get())
    assert ended(swarm)[0] == "partly_succeeded"
    assert drafts.pulls[0]["draft"] is True


def test_what_a_person_made_of_a_draft_stays(world: World, drafts: Scripted):
    swarm = two_landed(world, "false", landing="pull_request")
    ended(swarm)
    drafts.pulls[0]["draft"] = False
    taken_back(world, swarm)
    ended(swarm)
    assert drafts.pulls[0]["draft"] is False


def test_what_is_not_green_any_more_becomes_one(world: World, drafts: Scripted):
    swarm = two_landed(world, "test -e one.txt", landing="pull_request")
    ended(swarm)
    assert drafts.pulls[0]["draft"] is False
    taken_back(world, swarm)
    assert ended(swarm)[0] == "partly_succeeded"
    assert drafts.pulls[0]["draft"] is True


def test_where_there_are_no_drafts_it_is_told_what_to_switch_off(world: World, drafts: Scripted):
    drafts.drafts = False
    swarm = finalizing(world, "false")
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, row(swarm).landed_sha) == ("refused", "draft", "")
    assert "not supported in this repository" in reason
    assert "Switch drafts off in the repository's settings" in reason
    at(world, draft_pull_requests=False)
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "partly_succeeded"
    assert row(swarm).status == "landed"


def test_a_red_result_is_a_draft_until_it_is_green_and_a_mark_that_is_refused_is_no_landing(
    world: World, drafts: Scripted
):
    """The culprit is taken back, and the checks are green without it."""
    swarm = two_landed(world, "test ! -e one.txt", landing="pull_request")
    assert ended(swarm)[0] == "partly_succeeded"
    assert drafts.pulls[0]["draft"] is True
    before = row(swarm).landed_sha
    taken_back(world, swarm)
    drafts.no_marks = "FORBIDDEN"
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, row(swarm).landed_sha) == ("refused", "sign_in", before)
    assert "did not make pull request 1 ready for review. It said: Not yours to mark." in reason
    drafts.no_marks = ""
    try_again(swarm, world.ada)
    assert ended(swarm) == ("succeeded", "")
    assert [one["draft"] for one in drafts.pulls] == [False]
    assert (row(swarm).landed_sha, row(swarm).draft) == (swarm.head_sha, False)


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [("FORBIDDEN", Trouble.SIGN_IN), ("RATE_LIMITED", Trouble.LIMITED), ("NOT_FOUND", Trouble.OTHER)],
)
def test_errors_that_come_with_200_are_told_apart(kind: str, trouble: Trouble):
    assert adapter._graphql_error([{"type": kind, "message": "No."}], 1, draft=True).trouble is trouble


@pytest.mark.parametrize(
    ("rest", "graphql"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://git.example/api/v3", "https://git.example/api/graphql"),
    ],
)
def test_marks_are_made_beside_the_rest_api(rest: str, graphql: str):
    assert adapter._graphql(rest) == graphql


# Closed, merged, deleted


def test_closed_by_a_person_asks_and_a_second_yes_opens_another(world: World, github: Scripted):
    swarm = finalizing(world)
    closed = {"head": swarm.branch, "base": "main", "title": "old", "body": "", "number": 1, "state": "closed"}
    github.pulls.append(closed)
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble) == ("refused", "closed")
    assert "a new one is opened then" in reason
    finish(swarm.pk)
    assert len(github.pulls) == 1, "nothing is opened behind their back"
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert [one["state"] for one in github.pulls] == ["closed", "open"]


def test_nothing_is_pushed_to_one_that_was_closed_and_opened_again_it_is_that_one(
    world: World, shop: Bare, github: Scripted
):
    swarm = two_landed(world, landing="pull_request")
    ended(swarm)
    before = shop.tip(swarm.branch)
    github.pulls[0]["state"] = "closed"
    taken_back(world, swarm)
    assert ended(swarm)[0] == "finalizing"
    assert (shop.tip(swarm.branch), row(swarm).landed_sha) == (before, before)
    github.pulls[0]["state"] = "open"
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert (shop.tip(swarm.branch), len(github.pulls)) == (swarm.head_sha, 1)


def test_a_branch_that_somebody_deleted_closed_it_and_is_not_put_back_unasked(
    world: World, shop: Bare, github: Scripted
):
    swarm = two_landed(world, landing="pull_request")
    ended(swarm)
    github.delete_branch()
    taken_back(world, swarm)
    _, reason = ended(swarm)
    assert "was closed by somebody, or its branch was deleted" in reason
    assert shop.tip(swarm.branch) == ""
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert (shop.tip(swarm.branch), len(github.pulls)) == (swarm.head_sha, 2)


def test_merged_immediately_after_a_crash_is_a_landing_and_its_branch_stays_deleted(
    world: World, shop: Bare, github: Scripted, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    swarm = finalizing(world)
    with monkeypatch.context() as dying:
        dying.setattr(publish, "_record", killed)
        with pytest.raises(Killed):
            finish(swarm.pk)
    github.merge(delete=True)
    assert ended(swarm)[0] == "succeeded"
    assert (row(swarm).status, row(swarm).pull_request, len(github.pulls)) == ("landed", 1, 1)
    assert shop.tip(swarm.branch) == ""


def test_one_that_does_not_show_the_push_yet_is_no_landing(world: World, shop: Bare, github: Scripted):
    swarm = two_landed(world, landing="pull_request")
    ended(swarm)
    before = row(swarm).landed_sha
    github.pulls[0]["sha"] = before
    taken_back(world, swarm)
    assert "does not show" in ended(swarm)[1]
    assert (row(swarm).status, row(swarm).landed_sha) == ("waiting", before)
    del github.pulls[0]["sha"]
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"


def test_a_rule_against_our_branch_says_which_branches_to_allow(world: World, shop: Bare, github: Scripted):
    shop.hook("pre-receive", "echo 'GH013: Repository rule violations found'; exit 1")
    swarm = finalizing(world)
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, github.pulls) == ("refused", "protected", [])
    assert "allow branches that begin with swarm/" in reason
    assert "choose a pull request" not in reason


def test_a_token_that_ends_between_the_push_and_the_opening_is_no_landing(world: World, shop: Bare, github: Scripted):
    swarm = finalizing(world)
    github.tokens = set()
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, row(swarm).landed_sha) == ("refused", "sign_in", "")
    assert "look at the token that the repository names" in reason
    github.tokens = {TOKEN}
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"


def test_the_repository_that_is_down_while_the_api_answers_is_waited_for(world: World, github: Scripted):
    hub: Hub = github.hub  # type: ignore[attr-defined]
    swarm = finalizing(world)
    hub.stop()
    ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, github.pulls) == ("waiting", "down", [])
    hub.start()
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"


# Limits


def said(status: int, headers: dict[str, str], message: str = "slow down") -> RemoteError:
    response = httpx.Response(status, headers=headers, json={"message": message})
    return adapter._error(response, "/repos/acme/shop/pulls?head=x")


NOTHING_LEFT = {"x-ratelimit-remaining": "0"}
SECONDARY = "You have exceeded a secondary rate limit"


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (said(429, {"retry-after": "240"}), 240, 240),
        (said(403, {"retry-after": "90"}, SECONDARY), 90, 90),
        (said(403, {}, SECONDARY), 60, 60),
        (said(429, {"retry-after": "999999"}), LONGEST_WAIT_S, LONGEST_WAIT_S),
        (said(403, NOTHING_LEFT | {"x-ratelimit-reset": str(2**40)}), LONGEST_WAIT_S, LONGEST_WAIT_S),
        (said(403, NOTHING_LEFT | {"x-ratelimit-reset": "1"}), 60, 60),
        (said(503, {"retry-after": "120"}), 120, 120),
        (said(503, {}), FIRST_PAUSE_S, FIRST_PAUSE_S),
        (said(429, {"retry-after": "soon"}), 60, 60),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_github_asks_to_wait_is_what_is_waited(error: RemoteError, least: float, most: float):
    assert error.transient
    assert least <= pause_s(0, error.trouble, error.wait_s) <= most


def test_until_more_is_allowed_is_reckoned_from_the_clock():
    reset = f"{time.time() + 600:.0f}"
    assert 0 < said(403, NOTHING_LEFT | {"x-ratelimit-reset": reset}).wait_s <= 601
    assert said(403, {"x-ratelimit-remaining": "7", "x-ratelimit-reset": reset}, SECONDARY).wait_s == 0


def test_a_refusal_that_is_no_limit_is_not_waited_for():
    error = said(403, {"x-ratelimit-remaining": "4000"}, "Resource not accessible by integration")
    assert (error.trouble, error.wait_s) == (Trouble.SIGN_IN, 0.0)


def test_while_it_waits_nothing_is_asked_and_the_page_says_when(world: World, github: Scripted):
    github.answers.append((429, {"retry-after": "240"}, {"message": "slow down"}))
    swarm, before = finalizing(world), timezone.now()
    _, reason = ended(swarm)
    found = row(swarm)
    assert (found.status, found.trouble) == ("waiting", "limited")
    assert found.not_before is not None
    assert found.not_before >= before + timedelta(seconds=240)
    assert reason.endswith("It said: slow down Try 2 comes in 240 s.")
    asked = len(github.asked)
    finish(swarm.pk)
    assert len(github.asked) == asked
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"


def test_an_answer_to_a_mark_that_is_none_is_trouble(github: Scripted, settings: object):
    github.answers.append((200, {}, []))
    url = settings.SWARM["GITHUB_API_URL"]  # type: ignore[attr-defined]
    found = adapter.PullRequest(1, "", "", "", "", open=True, merged=False, draft=True, node_id="PR_1")
    with pytest.raises(RemoteError, match="did not make pull request 1 ready"):
        GitHub(url, "acme/shop", TOKEN).mark(found, draft=False)

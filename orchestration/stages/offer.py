"""One pull request for a swarm's branch: what people did to it is seen before anything is done, and never undone."""

from __future__ import annotations

from orchestration.adapters.github import GitHub, PullRequest
from orchestration.domain.publishing import RemoteError, Trouble
from orchestration.models import Publication, Swarm
from orchestration.stages.describing import describe


def found(hub: GitHub, swarm: Swarm, row: Publication) -> PullRequest | None:
    """The branch's own. Raises RemoteError where somebody closed it, unless a person has asked to go on since."""
    one = hub.pull_request(swarm.branch)
    closed = one is not None and not one.open and not one.merged
    if one and closed and row.trouble != Trouble.CLOSED:
        raise RemoteError(
            Trouble.CLOSED, f"Pull request {one.number} was closed by somebody, or its branch was deleted."
        )
    return None if closed else one


def bring(
    hub: GitHub, swarm: Swarm, row: Publication, one: PullRequest | None, head: str, *, draft: bool
) -> PullRequest:
    """It shows `head` afterwards: the open one, or a new one beside those that were merged."""
    title, text = describe(swarm)
    if one is None or one.merged:
        return _shows(hub.open(swarm.branch, row.target, title, text, draft=draft), head)
    if (one.title, one.body) != (title, text):
        one = hub.update(one.number, title, text)
    if one.head_sha != head:  # GitHub has not seen the push yet, and says of an older state what it says
        one = hub.pull_request(swarm.branch) or one
    return _marked(hub, row, _shows(one, head), draft=draft)


def _shows(one: PullRequest, head: str) -> PullRequest:
    if one.head_sha != head:
        raise RemoteError(Trouble.DOWN, f"Pull request {one.number} does not show {head[:8]} yet.")
    return one


def _marked(hub: GitHub, row: Publication, one: PullRequest, *, draft: bool) -> PullRequest:
    """A draft of ours becomes ready; what was ready and is not green any more becomes one. What a person made of it
    since stays."""
    if draft != one.draft and row.draft == one.draft:
        hub.mark(one, draft=draft)
        return hub.pull_request(row.swarm.branch) or one
    return one

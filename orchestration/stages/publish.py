"""Lands a swarm's result outward: intent before the push, and "landed" only after the remote itself says so.

1 look at the remote  2 take in what others pushed, through the queue  3 intent  4 push  5 look again  6 record. A crash
between any two is finished by the next look: what arrived is found there, and what did not is pushed again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.publishing import (
    MOVES_AT_ONCE,
    Landing,
    RemoteError,
    Trouble,
    advice,
    needs_person,
    pause_s,
)
from orchestration.domain.rights import Action
from orchestration.domain.states import (
    PUBLICATION_OPEN,
    SUBTASK_LOST,
    PublicationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Publication, Repository, Swarm, User
from orchestration.stages import offer
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.merge import merge
from orchestration.stages.prepare import address_of
from orchestration.stages.remote import NO_GITHUB, NO_SIGN_IN, Remote, credential_for, github_of, github_slug
from orchestration.stages.rows import config_of, store_of
from orchestration.stages.taking import TARGET, taken_in
from orchestration.stages.transition import Superseded, advance, moves, note, status_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What the repository's checks ran on: nothing else is pushed. `green`: everything is done, and nothing red."""

    checked: str
    green: bool


class Outward(StrEnum):
    DONE = "done"
    LATER = "later"  # its reason stands with the publication
    AGAIN = "again"  # the swarm's branch has moved: what it is now has not been checked yet


def landing_of(swarm: Swarm) -> Landing:
    """As it was when the swarm was handed in, or as a person chose since."""
    row = publication_of(swarm)
    return Landing(row.mode) if row else config_of(swarm).landing or Landing.NONE


def publication_of(swarm: Swarm) -> Publication | None:
    return Publication.objects.filter(swarm=swarm).first()


def rests(swarm: Swarm) -> bool:
    """Nothing is to be done about it at this moment."""
    row = publication_of(swarm)
    if row is None:
        return False
    match status_of(row):
        case PublicationStatus.WAITING:
            return bool(row.not_before and row.not_before > timezone.now())
        case PublicationStatus.REFUSED:
            return not _settled_since(swarm, row)
    return False


def _settled_since(swarm: Swarm, row: Publication) -> bool:
    """What others pushed did not merge, and now it has, or somebody is at it."""
    last = swarm.subtasks.filter(origin=TARGET).order_by("pk").last()
    return row.trouble == Trouble.CONFLICT and last is not None and status_of(last) not in SUBTASK_LOST


NOT_GREEN = "Not everything is done and green, so it is not put there. Take back what is red, or keep the branch only."


def hold_back(swarm: Swarm) -> str:
    """The result stays here: what is there, in a sentence. What was on its way waits for a person, or it would be
    looked at again and again."""
    row = publication_of(swarm)
    if row and status_of(row) in PUBLICATION_OPEN - {PublicationStatus.REFUSED}:
        row = _awake(swarm, row)
        _move(swarm, row, PublicationStatus.REFUSED, NOT_GREEN, trouble=Trouble.OTHER.value)
    if row is None or status_of(row) is not PublicationStatus.LANDED:
        return f"Nothing was put on {swarm.base_branch}; what landed is on {swarm.branch}."
    if row.landed_sha == swarm.head_sha:
        return ""
    return f"{row.target} stays at what was put there before; what landed since is on {swarm.branch} alone."


def land_outward(swarm: Swarm, result: Result, cancellation: Cancellation) -> Outward:
    """One try."""
    row = publication_of(swarm) or _begin(swarm)
    if status_of(row) is PublicationStatus.LANDED and row.landed_sha != result.checked:
        _move(swarm, row, PublicationStatus.PENDING, "Something has landed since.")
    if status_of(row) not in PUBLICATION_OPEN:
        return Outward.DONE
    row = _awake(swarm, row)
    try:
        address = address_of(swarm.repository)
        remote = Remote(store_of(swarm), address, credential_for(swarm.repository, address), cancellation)
        if row.mode == Landing.PULL_REQUEST:
            return _pull_request(swarm, row, remote, result)
        return _direct(swarm, row, remote, result.checked)
    except (AdapterError, InvalidInput) as error:
        if isinstance(error, AdapterError) and error.kind is Failure.CANCELLED:
            raise
        _put_off(swarm, row, error)
        return Outward.LATER


def _awake(swarm: Swarm, row: Publication) -> Publication:
    if status_of(row) in {PublicationStatus.WAITING, PublicationStatus.REFUSED}:
        _move(swarm, row, PublicationStatus.PENDING)
    return row


def _begin(swarm: Swarm) -> Publication:
    row = Publication(swarm=swarm, mode=landing_of(swarm), target=swarm.base_branch)
    with moves(swarm) as together:
        row.save()
        together.created(row)
    return row


def _direct(swarm: Swarm, row: Publication, remote: Remote, checked: str) -> Outward:
    while True:
        tip, head = remote.fetch(row.target).sha, _head(swarm)
        if remote.store.is_ancestor(head, tip):
            _record(swarm, row, head)
            return Outward.DONE
        if head != checked:
            return Outward.AGAIN
        known = row.old or swarm.base_sha
        if not remote.store.is_ancestor(known, tip):
            why = f"The history of {row.target} was rewritten: {known[:8]}, which it held, is not in it any more."
            raise RemoteError(Trouble.REWRITTEN, why)
        if status_of(row) is PublicationStatus.PUSHING:  # it did not arrive, or did not stay
            _moved(swarm, row)
        if not remote.store.is_ancestor(tip, head):
            return _take_in(swarm, row, tip)
        _move(swarm, row, PublicationStatus.PUSHING, old=tip, new=head)
        try:
            remote.push(row.target, head, tip)
        except RemoteError as error:
            if error.trouble is not Trouble.MOVED:
                raise
            logger.info("Swarm %s looks at its target again: %s", swarm.public_id, error)


def _pull_request(swarm: Swarm, row: Publication, remote: Remote, result: Result) -> Outward:
    """The swarm's own branch there, and one pull request of it: what a crash left is found before another is made."""
    hub, head = github_of(swarm.repository, remote.address), _head(swarm)
    if head != result.checked:
        return Outward.AGAIN
    found = offer.found(hub, swarm, row)
    if found and found.merged and found.head_sha != head and (lost := _merged_otherwise(swarm, row, remote)):
        return _take_in(swarm, row, lost)
    draft = swarm.repository.draft_pull_requests and not result.green
    if not (found and found.merged and found.head_sha == head):  # whoever merged it may have deleted its branch
        _bring_branch(swarm, row, remote, head)
        found = offer.bring(hub, swarm, row, found, head, draft=draft)
    _record(swarm, row, head, pull_request=found.number, url=found.url, draft=draft)
    return Outward.DONE


def _bring_branch(swarm: Swarm, row: Publication, remote: Remote, head: str) -> None:
    there = remote.tip(swarm.branch)
    if there == head:
        return
    if there and not (remote.store.contains(there) and remote.store.is_ancestor(there, head)):
        why = f"Somebody pushed to {swarm.branch} there: it stands at {there[:8]}, which this result does not hold."
        raise RemoteError(Trouble.REWRITTEN, why)
    _move(swarm, row, PublicationStatus.PUSHING, old=there, new=head)
    remote.push(swarm.branch, head, there)
    if remote.tip(swarm.branch) != head:
        raise RemoteError(Trouble.MOVED, f"{swarm.branch} is not there after the push.")


def _merged_otherwise(swarm: Swarm, row: Publication, remote: Remote) -> str:
    """A pull request that was squashed or rebased left none of our commits on the target, and a new one would show
    nothing of what was taken back. So a commit with the target's files says that ours are part of it; empty where the
    target holds ours, or this was taken in already."""
    tip, store = remote.fetch(row.target).sha, remote.store
    if not row.landed_sha or store.is_ancestor(row.landed_sha, tip) or store.is_ancestor(tip, swarm.head_sha):
        return ""
    message = f"Merge {row.target}, which holds {row.landed_sha[:12]}\n"
    parents = [tip, row.landed_sha]
    return store.commit(store.tree(tip), parents, message, author=COMMITTER, committer=COMMITTER, when=swarm.created_at)


def _head(swarm: Swarm) -> str:
    """What has landed on the swarm's branch: the record and the branch must agree before anything leaves."""
    swarm.refresh_from_db()
    tip = store_of(swarm).tip(swarm.branch)
    if tip != swarm.head_sha:
        raise AdapterError(Failure.TRANSIENT, f"The branch {swarm.branch} is just being moved.")
    return tip


def _take_in(swarm: Swarm, row: Publication, tip: str) -> Outward:
    Publication.objects.filter(pk=row.pk).update(old=tip)
    subtask = taken_in(swarm, row, tip)
    merge(swarm.pk)
    subtask.refresh_from_db()
    swarm.refresh_from_db()
    status = status_of(subtask)
    if status is SubtaskStatus.COMPLETE:
        if not store_of(swarm).is_ancestor(tip, swarm.head_sha):
            raise AdapterError(Failure.PERMANENT, f"{subtask.name} landed, and {tip[:8]} is not on {swarm.branch}.")
        return Outward.AGAIN
    if status in SUBTASK_LOST:
        raise RemoteError(
            Trouble.CONFLICT,
            f"{row.target} has moved, and what is new there cannot be taken in: {subtask.status_reason}",
        )
    reason = f"{row.target} has moved; {subtask.name} takes in what is new there."
    if status is SubtaskStatus.HANDED_OFF:
        Swarm.objects.filter(pk=swarm.pk).update(status_reason=reason)
    elif status_of(swarm) is SwarmStatus.FINALIZING:  # an agent is to settle it
        advance(swarm, swarm, SwarmStatus.RUNNING, reason=reason)
    return Outward.LATER


def _moved(swarm: Swarm, row: Publication) -> None:
    """Bounded: after some times there is a pause, after many a person is asked."""
    times = row.moved + 1
    _move(swarm, row, PublicationStatus.PENDING, moved=times)
    if times % MOVES_AT_ONCE == 0:
        raise RemoteError(Trouble.MOVED, f"{row.target} has moved {times} times between our look and our push.")


def _record(swarm: Swarm, row: Publication, head: str, **facts: Any) -> None:
    _move(swarm, row, PublicationStatus.LANDED, landed_sha=head, new=head, trouble="", tries=0, moved=0, **facts)


def _put_off(swarm: Swarm, row: Publication, error: AdapterError | InvalidInput) -> None:
    """Told with what to do: it is tried again by itself, or a person is asked."""
    trouble = _trouble(error)
    told = advice(trouble, Landing(row.mode))
    facts: dict[str, Any] = {"trouble": trouble.value, "tries": row.tries + 1}
    if needs_person(trouble, row.tries, row.moved):
        _move(swarm, row, PublicationStatus.REFUSED, f"{error} {told}", **facts)
        return
    asked_s = error.wait_s if isinstance(error, RemoteError) else 0.0
    pause = timedelta(seconds=pause_s(row.tries, trouble, asked_s))
    again = f"Try {row.tries + 2} comes in {pause.total_seconds():.0f} s." if row.tries or asked_s else told
    _move(swarm, row, PublicationStatus.WAITING, f"{error} {again}", not_before=timezone.now() + pause, **facts)


def _trouble(error: AdapterError | InvalidInput) -> Trouble:
    if isinstance(error, RemoteError):
        return error.trouble
    return Trouble.DOWN if isinstance(error, AdapterError) and error.transient else Trouble.OTHER


def _move(swarm: Swarm, row: Publication, to: PublicationStatus, reason: str = "", **fields: Any) -> None:
    """With the swarm's own reason, for as long as it waits for this."""
    with moves(swarm) as together:
        together.advance(row, to, reason=reason, **fields)
        Swarm.objects.filter(pk=swarm.pk, status=SwarmStatus.FINALIZING).update(status_reason=row.status_reason)
    swarm.refresh_from_db()


def give_up(swarm: Swarm, cancellation: Cancellation) -> None:
    """Of a swarm that was cancelled. What was being pushed at that moment may have arrived: that is looked up."""
    row, reason = publication_of(swarm), swarm.status_reason
    if row is None or status_of(row) not in PUBLICATION_OPEN:
        return
    try:
        if row.new and _arrived(swarm, row, cancellation):
            _record(swarm, _awake(swarm, row), row.new)
            return
    except (AdapterError, InvalidInput) as error:
        reason = f"{reason} Whether {row.new[:8]} had arrived is not known: {error}"
    _move(swarm, row, PublicationStatus.CANCELLED, reason)


def _arrived(swarm: Swarm, row: Publication, cancellation: Cancellation) -> bool:
    address = address_of(swarm.repository)
    remote = Remote(store_of(swarm), address, credential_for(swarm.repository, address), cancellation)
    if row.mode == Landing.PULL_REQUEST:  # the branch alone is none
        return False
    return remote.store.is_ancestor(row.new, remote.fetch(row.target).sha)


def look_again(swarm: Swarm, reason: str) -> None:
    """What a person was asked about is not what it was: the answer may be another now."""
    row = publication_of(swarm)
    if row is None or status_of(row) is not PublicationStatus.REFUSED:
        return
    try:
        _move(swarm, row, PublicationStatus.PENDING, reason, not_before=None, tries=0, moved=0)
    except Superseded:
        logger.info("The landing of swarm %s was looked at by somebody else.", swarm.public_id)


def try_again(swarm: Swarm, person: User) -> None:
    """At once, whatever it waits for."""
    row = _row_for(swarm, person, Action.STEER)
    if status_of(row) not in {PublicationStatus.WAITING, PublicationStatus.REFUSED}:
        raise InvalidInput(f"Its landing is {row.status}: there is nothing to try again.")
    _by(person, swarm, row, tries=0, moved=0)


def choose(swarm: Swarm, person: User, mode: Landing) -> None:
    """Another way to land it, or none: then the swarm ends with its branch."""
    row = _row_for(swarm, person, Action.STEER if mode is Landing.NONE else Action.CONFIGURE)
    if status_of(row) not in PUBLICATION_OPEN or status_of(row) is PublicationStatus.PUSHING:
        raise InvalidInput(f"Its landing is {row.status}: it cannot be changed at this moment.")
    if mode is Landing.NONE:
        _move(swarm, row, PublicationStatus.CANCELLED, f"{person.username} keeps the result on {swarm.branch}.")
        note(swarm, "swarm.steered", by=person.username, text="the result stays on the branch")
        return
    require_landing(swarm.repository, mode)
    _by(person, swarm, row, mode=mode.value, tries=0, moved=0, old="", new="")


def _row_for(swarm: Swarm, person: User, action: Action) -> Publication:
    if not person.may(action, swarm.repository.team):
        raise InvalidInput("Your role in the repository's team does not allow this. Ask a maintainer.")
    row = publication_of(swarm)
    if row is None:
        raise InvalidInput("Nothing of this swarm is being landed outward.")
    return row


def _by(person: User, swarm: Swarm, row: Publication, **fields: Any) -> None:
    reason = f"{person.username} asked for it."
    try:
        if status_of(row) is not PublicationStatus.PENDING:
            _move(swarm, row, PublicationStatus.PENDING, reason, not_before=None, **fields)
        else:
            Publication.objects.filter(pk=row.pk, status=PublicationStatus.PENDING).update(**fields)
            note(swarm, "swarm.steered", by=person.username, text="how the result lands")
    except Superseded:
        raise InvalidInput("It changed in this moment; look again.") from None


def require_landing(repository: Repository, mode: Landing) -> None:
    """Raises InvalidInput where this repository cannot be landed on in that way."""
    if mode is Landing.PULL_REQUEST:
        if not github_slug(address_of(repository)):
            raise InvalidInput(NO_GITHUB)
        by_app = settings.SWARM["GITHUB_APP_ID"] and repository.path_allowed
        if not (repository.token_kept or repository.token_env or by_app):
            raise InvalidInput(NO_SIGN_IN)
    if mode is Landing.DIRECT and repository.is_demo:
        raise InvalidInput("The demo's repository keeps its results on branches.")

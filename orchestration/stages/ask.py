"""Asks people for an agent: its attempt rests without a place until somebody answers, then goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.agents.assignment import Suspended
from orchestration.domain import context
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.states import ATTEMPT_LIVE, AttemptStatus, QuestionStatus, SubtaskStatus
from orchestration.domain.steering import (
    MAX_QUESTIONS,
    TOO_MANY,
    Resumption,
    answer_told,
    expiry,
    no_answer_told,
    question_key,
    said,
    shorten,
)
from orchestration.domain.texts import first_line
from orchestration.models import Attempt, Question, Suspension, Swarm, User
from orchestration.models.prepared import PreparedRows
from orchestration.stages.rows import config_of
from orchestration.stages.transition import Moves, Superseded, advance, moves, status_of

logger = logging.getLogger(__name__)
CHANGED = "It changed in this moment; look again."
NOBODY_WAITS = "Nobody waits for the answer any more."


@dataclass(frozen=True, slots=True)
class Rest:
    """The agent's state when it asked, and its work so far as a commit."""

    asked: Suspended
    head_sha: str


def known_answer(swarm: Swarm, text: str, options: Sequence[str]) -> str | None:
    """What the agent is told at once; None where it has to wait. Raises InvalidInput where too much was asked."""
    question = swarm.questions.filter(key=question_key(text, options)).first()
    if question is None and swarm.questions.count() >= MAX_QUESTIONS:
        raise InvalidInput(TOO_MANY)
    return _told(question) if question else None


def suspend(attempt: Attempt, rest: Rest) -> None:
    """All of it or nothing; nothing where the attempt is no longer ours."""
    try:
        with moves(attempt.subtask.swarm) as together:
            _suspend(attempt, rest, together)
    except Superseded:
        logger.info("Attempt %s asked a person after somebody else had ended it.", attempt.public_id)
        Attempt.objects.filter(pk=attempt.pk, head_sha="").update(head_sha=rest.head_sha)


def _suspend(attempt: Attempt, rest: Rest, together: Moves) -> None:
    question = _question(attempt, rest.asked, together)
    reason = f"Asks: {first_line(question.text, 300)}"
    together.advance(
        attempt,
        AttemptStatus.WAITING,
        reason=reason,
        lease=attempt.lease_token,
        lease_token="",
        lease_expires_at=None,
        head_sha=rest.head_sha,
        question=question,
        waiting_since=timezone.now(),
        doing="",
    )
    _remember(attempt, rest.asked)
    together.advance(attempt.subtask, SubtaskStatus.WAITING, reason=reason)
    if status_of(question) is not QuestionStatus.OPEN:  # somebody was quicker than we
        _go_on(attempt, together)


def _question(attempt: Attempt, asked: Suspended, together: Moves) -> Question:
    """Locked, so that an answer comes either before us or after."""
    swarm, now = attempt.subtask.swarm, timezone.now()
    lasts = timedelta(seconds=settings.SWARM["QUESTION_TTL"])
    given = {
        "text": clean(asked.question),
        "options": clean(list(asked.options)),
        "asked_by": attempt,
        "expires_at": expiry(now, lasts, config_of(swarm).deadline),
    }
    rows = Question.objects.select_for_update(no_key=True)
    question, created = rows.get_or_create(swarm=swarm, key=question_key(asked.question, asked.options), defaults=given)
    if created:
        together.created(question)
    elif status_of(question) is QuestionStatus.WITHDRAWN:
        together.advance(question, QuestionStatus.OPEN, asked_by=attempt, expires_at=given["expires_at"])
    return question


def _remember(attempt: Attempt, asked: Suspended) -> None:
    kept = {
        "call_id": asked.call_id,
        "conversation": clean(context.dump(shorten(asked.messages))),
        "memory": clean(asked.memory),
        "used_s": asked.used_s,
    }
    Suspension.objects.update_or_create(attempt=attempt, defaults=kept)


def answer(question: Question, person: User, text: str) -> None:
    """Everybody who asked it goes on with this answer, as soon as there is a place."""
    swarm = question.swarm
    if not person.may(Action.STEER, swarm.repository.team):
        raise InvalidInput("Only members of the repository's team may answer its agents.")
    if status_of(question) is not QuestionStatus.OPEN:
        raise InvalidInput(f"The question is {question.status}; it needs no answer any more.")
    words = clean(said(text, "answer"))
    try:
        with moves(swarm) as together:
            reason = f"Answered by {person.username}."
            together.advance(question, QuestionStatus.ANSWERED, reason=reason, answer=words, answered_by=person)
            _wake(question, together)
    except Superseded:
        raise InvalidInput(CHANGED) from None


def _wake(question: Question, together: Moves) -> None:
    waiting = question.askers.filter(status=AttemptStatus.WAITING, subtask__status=SubtaskStatus.WAITING)
    for attempt in waiting.select_related("subtask").order_by("pk"):
        _go_on(attempt, together)


def _go_on(attempt: Attempt, together: Moves) -> None:
    """It waits for a place like any other from here on; dispatch gives it to the same attempt."""
    together.advance(attempt.subtask, SubtaskStatus.PENDING, reason="", not_before=None, wait_reason="")


_kept = PreparedRows(lambda attempt: Suspension.objects.filter(attempt=attempt))


def resumption_of(attempt: Attempt) -> Resumption | None:
    """What its agent needs to go on; None where it begins."""
    question = attempt.question
    kept = next(iter(_kept(attempt=attempt.pk)), None) if question else None
    if kept is None or question is None:
        return None
    return Resumption(
        messages=context.load(kept.conversation),
        call_id=kept.call_id,
        question=question.text,
        answer=_told(question) or no_answer_told("Nobody has answered."),
        memory=kept.memory,
        used_s=kept.used_s,
        steps=attempt.steps,
    )


def resumed(attempt: Attempt) -> dict[str, Any]:
    """What changes with its claim: its wait is over, and its conversation is with its agent again."""
    Suspension.objects.filter(attempt=attempt).delete()
    since = attempt.waiting_since or timezone.now()
    waited = round((timezone.now() - since).total_seconds() * 1000)
    return {"waiting_since": None, "waited_ms": attempt.waited_ms + max(0, waited)}


_unanswered = PreparedRows(
    lambda now: Question.objects.filter(status=QuestionStatus.OPEN, expires_at__lte=now).select_related("swarm")
)
_stuck = PreparedRows(
    lambda: (
        Question.objects.exclude(status=QuestionStatus.OPEN)
        .filter(askers__status=AttemptStatus.WAITING, askers__subtask__status=SubtaskStatus.WAITING)
        .select_related("swarm")
        .distinct()
    )
)


def look_after_questions() -> None:
    """From the tick: what nobody answered in time, what nobody waits for, and an answer whose wake-up was lost."""
    for question in _unanswered(now=timezone.now()):
        _expire(question)
    withdraw_unasked()
    for question in _stuck():
        _wake_alone(question)


def _expire(question: Question) -> None:
    hours = (question.expires_at - question.asked_at).total_seconds() / 3600
    reason = f"Nobody answered within {hours:.3g} hours."
    try:
        with moves(question.swarm) as together:
            together.advance(question, QuestionStatus.EXPIRED, reason=reason)
            _wake(question, together)
    except Superseded:
        logger.info("Question %s was answered at the last moment.", question.public_id)


def _wake_alone(question: Question) -> None:
    try:
        with moves(question.swarm) as together:
            _wake(question, together)
    except Superseded:
        logger.info("Whoever asked question %s was woken by somebody else.", question.public_id)


def _nobody_asks() -> QuerySet[Question]:
    waiting = Attempt.objects.filter(question=OuterRef("pk"), status__in=ATTEMPT_LIVE)
    return Question.objects.filter(~Exists(waiting), status=QuestionStatus.OPEN).select_related("swarm")


_all_unasked = PreparedRows(_nobody_asks)
_unasked = PreparedRows(lambda swarm: _nobody_asks().filter(swarm=swarm))


def withdraw_unasked(swarm: Swarm | None = None) -> None:
    """Whoever asked was cancelled meanwhile: nobody needs to answer."""
    for question in _unasked(swarm=swarm.pk) if swarm else _all_unasked():
        advance(question.swarm, question, QuestionStatus.WITHDRAWN, reason=NOBODY_WAITS)


def _told(question: Question) -> str | None:
    if status_of(question) is QuestionStatus.ANSWERED:
        person = question.answered_by.username if question.answered_by else "Somebody"
        return answer_told(person, question.answer)
    if status_of(question) is QuestionStatus.EXPIRED:
        return no_answer_told(question.status_reason)
    return None

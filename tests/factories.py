"""Rows for tests, each with just enough around it. Everything can be set by keyword."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from orchestration.domain.config import SwarmConfig
from orchestration.domain.rights import Role
from orchestration.domain.sharing import as_json, schema_of
from orchestration.domain.states import ATTEMPT_LIVE, SUBTASK_SETTLED, SWARM_OVER, AttemptStatus
from orchestration.models import (
    Agent,
    ApiToken,
    Artifact,
    Attempt,
    CheckRun,
    Delivery,
    Event,
    GateRun,
    Handoff,
    Membership,
    MergeEntry,
    Message,
    ModelEndpoint,
    PlanIteration,
    Question,
    Repository,
    SharedResult,
    Step,
    Subtask,
    Swarm,
    Team,
    User,
)

PASSWORD = "correct horse battery"
SHA = "0123456789abcdef0123456789abcdef01234567"
_number = count(1)


def make_user(name: str = "", **fields: Any) -> User:
    return User.objects.create(username=name or f"person-{next(_number)}", password=_hashed(), **fields)


@cache
def _hashed() -> str:
    """Once a process: hashing is slow on purpose."""
    return make_password(PASSWORD)


def make_team(name: str = "", **members: Role) -> Team:
    """`make_team(ada=Role.OWNER)` also makes Ada."""
    team = Team.objects.create(name=name or f"team-{next(_number)}")
    for member, role in members.items():
        join(User.objects.filter(username=member).first() or make_user(member), team, role)
    return team


def join(user: User, team: Team, role: Role) -> User:
    Membership.objects.create(user=user, team=team, role=role)
    return user


def make_repository(team: Team | None = None, **fields: Any) -> Repository:
    given = {"name": f"repository-{next(_number)}", "url": "https://example.org/shop.git", "checks": ["make test"]}
    return Repository.objects.create(team=team or make_team(), **given | fields)


def make_endpoint(team: Team | None = None, **fields: Any) -> ModelEndpoint:
    given = {"name": f"endpoint-{next(_number)}", "base_url": "http://127.0.0.1:9/v1", "model": "large-1"}
    return ModelEndpoint.objects.create(team=team or make_team(), **given | fields)


def make_swarm(repository: Repository | None = None, **fields: Any) -> Swarm:
    """With the swarm comes its first planner call, which its subtasks belong to."""
    repository = repository or make_repository()
    fields.setdefault("status", "running")
    fields.setdefault("endpoint", None)
    endpoint = fields.pop("endpoint") or make_endpoint(repository.team, is_demo=repository.is_demo)
    requester = fields.pop("requester", None) or join(make_user(), repository.team, Role.MEMBER)
    if fields["status"] in SWARM_OVER:
        fields.setdefault("finished_at", timezone.now())
    given = {
        "title": "Replace the session store with Redis",
        "request": "Replace the session store with Redis\n\nKeep the old one readable for a week.",
        "config": SwarmConfig().model_dump(mode="json"),
        "base_branch": "main",
        "base_sha": SHA,
        "head_sha": SHA,
    }
    created_at = fields.pop("created_at", None)
    swarm = Swarm.objects.create(repository=repository, endpoint=endpoint, requester=requester, **given | fields)
    if created_at:
        backdate(swarm, created_at)
    make_iteration(swarm)
    return swarm


def backdate(row: Any, created_at: datetime) -> None:
    type(row).objects.filter(pk=row.pk).update(created_at=created_at)
    row.refresh_from_db()


def make_iteration(swarm: Swarm, **fields: Any) -> PlanIteration:
    number = PlanIteration.objects.filter(swarm=swarm).count() + 1
    given = {"status": "done", "scratchpad": "Goals: **sessions** in Redis.", "steps": 3}
    given |= {"finished_at": timezone.now()} if fields.get("status", "done") != "running" else {}
    return PlanIteration.objects.create(swarm=swarm, number=number, **given | fields)


def make_subtask(swarm: Swarm | None = None, *, needs: list[Subtask] | None = None, **fields: Any) -> Subtask:
    swarm = swarm or make_swarm()
    needs = needs or []
    given = {
        "name": f"subtask-{next(_number)}",
        "instruction": "Write the **store**.",
        "acceptance": "Sessions survive a restart.",
        "scope": [],
        "level": max((need.level + 1 for need in needs), default=0),
    }
    if fields.get("status") in SUBTASK_SETTLED:
        fields.setdefault("finished_at", timezone.now())
    iteration = fields.pop("iteration", None) or PlanIteration.objects.filter(swarm=swarm).order_by("number").last()
    subtask = Subtask.objects.create(swarm=swarm, iteration=iteration, **given | fields)
    subtask.dependencies.set(needs)
    return subtask


def make_attempt(subtask: Subtask | None = None, **fields: Any) -> Attempt:
    subtask = subtask or make_subtask()
    fields.setdefault("status", "running")
    now = timezone.now()
    given: dict[str, Any] = {
        "number": Attempt.objects.filter(subtask=subtask).count() + 1,
        "started_at": now - timedelta(minutes=3),
        "last_sign_at": now - timedelta(seconds=12),
        "lease_token": "token",
        "doing": "edit_file shop/sessions/store.py",
        "base_sha": SHA,
        "steps": 7,
        "tool_calls": 11,
        "tokens": 212_000,
        "cost_usd": "0.61",
    }
    if AttemptStatus(fields["status"]) not in ATTEMPT_LIVE:
        given |= {"finished_at": now, "doing": ""}
    return Attempt.objects.create(subtask=subtask, **given | fields)


def make_entry(attempt: Attempt | None = None, **fields: Any) -> MergeEntry:
    attempt = attempt or make_attempt(status="complete")
    given: dict[str, Any] = {"head_sha": SHA}
    if fields.get("status") == "landed":
        given |= {"landed_sha": SHA, "finished_at": timezone.now()}
    return MergeEntry.objects.create(
        swarm=attempt.subtask.swarm, subtask=attempt.subtask, attempt=attempt, **given | fields
    )


def make_agent(team: Team, **fields: Any) -> Agent:
    plain: dict[str, Any] = {"team": team, "name": f"agent-{next(_number)}", "kind": "command", "argv": ["/bin/true"]}
    return Agent.objects.create(**plain | fields)


def make_gate(swarm: Swarm, *entries: MergeEntry, **fields: Any) -> GateRun:
    given: dict[str, Any] = {"status": "green", "why": "to land these together", "commit": SHA, "tip": SHA}
    given |= {"tree": f"{next(_number):040x}", "definition": "d" * 64, "duration_ms": 1234}
    if fields.get("status") not in {"waiting", "running"}:
        given["finished_at"] = timezone.now()
    return GateRun.objects.create(swarm=swarm, entries=[one.public_id for one in entries], **given | fields)


def make_handoff(attempt: Attempt, **fields: Any) -> Handoff:
    given = {
        "status": "complete",
        "summary": "The store writes to **Redis**.",
        "concerns": ["Keys have no prefix yet."],
        "suggestions": ["Add an expiry."],
        "files_changed": ["shop/sessions/store.py"],
        "insertions": 40,
        "deletions": 12,
        "duration_ms": 180_000,
    }
    return Handoff.objects.create(attempt=attempt, **given | fields)


def make_step(attempt: Attempt, **fields: Any) -> Step:
    number = Step.objects.filter(attempt=attempt).count() + 1
    return Step.objects.create(attempt=attempt, number=number, **{"turn": number, "text": "Reading."} | fields)


def make_check(swarm: Swarm, **fields: Any) -> CheckRun:
    given = {"sha": SHA, "command": "make test", "passed": True, "exit_code": 0, "output": "12 passed"}
    return CheckRun.objects.create(swarm=swarm, **given | {"duration_ms": 4200} | fields)


def make_artifact(swarm: Swarm, **fields: Any) -> Artifact:
    given = {"type": "report", "name": "findings.md", "mime": "text/markdown", "sha256": "0" * 64, "size": 12}
    return Artifact.objects.create(swarm=swarm, **given | fields)


def make_token(user: User, name: str = "the deployment of the shop's nightly build") -> ApiToken:
    return ApiToken.objects.create(user=user, name=name, digest=f"{next(_number):064}")


def make_shared(attempt: Attempt, **fields: Any) -> SharedResult:
    now = timezone.now()
    given: dict[str, Any] = {"key": f"key-{next(_number)}", "value": {"port": 8080}, "tags": ["net"]}
    given |= fields
    given |= {"schema": schema_of(given["value"]), "size": len(as_json(given["value"]))}
    times = {"updated_at": now, "expires_at": now + timedelta(days=7)}
    subtask = attempt.subtask
    return SharedResult.objects.create(swarm=subtask.swarm, subtask=subtask, attempt=attempt, **times | given)


def make_question(swarm: Swarm, *askers: Attempt, **fields: Any) -> Question:
    """Asked by these attempts, which wait; without any by one of its own that is over."""
    asked_by = askers[0] if askers else make_attempt(make_subtask(swarm, status="failed"), status="failed")
    given: dict[str, Any] = {"text": "Tabs or spaces?", "options": ["tabs", "spaces"], "asked_by": asked_by}
    given |= {"key": f"{next(_number):064}", "expires_at": timezone.now() + timedelta(hours=24)}
    question = Question.objects.create(swarm=swarm, **given | fields)
    Attempt.objects.filter(pk__in=[one.pk for one in askers]).update(question=question)
    return question


def make_message(swarm: Swarm, text: str, *listeners: Subtask | None, **fields: Any) -> Message:
    """From the swarm's requester; None is the planner."""
    message = Message.objects.create(swarm=swarm, text=text, **{"sender": swarm.requester} | fields)
    Delivery.objects.bulk_create(Delivery(message=message, subtask=listener) for listener in listeners)
    return message


def make_clash(swarm: Swarm, subtask: Subtask, other: Subtask | None, *paths: str, **fields: Any) -> None:
    """One more that the forecast has seen."""
    told = fields | {"other": other.public_id if other else "", "other_name": other.name if other else "what landed"}
    row = {"place": "landed", "sure": True} | told | {"paths": paths or ("shop/urls.py",)}
    swarm.clashes = [*swarm.clashes, {"subtask": subtask.public_id, "name": subtask.name} | row]
    Swarm.objects.filter(pk=swarm.pk).update(clashes=swarm.clashes)


def make_event(swarm: Swarm, kind: str, **facts: Any) -> Event:
    swarm.last_seq += 1
    swarm.save(update_fields=["last_seq"])
    return Event.objects.create(swarm=swarm, seq=swarm.last_seq, kind=kind, facts=facts)

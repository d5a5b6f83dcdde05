"""What the planner and the workers are told: rows and repository, put into the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from django.db.models import Q

from orchestration.adapters import prompts
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.config import Strategy, SwarmConfig
from orchestration.domain.context import Part, history, line_news
from orchestration.domain.sharing import told_first
from orchestration.domain.states import AttemptStatus, IterationStatus, SubtaskStatus
from orchestration.domain.subplans import MAX_CHILDREN, MAX_DEPTH, SPLIT_FROM
from orchestration.domain.trees import tree
from orchestration.models import Delivery, Handoff, Subtask, Swarm
from orchestration.models.prepared import PreparedRead, PreparedRows
from orchestration.stages.rows import config_of
from orchestration.stages.sharing import of_dependencies
from orchestration.stages.standing import FAILURES, Standing

MAX_FILES = 600
MAX_FILES_COUNTED = 200_000
MAX_FILES_COMPARED = 20_000
MAX_DOCUMENT_BYTES = 20_000
LOG_ENTRIES = 20
GUIDANCE = ("AGENTS.md",)
DOCUMENTS = ("AGENTS.md", "SPEC.md", "FEATURES.json", "DECISIONS.md")
TIP = "tip"  # the commit that the planner last saw, beside the hashes of what it was sent
HANDED_OFF = "Handed off since you last planned"
FROM_PEOPLE = "Messages from people who watch over this swarm: follow them"

BOUNDS: Mapping[str, str] = {
    "verify": " Run what you need to find out; what commands change in your copy is thrown away.",
    "research": " You only look: nothing can be changed, and what you found goes into your handoff.",
}
STRATEGIES: Mapping[Strategy, str] = {
    Strategy.AUTOMATIC: "Strategy: find the split that lets the most tasks run at once without touching one another.",
    Strategy.BY_DOMAIN: "Strategy: split by domain: each task belongs to one specialty, named in `specialty`.",
    Strategy.BY_DATA: "Strategy: split by data: the same work on separate files, sections or data sets. No two tasks "
    "of a plan may share a path: every task that changes files names its `scope`.",
    Strategy.BY_STAGE: "Strategy: split by stage: gather, then process, then put together. Every task but those of the "
    "first stage names what it follows in `dependencies`.",
    Strategy.NONE: "Strategy: do not split. Plan the whole request as exactly one task.",
}


def planner_system(standing: Standing) -> str:
    config = config_of(standing.swarm)
    if standing.parent:
        return prompts.render("subplanner-system", limits=_part_limits(standing.parent, config))
    limits = (
        f"At most {config.slots} tasks run at once; the chain of dependencies should not exceed "
        f"{config.critical_path_threshold} tasks: cut a longer one."
    )
    if config.strategy is not Strategy.NONE:
        limits += f" A task whose scope has {SPLIT_FROM} entries or more, or that sets `decompose`, is split again."
    if config.working_dir:
        limits += f" Every scope lies inside {config.working_dir}."
    return prompts.render("planner-system", strategy=STRATEGIES[config.strategy], limits=limits)


def _part_limits(parent: Subtask, config: SwarmConfig) -> str:
    scope = ", ".join(parent.scope) or config.working_dir or ""
    again = (
        f"A part whose scope has {SPLIT_FROM} entries or more, or that sets `decompose`, is split again."
        if parent.depth + 1 < MAX_DEPTH
        else "The parts are not split again."
    )
    inside = f" Every scope lies inside: {scope}." if scope else ""
    return f"At most {MAX_CHILDREN} parts a plan.{inside} {again}"


def planner_parts(
    standing: Standing, store: BareRepository, tip: str, seen_tip: str, new: Sequence[Handoff]
) -> list[Part]:
    """What a planner is to know now; `seen_tip` is the commit that it knows already, `new` what it has not heard."""
    rows = list(standing.subtasks)
    seen = seen_tip if seen_tip and seen_tip != tip and store.contains(seen_tip) else ""
    documents = [Part(name, _document(store, tip, name)) for name in DOCUMENTS]
    return [
        Part("Files on the integration branch", _files(store, tip), _files_news(store, seen, tip) if seen else ""),
        Part("Latest commits", _log(store, tip), _log_news(store, seen, tip) if seen else ""),
        *documents,
        Part("Tasks so far (name: status)", "\n".join(_subtask_line(row) for row in rows)),
        Part(FAILURES, standing.failures),
        Part(HANDED_OFF, "\n\n".join(_handoff(one) for one in new)),
        Part(FROM_PEOPLE, _said(standing.said), _said(standing.unheard)),
    ]


def _said(deliveries: Sequence[Delivery]) -> str:
    return "\n\n".join(f"{one.message.author}: {one.message.text}" for one in deliveries)


def for_planner_first(standing: Standing, tip: str, context: str) -> str:
    """The message that a conversation begins with: all that there is to know, and the scratchpads of an older one."""
    swarm, parent = standing.swarm, standing.parent
    done = standing.iterations.filter(status=IterationStatus.DONE).order_by("number")
    notes = history(list(done.values_list("scratchpad", flat=True)))
    earlier = f"Your scratchpads of earlier iterations:\n{notes}\n" if notes else ""
    if parent:
        return prompts.render(
            "subplanner-first",
            swarm_id=swarm.public_id,
            subtask_name=parent.name,
            instruction=parent.instruction,
            acceptance=parent.acceptance or "the instruction is fulfilled.",
            scope=", ".join(parent.scope) or "what the instruction needs",
            request=swarm.request,
            base=tip[:12],
            history=earlier,
            context=context,
        )
    return prompts.render(
        "planner-first",
        swarm_id=swarm.public_id,
        request=swarm.request,
        repository=swarm.repository.name,
        base=tip[:12],
        history=earlier,
        context=context,
    )


def for_planner_again(standing: Standing, context: str) -> str:
    """The next message of a conversation that goes on."""
    number = standing.iterations.filter(status=IterationStatus.DONE).count() + 1
    return prompts.render("planner-again", iteration=number, context=context)


def worker_system(swarm: Swarm, subtask: Subtask, config: SwarmConfig, store: BareRepository) -> str:
    """AGENTS.md is read at the base commit, never from a branch that an agent wrote."""
    minutes = f"You have {config.subagent_timeout_secs} seconds." if config.subagent_timeout_secs < 3600 else ""
    return prompts.render(
        "worker-system",
        kind=subtask.kind,
        bounds=BOUNDS.get(subtask.kind, ""),
        max_steps=config.max_steps_per_subagent,
        minutes=minutes,
        guidance=_documents(store, swarm.base_sha, GUIDANCE),
    )


def worker_task(swarm: Swarm, subtask: Subtask) -> str:
    return prompts.render(
        "worker-task",
        swarm_id=swarm.public_id,
        subtask_name=subtask.name,
        instruction=subtask.instruction,
        acceptance=subtask.acceptance or "the instruction is fulfilled.",
        checks="; ".join(f"`{check}`" for check in subtask.acceptance_checks) or "(none)",
        scope=", ".join(_scope_of(subtask)) or "what the instruction needs",
        request=swarm.request,
        dependencies="\n".join(map(_handoff, handoffs_for(subtask))) or "(none)",
        results=told_first(of_dependencies(subtask)) or "(none)",
    )


_needed = PreparedRead(
    lambda subtask: Subtask.dependencies.through.objects.filter(from_subtask=subtask).values_list("to_subtask")
)
_done = PreparedRead(
    lambda needed: (
        Handoff.objects.filter(
            Q(attempt__subtask__in=needed, attempt__status=AttemptStatus.COMPLETE) | Q(parent__in=needed)
        )
        .order_by()
        .values_list("pk")
    )
)
_SAID = ("status", "summary", "concerns", "suggestions", "suspicious", "files_changed")
_WHOSE = ("attempt__status", "attempt__subtask__name", "parent__name")
_handoffs = PreparedRows(
    lambda pks: Handoff.objects.filter(pk__in=pks).select_related("attempt__subtask", "parent").only(*_SAID, *_WHOSE)
)


def handoffs_for(subtask: Subtask) -> list[Handoff]:
    """What the subtasks that it builds on handed off, and the parts of these."""
    needed = [pk for (pk,) in _needed(subtask=subtask.pk)]
    done = [pk for (pk,) in _done(needed=needed)] if needed else []
    return _handoffs(pks=done) if done else []


def outside_task(swarm: Swarm, subtask: Subtask, config: SwarmConfig, store: BareRepository, task: str) -> str:
    """Everything in one text, for an agent with tools and a system prompt of its own."""
    return prompts.render(
        "outside-worker",
        task=task,
        kind=subtask.kind,
        minutes=f"You have {config.subagent_timeout_secs} seconds.",
        guidance=_documents(store, swarm.base_sha, GUIDANCE),
    )


def _scope_of(subtask: Subtask) -> Sequence[str]:
    """Its own; a part without one keeps to that of the whole."""
    found: Sequence[str] = subtask.scope
    return found or (_scope_of(subtask.parent) if subtask.parent else ())


def _subtask_line(row: Subtask) -> str:
    reason = row.status_reason or (row.wait_reason if row.status == SubtaskStatus.PENDING else "")
    return f"- {row.name}: {row.status}{f' ({reason})' if reason else ''}"


def _handoff(one: Handoff) -> str:
    lines = [f"{one.subtask.name} ({one.ending}): {one.summary[:2000]}"]
    lines += [f"  concern: {text[:500]}" for text in one.concerns[:10]]
    lines += [f"  suggestion: {text[:500]}" for text in one.suggestions[:10]]
    if one.suspicious:
        lines.append(f"  doubt: {one.suspicious}")
    if one.files_changed:
        more = f" and {len(one.files_changed) - 20} more" if len(one.files_changed) > 20 else ""
        lines.append(f"  changed: {', '.join(one.files_changed[:20])}{more}")
    return "\n".join(lines)


def _files(store: BareRepository, sha: str) -> str:
    """The tree: what has no room is counted, and a tool lists it."""
    return "\n".join(tree(store.list_files(sha, limit=MAX_FILES_COUNTED), MAX_FILES)) or "(none)"


def _files_news(store: BareRepository, seen: str, tip: str) -> str:
    return line_news(*(store.list_files(sha, limit=MAX_FILES_COMPARED) for sha in (seen, tip)))


def _log(store: BareRepository, sha: str) -> str:
    return "\n".join(_log_lines(store, sha))


def _log_lines(store: BareRepository, sha: str) -> list[str]:
    return [f"{entry.sha[:10]} {entry.author}: {entry.subject}" for entry in store.log(sha, limit=LOG_ENTRIES)]


def _log_news(store: BareRepository, seen: str, tip: str) -> str:
    known = set(_log_lines(store, seen))
    return "\n".join(f"+ {line}" for line in _log_lines(store, tip) if line not in known)


def _document(store: BareRepository, sha: str, name: str) -> str:
    return _document_at(store.path, sha, name)


@lru_cache(maxsize=64)
def _document_at(repository: Path, sha: str, name: str) -> str:
    """What stands in a commit never changes, and a hundred agents are told the same."""
    content = BareRepository(repository).read_file(sha, name, max_bytes=MAX_DOCUMENT_BYTES)
    return content.decode("utf-8", "replace").strip() if content else ""


def _documents(store: BareRepository, sha: str, names: Sequence[str]) -> str:
    found = ((name, _document(store, sha, name)) for name in names)
    return "\n".join(f"{name} of the repository:\n{text}\n" for name, text in found if text)

"""What the planner and the workers are told: rows and repository, put into the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestration.adapters import prompts
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.config import Strategy, SwarmConfig
from orchestration.domain.states import SubtaskStatus
from orchestration.models import Attempt, Handoff, Subtask, Swarm

MAX_FILES = 600
MAX_DOCUMENT_BYTES = 20_000
GUIDANCE = ("AGENTS.md",)
DOCUMENTS = ("AGENTS.md", "SPEC.md", "FEATURES.json", "DECISIONS.md")

STRATEGIES: Mapping[Strategy, str] = {
    Strategy.AUTOMATIC: "Strategy: find the split that lets the most tasks run at once without touching one another.",
    Strategy.BY_DOMAIN: "Strategy: split by domain: each task belongs to one specialty, named in `specialty`.",
    Strategy.BY_DATA: "Strategy: split by data: the same work on separate files, sections or data sets.",
    Strategy.BY_STAGE: "Strategy: split by stage: gather, then process, then put together.",
    Strategy.NONE: "Strategy: do not split. Plan the whole request as exactly one task.",
}


def planner_system(config: SwarmConfig) -> str:
    limits = (
        f"At most {config.slots} tasks run at once; the chain of dependencies should not exceed "
        f"{config.critical_path_threshold} tasks: cut a longer one."
    )
    if config.working_dir:
        limits += f" Every scope lies inside {config.working_dir}."
    return prompts.render("planner-system", strategy=STRATEGIES[config.strategy], limits=limits)


def for_planner(
    swarm: Swarm,
    store: BareRepository,
    tip: str,
    known: Mapping[str, SubtaskStatus],
    handoffs: Sequence[Handoff],
) -> str:
    """The planner's first message: of the first iteration, or of a later one with what happened since."""
    files, log = _files(store, tip), _log(store, tip)
    last = swarm.iterations.filter(status="done").last()
    if last is None:
        return prompts.render(
            "planner-first",
            swarm_id=swarm.public_id,
            request=swarm.request,
            repository=swarm.repository.name,
            base=tip[:12],
            files=files,
            log=log,
            guidance=_documents(store, tip, DOCUMENTS),
        )
    new = handoffs[last.handoffs_seen :]
    return prompts.render(
        "planner-again",
        swarm_id=swarm.public_id,
        request=swarm.request,
        iteration=last.number + 1,
        scratchpad=last.scratchpad or "(empty)",
        subtasks="\n".join(_subtask_line(row) for row in swarm.subtasks.all()) or "(none)",
        handoffs="\n\n".join(_handoff(one) for one in new) or "(none)",
        files=files,
        log=log,
    )


def worker_system(swarm: Swarm, subtask: Subtask, config: SwarmConfig, store: BareRepository) -> str:
    """AGENTS.md is read at the base commit, never from a branch that an agent wrote."""
    minutes = f"You have {config.subagent_timeout_secs} seconds." if config.subagent_timeout_secs < 3600 else ""
    return prompts.render(
        "worker-system",
        kind=subtask.kind,
        max_steps=config.max_steps_per_subagent,
        minutes=minutes,
        guidance=_documents(store, swarm.base_sha, GUIDANCE),
    )


def worker_task(swarm: Swarm, subtask: Subtask) -> str:
    done = Attempt.objects.filter(subtask__in=subtask.dependencies.all(), status="complete")
    return prompts.render(
        "worker-task",
        swarm_id=swarm.public_id,
        subtask_name=subtask.name,
        instruction=subtask.instruction,
        acceptance=subtask.acceptance or "the instruction is fulfilled.",
        checks="; ".join(f"`{check}`" for check in subtask.acceptance_checks) or "(none)",
        scope=", ".join(subtask.scope) or "what the instruction needs",
        request=swarm.request,
        dependencies="\n".join(
            _handoff(one.handoff) for one in done.select_related("handoff", "subtask") if hasattr(one, "handoff")
        )
        or "(none)",
    )


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
    """The tree, cut evenly enough to read: a tool lists the rest."""
    paths = store.list_files(sha, limit=MAX_FILES + 1)
    more = ["... and more; use list_files"] if len(paths) > MAX_FILES else []
    return "\n".join(paths[:MAX_FILES] + more) or "(none)"


def _log(store: BareRepository, sha: str) -> str:
    return "\n".join(f"{entry.sha[:10]} {entry.author}: {entry.subject}" for entry in store.log(sha, limit=20))


def _documents(store: BareRepository, sha: str, names: Sequence[str]) -> str:
    found = []
    for name in names:
        content = store.read_file(sha, name, max_bytes=MAX_DOCUMENT_BYTES)
        if content:
            found.append(f"{name} of the repository:\n{content.decode('utf-8', 'replace').strip()}\n")
    return "\n".join(found)

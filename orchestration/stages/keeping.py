"""Keeps what attempts make as artifacts: what an agent saves, and what the system would otherwise cut off.

Content lies under its SHA-256 and is stored once. Artifacts are kept as long as their swarm, or as an operator says.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator

from orchestration.adapters import storage
from orchestration.adapters.secrets import clean, redactor
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.handoffs import CheckResult
from orchestration.models import Artifact, Attempt, Step, Swarm
from orchestration.models.prepared import PreparedRead, insert
from orchestration.stages.transition import moves

logger = logging.getLogger(__name__)
MAX_BYTES = 20_000_000
MAX_SAVED = 200  # by one attempt's agent
MAX_OUTPUTS = 200  # of one attempt, that were too long for its model
TRANSCRIPT, CHECK_LOG, TOOL_OUTPUT = "transcript", "check-log", "tool-output"
OURS = (TRANSCRIPT, CHECK_LOG, TOOL_OUTPUT)
CUT = b"\n... the middle is not kept ...\n"
LINES = "application/x-ndjson"
PLAIN = "text/plain"


def save(attempt: Attempt, *, type_: str, name: str, mime: str, content: bytes) -> str:
    """What the agent is told. Raises InvalidInput where it is too large, or too many."""
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"The artifact has {len(content):,} bytes; at most {MAX_BYTES:,} are kept.")
    if attempt.artifacts.exclude(type__in=OURS).count() >= MAX_SAVED:
        raise InvalidInput(f"This attempt has saved {MAX_SAVED} artifacts; no more are kept.")
    swarm = attempt.subtask.swarm
    artifact = _stored(swarm, attempt, type_=type_, name=name, mime=mime, content=content)
    with moves(swarm) as together:
        insert([artifact])
        together.record("artifact.saved", id=artifact.public_id, name=artifact.name, size=artifact.size)
    return f"Saved {artifact.name} ({artifact.size:,} bytes)."


def keep_output(attempt: Attempt, name: str, text: str) -> str:
    """Its name; empty where it is one too many, or cannot be kept: that must not end the work it comes from."""
    if attempt.artifacts.filter(type=TOOL_OUTPUT).count() >= MAX_OUTPUTS:
        return ""
    return _keep(attempt.subtask.swarm, attempt, type_=TOOL_OUTPUT, name=name, text=text)


def keep_checks(swarm: Swarm, attempt: Attempt | None, checks: Iterable[CheckResult]) -> None:
    """The whole output of each that is longer than what its row holds."""
    for number, check in enumerate(checks, 1):
        if check.whole:
            _keep(swarm, attempt, type_=CHECK_LOG, name=f"check-{number}.log", text=f"$ {check.command}\n{check.whole}")


def keep_transcript(attempt: Attempt) -> None:
    """One JSON object a step: what was said, called and answered, as the page shows it."""
    lines = list(_lines(attempt))
    if lines:
        name, text = f"transcript-{attempt.number}.jsonl", "\n".join(lines) + "\n"
        _keep(attempt.subtask.swarm, attempt, type_=TRANSCRIPT, name=name, text=text, mime=LINES)


_TOLD = ("number", "turn", "at", "text", "tool", "arguments", "ok", "duration_ms", "tokens")
_steps = PreparedRead(lambda attempt: Step.objects.filter(attempt=attempt).order_by("number").values_list(*_TOLD))


def _lines(attempt: Attempt) -> Iterator[str]:
    for number, turn, at, text, tool, arguments, ok, duration_ms, tokens in _steps(attempt=attempt.pk):
        said = {"number": number, "turn": turn, "at": at.isoformat(), "text": text}
        called = {"tool": tool, "arguments": arguments, "ok": ok, "ms": duration_ms}
        yield json.dumps(said | (called if tool else {"tokens": tokens}), ensure_ascii=False)


def _keep(swarm: Swarm, attempt: Attempt | None, *, type_: str, name: str, text: str, mime: str = PLAIN) -> str:
    """Without an event of its own: what it belongs to has one."""
    content = text.encode("utf-8", "replace")
    if len(content) > MAX_BYTES:
        content = content[: MAX_BYTES // 2] + CUT + content[-MAX_BYTES // 2 :]
    try:
        artifact = _stored(swarm, attempt, type_=type_, name=name, mime=mime, content=content)
    except AdapterError as error:
        logger.warning("%s of swarm %s is not kept: %s", name, swarm.public_id, error)
        return ""
    insert([artifact])
    return artifact.name


def _stored(swarm: Swarm, attempt: Attempt | None, *, type_: str, name: str, mime: str, content: bytes) -> Artifact:
    """A row that is still to be saved; its content is stored, without secrets."""
    content = redactor().content(content)
    sha256 = storage.blobs().put(content)
    given = clean({"type": type_, "name": name, "mime": mime})
    return Artifact(swarm=swarm, attempt=attempt, sha256=sha256, size=len(content), **given)

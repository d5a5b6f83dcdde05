"""What is really in the workspace: the snapshot as a commit, and the evidence found in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.files import content_at
from orchestration.adapters.git.runner import shown
from orchestration.adapters.git.snapshots import MAX_FILE_BYTES, Snapshot, snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import Person
from orchestration.adapters.git.workspaces import Workspace
from orchestration.adapters.sandbox import Box
from orchestration.adapters.secrets import clean, redactor
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import CheckResult, Evidence, SubmittedHandoff, objections
from orchestration.domain.texts import first_line
from orchestration.models import Attempt

COMMITTER = Person("Swarmsite", "swarmsite@localhost")
PIN = "attempts"
MARKER = b"<<<<<<<"  # every set of conflict markers begins with it
MAX_OUTPUT_CHARACTERS = 20_000


def run_checks(
    box: Box, commands: Sequence[str], *, most_s: Callable[[], float], cancellation: Cancellation
) -> tuple[CheckResult, ...]:
    """Every command, whether or not an earlier one failed: a reader wants them all. `most_s` is asked before each,
    and may raise instead."""
    results = []
    for command in commands:
        timeout_s = most_s()
        ran = box.run(command, timeout_s=timeout_s, cancellation=cancellation)
        limit = f"killed after {timeout_s:.0f} s" if ran.timed_out else ran.limit
        whole = clean(ran.output)
        output = whole[-MAX_OUTPUT_CHARACTERS:]
        rest = whole if len(whole) > len(output) else ""
        results.append(CheckResult(command, ran.exit_code, output, ran.duration_ms, limit, rest))
    return tuple(results)


class Merges(Protocol):
    """Of an attempt that settles a conflict."""

    @property
    def head(self) -> str:
        """What is merged into the attempt's base."""
        ...

    def strays(self, commit: str) -> tuple[str, ...]: ...

    def made_up(self, commit: str) -> tuple[str, ...]: ...


def _secret_in(path: str) -> AdapterError:
    if redactor().is_in(os.fsencode(path)):
        return AdapterError(Failure.PERMANENT, "The name of a file holds a secret of this server: rename it.")
    said = f"{shown(os.fsencode(path))} holds a secret of this server, plain or encoded: take it out."
    return AdapterError(Failure.PERMANENT, said)


class Inspection:
    """Looks at one attempt's workspace, as often as the agent claims to be done; the last look counts."""

    def __init__(
        self,
        store: BareRepository,
        workspace: Callable[[], Workspace],
        attempt: Attempt,
        *,
        working_dir: str | None,
        most_s: Callable[[], float],
        merges: Merges | None = None,
    ) -> None:
        self._merges = merges
        self._store = store
        self._workspace = workspace
        self._attempt = attempt
        self._working_dir = working_dir
        self._most_s = most_s
        self.sha = attempt.base_sha
        self._may_be_marked = self._changed = False
        self.evidence: Evidence | None = None

    def commit(self, summary: str) -> str:
        """Commits and pins what is there now; the base itself where nothing changed. Raises AdapterError."""
        name = self._attempt.subtask.name
        made = snapshot(
            self._store,
            self._workspace(),
            parent=self._attempt.base_sha,
            others=(self._merges.head,) if self._merges else (),
            message=f"{name}: {first_line(clean(summary), 100) or 'unfinished work'}\n",
            author=Person(f"{name} (agent)", "agent@localhost"),
            committer=COMMITTER,
            when=timezone.now(),
            before_writing=self._refuse_unwritten,
        )
        self._may_be_marked = False
        self._changed = made.changed
        if made.sha != self._attempt.base_sha:
            self._search(made)
            self._store.pin(PIN, self._attempt.public_id, made.sha)
        self.sha = made.sha
        return made.sha

    def _refuse_unwritten(self, paths: Sequence[bytes]) -> None:
        """A blob that no commit names would still lie in the repository. Where one of the files held a secret before,
        only commits tell whose doing it is."""
        all_of, top = redactor(), self._workspace().path
        there = (path for path in paths if os.path.lexists(os.path.join(os.fsencode(top), path)))  # noqa: PTH118 - bytes
        found = next((path for path in there if all_of.is_in(path) or all_of.is_in(content_at(top, path))), None)
        if found is None or any(all_of.is_in(self._before(os.fsdecode(path))) for path in paths):
            return
        raise _secret_in(os.fsdecode(found))

    def _before(self, path: str) -> bytes:
        return self._store.read_file(self._attempt.base_sha, path, max_bytes=MAX_FILE_BYTES) or b""

    def _search(self, made: Snapshot) -> None:
        """What is nowhere in the files as they are now needs no comparison with what they were."""
        all_of = redactor()
        suspicious = any(all_of.is_in(path) for path, _ in made.written)
        for content in self._store.blobs([blob for _, blob in made.written]):
            suspicious = suspicious or all_of.is_in(content)
            self._may_be_marked = self._may_be_marked or MARKER in content
        if suspicious:
            self._refuse_secrets(made.sha)

    def _refuse_secrets(self, sha: str) -> None:
        """A commit that is never pinned goes nowhere. What stood in the file before is not the agent's doing."""
        base, all_of = self._attempt.base_sha, redactor()
        for change in self._store.changed_paths(base, sha):
            content = self._store.read_file(sha, change.path, max_bytes=MAX_FILE_BYTES) or b""
            before = self._before(change.old_path or change.path)
            if all_of.is_in(change.path.encode()) or (all_of.is_in(content) and not all_of.is_in(before)):
                raise _secret_in(change.path)

    def look(self, summary: str, box: Box | None, cancellation: Cancellation) -> Evidence:
        """Commits first, so that what the checks leave behind is not part of the work. No box: no checks."""
        sha, base = self.commit(summary), self._attempt.base_sha
        checks: tuple[CheckResult, ...] = ()
        if box:
            commands = self._attempt.subtask.acceptance_checks
            checks = run_checks(box, commands, most_s=self._most_s, cancellation=cancellation)
        self.evidence = Evidence(
            changed=self._changed,
            marked_paths=self._store.conflict_markers(base, sha) if self._may_be_marked else (),
            outside_paths=self._outside(base, sha),
            checks=checks,
            merges=self._merges is not None,
            made_up_paths=self._merges.made_up(sha) if self._merges else (),
            strayed_paths=self._merges.strays(sha) if self._merges and sha != base else (),
        )
        return self.evidence

    def object_to(self, handoff: SubmittedHandoff, box: Box, cancellation: Cancellation) -> list[str]:
        """Why the claim of complete is not believed, with the tail of what failed, for the agent.

        Work that the snapshot refuses is an objection too: the agent can take the nested repository out again.
        """
        self.evidence = None  # what was found earlier says nothing about what is there now
        try:
            evidence = self.look(handoff.summary, box, cancellation)
        except AdapterError as error:
            if error.kind is not Failure.PERMANENT:
                raise
            return [str(error)]
        found = objections(self._attempt.subtask.kind, evidence)
        return found + [f"`{one.command}` printed:\n{one.output[-3000:]}" for one in evidence.checks if not one.passed]

    def _outside(self, base: str, sha: str) -> tuple[str, ...]:
        if self._working_dir is None or sha == base or self._merges:  # a merge keeps to its conflict, see `strays`
            return ()
        inside = f"{self._working_dir}/"
        changes = self._store.changed_paths(base, sha)
        touched = (path for one in changes for path in (one.old_path, one.path) if path)  # a rename touches two
        return tuple(path for path in touched if not path.startswith(inside))

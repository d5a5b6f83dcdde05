"""An attempt that settles a conflict: the merge it begins with, what its agent is told, what its result must keep to.

The result is a merge commit of the branch's tip and the entry's head; nothing is rebased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from orchestration.adapters import prompts
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.runner import shown
from orchestration.adapters.git.settling import (
    BASE,
    OURS,
    THEIRS,
    Settlement,
    entries_at,
    is_about_names,
    made_up,
    settle_what_can,
    sides_of,
)
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import CleanMerge, MergeConflict
from orchestration.adapters.sandbox import Box
from orchestration.adapters.secrets import clean
from orchestration.domain.endpoints import ModelRole
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.merging import TRAILER
from orchestration.domain.policies import Policy, command_for, policy_for, read_policies
from orchestration.domain.resolving import (
    MOST_TOLD,
    MOST_TOLD_TOGETHER,
    Conflict,
    Rung,
    lines_between_markers,
)
from orchestration.domain.states import AttemptStatus
from orchestration.models import Attempt, Handoff, MergeEntry
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.recall import Remembered, what_was_settled
from orchestration.stages.rows import store_of

MOST_RIVALS = 8
SIDES = ((BASE, "base: before both"), (OURS, "branch: what landed"), (THEIRS, "subtask: what is to land"))
CONTINUES = "You go on with this subtask: the work is yours."
NAMES = "Such a file may get another name, or be taken away. A name that ends with ~ and a commit is none to keep."
IS_FRESH = "You settle this conflict between two tasks. You did neither of them, and are on neither side."


class Settling:
    """The conflict of an entry with one commit of the branch, as far as the repository's rules leave it."""

    def __init__(self, entry: MergeEntry, tip: str) -> None:
        self.entry = entry
        self.tip = tip
        self.store: BareRepository = store_of(entry.swarm)
        self.rules = read_policies(entry.swarm.repository.merge_policies)

    @cached_property
    def _merged(self) -> CleanMerge | MergeConflict:
        return self.store.merge(self.tip, self.entry.head_sha)

    @property
    def conflict(self) -> MergeConflict | None:
        return self._merged if isinstance(self._merged, MergeConflict) else None

    @cached_property
    def settlement(self) -> Settlement:
        merged = self._merged
        if isinstance(merged, CleanMerge):
            return Settlement(merged.tree, {}, ())
        remembered = Remembered(self.entry.swarm.repository_id)
        return settle_what_can(self.store, merged, lambda path: policy_for(path, self.rules), remembered)

    @property
    def head(self) -> str:
        return self.entry.head_sha

    @property
    def is_settled(self) -> bool:
        """Nothing is left of it: the queue can land it as it is."""
        return self.conflict is None or bool(self.settlement.settled and not self.settlement.left)

    @cached_property
    def start(self) -> str:
        """The commit whose files an agent begins with; the same each time."""
        return self.store.commit(
            self.settlement.tree,
            (self.tip, self.entry.head_sha),
            f"A conflict of {self.entry.subtask.name}, as git left it\n",
            author=COMMITTER,
            committer=COMMITTER,
            when=self.entry.enqueued_at,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """That may be settled; what git merged beside them must stay."""
        return self.conflict.paths if self.conflict else ()

    @cached_property
    def left(self) -> tuple[str, ...]:
        """For an agent: neither settled by a rule nor made by a command."""
        names = (shown(path) for path in self.settlement.left)
        return tuple(name for name in names if policy_for(name, self.rules) is not Policy.REGENERATE)

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """That make the other files anew, each once."""
        found = (command_for(shown(path), self.rules) for path in self.settlement.left)
        return tuple(dict.fromkeys(command for command in found if command))

    def look(self, tried: Sequence[Rung]) -> Conflict:
        text = [self._content(path) for path in self.left]
        return Conflict(
            tried=tried,
            lines=sum(map(lines_between_markers, text)),
            made=not self.left and bool(self.commands),
            binary=any(b"\0" in content[:8000] for content in text),
            rounds=self.entry.rounds,
        )

    def _content(self, path: str) -> bytes:
        return self.store.read_file(self.start, path) or b""

    def strays(self, commit: str) -> tuple[str, ...]:
        """Paths outside the conflict in which `commit` is not what git merges from both sides."""
        base = self.entry.attempt.base_sha
        broken = self.store.merge_is_faithful(base, self.tip, self.entry.head_sha, commit)
        strayed = [path for path in broken if path not in self.paths]
        return tuple(path for path in strayed if not self._may_be_named(path))

    def _may_be_named(self, path: str) -> bool:
        """Where names are in conflict, a file may get the one that it was to have, or one that nobody uses."""
        if self.conflict is None or not is_about_names(self.conflict):
            return False
        wanted = {made_up(each) for each in sides_of(self.conflict)}
        name = path.encode()
        return name in wanted or not any(entries_at(self.store, side, [name]) for side in (self.tip, self.head))

    def made_up(self, commit: str) -> tuple[str, ...]:
        """Names that git gave, and that are still there."""
        given = [path for path in sides_of(self.conflict) if made_up(path)] if self.conflict else []
        return tuple(map(shown, entries_at(self.store, commit, given)))

    def resolved(self, commit: str) -> list[dict[str, str]]:
        return what_was_settled(self.store, self.conflict, commit, self.rules) if self.conflict else []

    # What the agent is told.

    def sides(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Of each file that is left: its name, and (which side, its text)."""
        room = MOST_TOLD_TOGETHER
        for path, sides in sides_of(self.conflict).items() if self.conflict else ():
            if shown(path) not in self.left:
                continue
            told = []
            for number, name in SIDES:
                side = sides.get(number)
                content = b"" if side is None else self.store.run("cat-file", "blob", side.blob).stdout
                text = _text(content, min(MOST_TOLD, room)) if side else "(there is no such file)"
                room -= len(text)
                told.append((name, text))
            yield shown(path), told

    def blobs(self) -> Iterator[tuple[str, dict[int, str]]]:
        """Of each file that no rule settles: its sides' blobs, as far as there are any."""
        for path, sides in sides_of(self.conflict).items() if self.conflict else ():
            if path in self.settlement.left:
                yield shown(path), {number: side.blob for number, side in sides.items()}

    def rivals(self) -> list[MergeEntry]:
        """Who landed changes of these files since the entry's work began, the latest first."""
        base = self.store.merge_base(self.tip, self.entry.head_sha)
        landed = [name for _, name in self.store.trailers(base, self.tip, TRAILER, self.paths)]
        rows = self.entry.swarm.merge_entries.select_related("subtask", "attempt__handoff")
        found = {row.public_id: row for row in rows.filter(public_id__in=landed[:MOST_RIVALS])}
        return [found[name] for name in landed if name in found]

    def task(self, attempt: Attempt) -> str:
        entry, subtask = self.entry, attempt.subtask
        return prompts.render(
            "resolve-task",
            swarm_id=entry.swarm.public_id,
            subtask_name=subtask.name,
            who=CONTINUES if attempt.rung == Rung.CONTINUED else IS_FRESH,
            instruction=subtask.instruction,
            acceptance=subtask.acceptance or "the instruction is fulfilled.",
            checks="; ".join(f"`{check}`" for check in subtask.acceptance_checks) or "(none)",
            handoff=_said(entry),
            said=f"A person told you: {entry.guidance}" if entry.guidance else "",
            files=self._files(),
            others="\n\n".join(f"{one.subtask.name}: {one.subtask.instruction}\n{_said(one)}" for one in self.rivals())
            or "(nobody of this swarm)",
            tried=_tried(entry),
            request=entry.swarm.request,
        )

    def _files(self) -> str:
        told = "\n".join(_file(name, sides) for name, sides in self.sides()) or "\n".join(self.paths)
        if self.conflict is None or not is_about_names(self.conflict):
            return told
        return f"{told}\n\nGit says of their names:\n{self.conflict.detail}\n{NAMES}"

    def make_anew(self, box: Box, timeout_s: float, cancellation: Cancellation) -> SubmittedHandoff:
        """Runs the repository's commands on the merged files. Raises AdapterError where one fails."""
        for command in self.commands:
            ran = box.run(command, timeout_s=timeout_s, cancellation=cancellation)
            if ran.timed_out or ran.limit or ran.exit_code != 0:
                ending = (
                    f"killed after {timeout_s:.0f} s" if ran.timed_out else ran.limit or f"exit code {ran.exit_code}"
                )
                told = clean(ran.output)[-2000:]
                raise AdapterError(Failure.PERMANENT, f"`{command}` did not make the file anew ({ending}).\n{told}")
        made = ", ".join(path for path in self.paths if path not in self.left)
        return SubmittedHandoff(status=Claim.COMPLETE, summary=f"Made {made} anew after the merge.")


def settling_of(attempt: Attempt) -> Settling | None:
    """None: the attempt does its subtask's own work."""
    if attempt.resolves_id is None:
        return None
    rows = MergeEntry.objects.select_related("swarm__repository", "subtask", "attempt__handoff")
    return Settling(rows.get(pk=attempt.resolves_id), attempt.base_sha)


def role_of(attempt: Attempt) -> ModelRole:
    return ModelRole.RECONCILER if attempt.rung == Rung.FRESH else ModelRole.WORKER


def tries_of(entry: MergeEntry) -> list[Attempt]:
    """Attempts at this conflict that came to nothing; one that is tried again for the machine's sake is none."""
    over = entry.resolutions.filter(handoff__isnull=False).exclude(status=AttemptStatus.COMPLETE)
    return list(over.order_by("number"))


def _tried(entry: MergeEntry) -> str:
    told = [f"Attempt {one.number} at it came to nothing: {one.status_reason[:1500]}" for one in tries_of(entry)]
    return "\n".join(told)


def _said(entry: MergeEntry) -> str:
    handoff: Handoff | None = getattr(entry.attempt, "handoff", None)
    if handoff is None:
        return "(it handed off nothing)"
    return "\n".join([handoff.summary[:2000], *(f"concern: {text[:500]}" for text in handoff.concerns[:5])])


def _file(name: str, sides: Sequence[tuple[str, str]]) -> str:
    return "\n".join([f"\n{name}", *(f"--- {name} ({side})\n{text}" for side, text in sides)])


def _text(content: bytes, most: int) -> str:
    if b"\0" in content[:8000]:
        return "(this is no text)"
    text = content.decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[: max(0, most)]}\n(cut off: read the file)"

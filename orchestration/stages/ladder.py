"""The candidates of gated mode as commits: a chain from the tip, and what gates have said of each of its trees."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Q
from django.utils import timezone

from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.gating import Known, Trouble, View
from orchestration.domain.merging import BATCH, FAILURES_IN_A_ROW, in_order
from orchestration.domain.states import GATE_LIVE, EntryStatus, GateStatus
from orchestration.models import GateRun, MergeEntry, Swarm
from orchestration.stages.branch import Writer, put_aside, reject
from orchestration.stages.gate import definition_of
from orchestration.stages.landing import Conflicted, Link, Unfaithful, begin
from orchestration.stages.queueing import waiting

MOST_KEPT = 4096
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Made:
    commit: str
    took: Mapping[str, float]


Added = Made | tuple[str, ...]  # or the paths that conflict
_lock = threading.Lock()
_kept: dict[Key, Added] = {}  # what merging an entry onto a commit gave: it is always the same


@dataclass(slots=True)
class Ladder:
    """Prefix k ends with links[k-1]; `trees` begins with the tip's. `aside` conflict with somebody before them."""

    tip: str
    definition: str
    links: list[Link] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    aside: list[Conflicted] = field(default_factory=list)

    def commit(self, prefix: int) -> str:
        return self.links[prefix - 1].new if prefix else self.tip

    @property
    def contained(self) -> int:
        """Entries at its beginning with which the branch need not move."""
        return next((place for place, link in enumerate(self.links) if link.new != self.tip), len(self.links))


def build(writer: Writer) -> Ladder:
    """Those whose gates run keep their places; others come after them in their order, as many as the cap allows."""
    swarm = writer.swarm
    ladder = Ladder(writer.tip, definition_of(swarm.repository))
    rows = MergeEntry.objects.select_related("subtask__swarm", "attempt__handoff")
    gating = list(rows.filter(swarm=swarm, status=EntryStatus.GATING).order_by("chain_place", "pk"))
    chosen = in_order(waiting(swarm))[:BATCH]
    queued = rows.in_bulk(chosen)
    _grow(writer, ladder, [*gating, *(queued[pk] for pk in chosen if pk in queued)], max(swarm.gate_cap, len(gating)))
    ladder.trees = [writer.store.tree(ladder.commit(prefix)) for prefix in range(len(ladder.links) + 1)]
    return ladder


def _grow(writer: Writer, ladder: Ladder, entries: Iterable[MergeEntry], most: int) -> None:
    for entry in entries:
        if len(ladder.links) >= most:
            break
        tip = ladder.commit(len(ladder.links))
        try:
            found = merged(writer, tip, entry)
        except (AdapterError, InvalidInput) as error:
            put_aside(writer, entry, error)
            if len(writer.failures) >= FAILURES_IN_A_ROW:
                raise
            continue
        writer.failures.clear()
        if isinstance(found, Link):
            ladder.links.append(found)
        elif isinstance(found, Conflicted):
            ladder.aside.append(found)
        else:
            reject(writer, entry, found.reason)


def merged(writer: Writer, tip: str, entry: MergeEntry) -> Link | Conflicted | Unfaithful:
    """The entry on the commit `tip`, from memory where it was there before."""
    key = (tip, entry.head_sha, entry.public_id, writer.rules)
    with _lock:
        known = _kept.get(key)
    if isinstance(known, Made):
        return Link(entry, tip, known.commit, known.took)
    if known is not None:
        return Conflicted(entry, known, tip)
    found = begin(writer.store, tip, writer.swarm.base_sha, writer.rules).add(entry)
    if not isinstance(found, Unfaithful):
        with _lock:
            if len(_kept) >= MOST_KEPT:
                _kept.clear()
            _kept[key] = Made(found.new, found.took) if isinstance(found, Link) else found.paths
    return found


def view(writer: Writer, ladder: Ladder) -> View:
    swarm, repository = writer.swarm, writer.swarm.repository
    known = known_of(swarm, ladder.definition, ladder.trees)
    resting = bool(swarm.gate_not_before and swarm.gate_not_before > timezone.now())
    return View(
        len(ladder.links),
        {prefix: known[tree] for prefix, tree in enumerate(ladder.trees) if tree in known},
        cap=swarm.gate_cap,
        slots=repository.gates_at_once,
        strict=repository.strict_commits,
        trouble=Trouble(swarm.gate_failures, resting, _last_trouble(writer) if swarm.gate_failures else ""),
    )


def known_of(swarm: Swarm, definition: str, trees: Sequence[str]) -> dict[str, Known]:
    """What gates of this definition have said of each tree."""
    runs = swarm.gate_runs.filter(definition=definition, tree__in=set(trees)).order_by().values("tree")
    counted = runs.annotate(
        live=Count("pk", filter=Q(status__in=GATE_LIVE)),
        greens=Count("pk", filter=Q(status=GateStatus.GREEN)),
        reds=Count("pk", filter=Q(status=GateStatus.RED)),
    )
    return {row["tree"]: Known(row["live"] > 0, row["greens"] > 0, row["reds"]) for row in counted}


def _last_trouble(writer: Writer) -> str:
    failed: GateRun | None = writer.swarm.gate_runs.filter(status=GateStatus.INFRA).order_by("pk").last()
    return failed.status_reason if failed else ""

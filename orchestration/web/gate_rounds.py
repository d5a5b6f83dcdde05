"""The search for who is red, told: which gates ran on one tip of the branch, how deep each stood, what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestration.domain.queueing import depths
from orchestration.domain.states import GateStatus
from orchestration.web.gates import Run
from orchestration.web.now import names_of


@dataclass(frozen=True)
class Level:
    """A gate in the search for who is red; `depth` is how often it was narrowed down."""

    run: Run
    depth: int


@dataclass(frozen=True)
class Round:
    """All gates on one tip of the branch."""

    tip: str
    levels: tuple[Level, ...]

    @property
    def said(self) -> str:
        """What they looked for and found, in sentences; nothing where no gate was red."""
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        reds = [run for run in self._runs if run.row.status == GateStatus.RED and not run.row.flake]
        together = max((len(run.row.entries) for run in reds), default=0)
        if any(0 < len(run.row.entries) < together for run in self._runs):
            yield f"Red with {together} together, so gates on fewer of them looked for who it is."
        alone = sorted({run.names[0] for run in reds if len(run.row.entries) == 1 and run.names})
        if alone:
            yield f"{names_of(alone)} {'is' if len(alone) == 1 else 'are'} red with nobody else in it."
        if any(run.row.flake for run in self._runs):
            yield "One was red by chance: a later green gate proved it."
        if itself := [run for run in self._runs if not run.row.entries]:
            yield _ITSELF.get(GateStatus(itself[-1].row.status), "")

    @property
    def _runs(self) -> list[Run]:
        return [level.run for level in self.levels]


_ITSELF = {
    GateStatus.GREEN: "The branch itself is green.",
    GateStatus.RED: "The branch itself is red, so nobody is to blame.",
}


def rounds_of(runs: Sequence[Run], most: int) -> list[Round]:
    """The newest first."""
    by_tip: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_tip[run.row.tip].append(run)
    return [_round(tip, found) for tip, found in list(by_tip.items())[::-1][:most]]


def _round(tip: str, runs: Sequence[Run]) -> Round:
    reds = [run.row.status == GateStatus.RED for run in runs]
    deep = depths([tuple(run.row.entries) for run in runs], reds)
    return Round(tip, tuple(Level(run, depth) for run, depth in zip(runs, deep, strict=True)))

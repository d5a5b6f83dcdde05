"""What one attempt will probably take: from the repository's own history, or from stated defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.domain.stats import quantile

ENOUGH = 5  # finished attempts of a kind, below which history says too little
LOW, HIGH = 0.2, 0.9
OUTPUT_SHARE = 0.05  # of all tokens of an attempt: it reads far more than it writes
KINDS = ("change", "verify", "research")


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


NOTHING = Range(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Past:
    """An attempt that ran to its end."""

    kind: str
    seconds: float
    tokens: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, tokens: Range) -> Range:
        mean = self.input * (1 - OUTPUT_SHARE) + self.output * OUTPUT_SHARE
        return Range(tokens.low * mean / 1e6, tokens.high * mean / 1e6)


@dataclass(frozen=True, slots=True)
class Estimate:
    """`attempts` is how many finished ones it rests on; 0: on the defaults."""

    seconds: Range
    tokens: Range
    cost_usd: Range
    attempts: int = 0

    @property
    def from_history(self) -> bool:
        return self.attempts > 0


DEFAULTS: Mapping[str, tuple[Range, Range]] = {  # seconds, tokens
    "change": (Range(60.0, 600.0), Range(30_000.0, 400_000.0)),
    "verify": (Range(30.0, 300.0), Range(15_000.0, 150_000.0)),
    "research": (Range(30.0, 300.0), Range(15_000.0, 200_000.0)),
}


def estimates(past: Iterable[Past], prices: Prices) -> dict[str, Estimate]:
    """By kind of subtask, for one attempt. From the fifth finished attempt of a kind on, history speaks."""
    done = list(past)
    return {kind: _estimate(kind, [one for one in done if one.kind == kind], prices) for kind in KINDS}


def _estimate(kind: str, past: Sequence[Past], prices: Prices) -> Estimate:
    if len(past) < ENOUGH:
        seconds, tokens = DEFAULTS[kind]
        return Estimate(seconds, tokens, prices.of(tokens))
    return Estimate(
        seconds=_range([one.seconds for one in past]),
        tokens=_range([one.tokens for one in past]),
        cost_usd=_range([one.cost_usd for one in past]),
        attempts=len(past),
    )


def _range(values: Iterable[float]) -> Range:
    """Without the luckiest fifth and the unluckiest tenth."""
    ordered = sorted(values)
    return Range(quantile(ordered, LOW), quantile(ordered, HIGH))


def basis(kinds: Iterable[str], by_kind: Mapping[str, Estimate]) -> str:
    """Where the figures of these kinds come from, as a sentence for everybody who sees them."""
    used = [kind for kind in KINDS if kind in set(kinds)]
    known = [f"{by_kind[kind].attempts} finished {kind} attempts" for kind in used if by_kind[kind].from_history]
    unknown = [kind for kind in used if not by_kind[kind].from_history]
    said = f"From this repository's own history: {' and '.join(known)}." if known else ""
    if unknown:
        lack = f"Fewer than {ENOUGH} {' and '.join(unknown)} attempts have finished in this repository"
        said += f" {lack}, so those figures are defaults and not experience."
    return said.strip()

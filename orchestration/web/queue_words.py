"""The merge queue's figures in words: what was not measured has no line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.domain.queueing import CAUSES
from orchestration.web.looks import look
from orchestration.web.words import milliseconds, span

SETTLERS = {
    "regenerate": "the repository's command",
    "continued": "the subtask's own agent",
    "fresh": "an agent of neither side",
    "person": "a person",
}

PART_WORDS = {"merge": "merge", "check": "content check", "commit": "commit", "journal": "intent", "swap": "swap"}
POINTS = {"before_swap": "before the branch moved", "after_swap": "after it"}


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    meaning: str = ""


def figures_in_words(figures: Mapping[str, Any]) -> list[Figure]:
    """Without those of gates where none has run."""
    gates = figures["gate_runs"] or figures["gate_no_verdict"]
    return [
        Figure(name, words(figures[key]), meaning)
        for key, name, words, meaning in _LINES
        if figures[key] not in (None, {}) and (gates or not key.startswith("gate_"))
    ]


def _depth(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {look(status).word.lower()}" for status, count in found.items())


def _evictions(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {CAUSES[cause]}" for cause, count in found.items())


def _rungs(found: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{one['settled']} of {one['tries']} by {SETTLERS[rung]}" for rung, one in found.items())


def _by_priority(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} with {priority}" for priority, count in found.items())


def _parts(found: Mapping[str, float]) -> str:
    return ", ".join(f"{PART_WORDS[part]} {_milliseconds(value)}" for part, value in found.items())


def _recoveries(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {POINTS[point]}" for point, count in found.items())


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 or not value else f"{100 * value:.1f} %"


def _milliseconds(value: float) -> str:
    return milliseconds(round(value)) if value >= 10 else f"{value:.1f} ms"


_LINES: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    ("depth", "Entries by state", _depth, ""),
    ("depth_by_priority", "Waiting by priority", _by_priority, "1 is the most urgent."),
    ("oldest_s", "Oldest that waits", span, ""),
    ("tip_age_s", "Branch has not moved for", span, "While something waits to land."),
    ("landed_per_min", "Landed a minute", lambda value: f"{value:g}", ""),
    ("submit_to_landed_s_p50", "Handed off to landed, half within", span, ""),
    ("submit_to_landed_s_p95", "Handed off to landed, 95 of 100 within", span, ""),
    ("intent_to_recorded_ms_p50", "Moving the branch, half within", _milliseconds, "From the intent to the record."),
    ("intent_to_recorded_ms_p95", "Moving the branch, 95 of 100 within", _milliseconds, ""),
    ("parts_ms_p50", "Parts of a landing, half within", _parts, "The last two once for all that land together."),
    ("parts_ms_p95", "Parts of a landing, 95 of 100 within", _parts, ""),
    ("chain_mean", "Landed together, on average", lambda value: f"{value:g}", "Entries under one move of the branch."),
    ("chain_longest", "Landed together, at most", str, ""),
    ("chain_cap", "Tried together, at most now", str, "Grows while gates are green, and halves after a red one."),
    ("gate_runs", "Gates with a verdict", str, ""),
    ("gate_runs_per_landed", "Gates for each landing", lambda value: f"{value:g}", ""),
    ("gate_utilisation", "Gate places in use", _share, ""),
    ("gate_reds", "Red gates", str, ""),
    ("gate_flake_rate", "Red by chance", _share, "Of all gates with a verdict."),
    ("gate_no_verdict", "Gates without a verdict", str, "The machine failed; they evict nobody."),
    ("evictions", "Refused", _evictions, ""),
    ("conflicts", "Conflicts", str, ""),
    ("settled_by_rung", "Conflicts settled", _rungs, ""),
    ("forecasts", "Conflicts foreseen, looks", str, "Merges beforehand of all that has not landed."),
    ("forecasts_given_up", "Looks that came to nothing", str, "The machine failed; the next one makes up for it."),
    ("forecast_merges", "Merges beforehand", str, ""),
    ("forecast_warnings", "Agents warned", str, "Before they finished."),
    ("forecast_ms_mean", "A look ahead, on average", _milliseconds, ""),
    ("forecast_ms_longest", "A look ahead, at most", _milliseconds, ""),
    ("swap_rejects", "The branch had moved", str, "Another writer was first, and the landing began again."),
    ("recoveries", "Taken up after a crash", _recoveries, "Entries whose writer died between intent and record."),
    ("content_violations", "Merges refused as unfaithful", str, "They would have changed what nobody changed."),
    ("locks_removed", "Stale locks removed", str, "What killed git children had left in this repository's copy."),
    ("loose_objects", "Objects in files of their own", str, "With 5,000 the repository's copy is packed."),
    ("packs", "Packs", str, ""),
)

"""docs/states.md, drawn from the table of lives. Write it anew with `python -m tests.architecture.states_document`."""

from __future__ import annotations

from orchestration.domain.states import (
    AttemptStatus,
    DeliveryStatus,
    EntryStatus,
    GateStatus,
    IterationStatus,
    QuestionStatus,
    Status,
    SubtaskStatus,
    SwarmStatus,
    diagram,
)
from tests.architecture import tree

PATH = tree.ROOT / "docs" / "states.md"
LEAD = """# The life of every row

Drawn from the table in `orchestration/domain/states.py`; a test compares. Only `stages/transition.py` changes a
status, with a conditional UPDATE and an event in the same transaction.
"""
KINDS: dict[str, tuple[type[Status], str]] = {
    "Swarm": (SwarmStatus, "One submitted request, from the first plan to its outcome."),
    "Subtask": (SubtaskStatus, "A node of the plan. `complete` means verified and landed, or no change was due."),
    "Attempt": (AttemptStatus, "One run of a subtask by an agent. A retry is another attempt."),
    "Merge entry": (EntryStatus, "A commit's place in the merge queue."),
    "Gate run": (GateStatus, "The repository's checks on one candidate of the merge queue."),
    "Plan iteration": (IterationStatus, "One call of the planner. At most one runs in a swarm."),
    "Delivery": (DeliveryStatus, "A person's message on its way to the planner, or to whoever works on a subtask."),
    "Question": (QuestionStatus, "What agents ask people, once however many of them ask it."),
}


def document() -> str:
    parts = [f"## {name}\n{what}\n\n```mermaid\n{diagram(kind)}\n```\n" for name, (kind, what) in KINDS.items()]
    return "\n".join([LEAD, *parts])


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")

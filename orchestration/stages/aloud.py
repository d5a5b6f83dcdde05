"""Shows an agent's answer while the model still gives it, to whoever looks at its subtask. Nobody: nothing is done."""

from __future__ import annotations

from orchestration.adapters import onlookers
from orchestration.domain.events import draft_group
from orchestration.models import Attempt
from orchestration.stages.transition import speak

MOST = 6000  # characters, the latest: a page shows them whole each time


class Aloud:
    """Of one attempt. What was shown is no record: the transcript has the answer when it is whole."""

    def __init__(self, attempt: Attempt) -> None:
        self._subtask_id = attempt.subtask.public_id
        self._number = attempt.number
        self._spoke = False

    def wanted(self) -> bool:
        return onlookers.anybody(draft_group(self._subtask_id))

    def heard(self, text: str) -> None:
        self._spoke = True
        shown = text if len(text) <= MOST else f"…{text[-MOST:]}"
        speak(self._subtask_id, self._number, shown)

    def over(self) -> None:
        """The answer is in the transcript, or there will be none."""
        if self._spoke:
            self._spoke = False
            speak(self._subtask_id, self._number, "")


def attend(subtask_id: str) -> None:
    """A page of this subtask opens."""
    onlookers.arrive(draft_group(subtask_id))


def stay(subtask_id: str) -> None:
    onlookers.stay(draft_group(subtask_id))


def depart(subtask_id: str) -> None:
    onlookers.leave(draft_group(subtask_id))

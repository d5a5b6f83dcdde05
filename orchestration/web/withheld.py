"""Between a test and a save: a key that was typed is held back for the same address, and so is what the test said."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.stages.withhold import release, withheld, withhold
from orchestration.web.access import SignedIn


@dataclass(frozen=True)
class Held:
    """One form of one person. `about` names the form and its row, `place` is where the key would be sent."""

    request: SignedIn
    about: str
    place: str

    @property
    def _slot(self) -> str:
        return f"withheld {self.about}"

    @property
    def name(self) -> str:
        """What it is kept under; empty where nothing is, or it was typed for another place."""
        kept = self.request.session.get(self._slot) or {}
        return str(kept.get("name", "")) if kept.get("place") == self.place else ""

    def key(self, typed: str) -> str:
        """What was typed now, else what was typed for the last test."""
        return typed or (withheld(self.name) if self.name else "")

    def hold(self, typed: str) -> None:
        if typed:
            self.drop()
            self.request.session[self._slot] = {"name": withhold(typed), "place": self.place}

    def drop(self) -> None:
        kept = self.request.session.pop(self._slot, None)
        if kept:
            release(str(kept.get("name", "")))

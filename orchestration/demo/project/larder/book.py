"""A folder of recipes."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from larder.errors import LarderError
from larder.recipes import Recipe


class Book:
    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise LarderError(f"There is no folder {folder} with recipes.")
        self._folder = folder

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.recipe"))

    def recipe(self, name: str) -> Recipe:
        if name not in self.names():
            near = get_close_matches(name, self.names(), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise LarderError(f"There is no recipe {name!r}.{hint}")
        try:
            return Recipe.parse((self._folder / f"{name}.recipe").read_text(encoding="utf-8"))
        except LarderError as error:
            raise LarderError(f"{name}.recipe: {error}") from error

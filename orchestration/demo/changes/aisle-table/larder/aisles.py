"""Where in the shop a thing is found. The order of the table is the way through the shop."""

from __future__ import annotations

OTHER = "Everything else"
AISLES = {
    "Fruit and vegetables": "apple banana carrot cucumber garlic lemon lettuce onion potato spinach tomato",
    "Bread": "bread bun flatbread roll tortilla",
    "Milk and eggs": "butter cheese cream egg milk yoghurt",
    "Tins and jars": "chickpea coconut olive stock tinned",
    "Baking": "flour sugar vanilla yeast",
    "Dry goods": "bean lentil noodle oat pasta rice",
    "Spices and oil": "cinnamon cumin curry oil pepper salt",
}
WORDS = {word: aisle for aisle, words in AISLES.items() for word in words.split()}
# The first of these in a name decides, whatever else it says.
STRONG = ("oil", "tinned", "coconut", "stock")


def aisle_of(name: str) -> str:
    words = name.casefold().split()
    decisive = [word for word in STRONG if word in words] + words[::-1]
    return next((aisle for aisle in map(_aisle, decisive) if aisle), OTHER)


def position(aisle: str) -> int:
    """The place of an aisle on the way through the shop."""
    return [*AISLES, OTHER].index(aisle)


def _aisle(word: str) -> str | None:
    endings = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((WORDS[each] for each in endings if each in WORDS), None)

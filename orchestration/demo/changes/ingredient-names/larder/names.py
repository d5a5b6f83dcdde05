"""When two names mean the same thing: "Fresh Tomatoes" and "tomato"."""

from __future__ import annotations

# Words that say nothing about what has to be bought.
IGNORED = frozenset({"cold", "fresh", "large", "medium", "ripe", "small", "warm"})
UNCHANGED = frozenset({"asparagus", "couscous", "hummus", "molasses", "swiss"})
SPECIAL = {"leaves": "leaf", "loaves": "loaf", "halves": "half"}


def plain(name: str) -> str:
    """The name that a shopping list uses: small letters, one of it, without adjectives."""
    words = [word for word in name.casefold().split() if word not in IGNORED]
    return " ".join([*words[:-1], singular(words[-1])]) if words else name.casefold()


def singular(word: str) -> str:
    if word in SPECIAL:
        return SPECIAL[word]
    if word in UNCHANGED or word.endswith("ss") or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("oes", "ches", "shes", "xes")):
        return word[:-2]
    return word[:-1]

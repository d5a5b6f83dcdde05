"""The demo's names and texts, which the pages and the demo itself share."""

from __future__ import annotations

REPOSITORY_NAME = "Larder (demo)"
ENDPOINT_NAME = "Demo model"
MODEL = "demo-story"

LABEL = "This is a demo model: a script that tells one fixed story, whatever it is asked."

REQUEST_TITLE = "Plan a week of meals and print one shopping list"
REQUEST = f"""\
# {REQUEST_TITLE}

Larder can show and scale one recipe. We want to plan a whole week with it and go shopping once.

- A plan is a plain text file with one line a meal: the day, the meal, the recipe and for how many people.
  `larder plan FILE` prints it as a table. Every wrong line is told at once, with its number and what is wrong.
- What is at home stands in a text file as well, one line a thing, with an amount or without.
- `larder shop FILE --pantry FILE` prints one shopping list: everything scaled and added up, without what is at
  home, in the order in which one walks through the shop, as text, Markdown or JSON.
- Amounts on the list are easy to read: 1.5 kg instead of 1500 g, and half a spoon as a fraction sign.
- "Tomatoes" and "fresh tomato" are the same thing.

Add a week to try it with, tests for everything, and tell about it in the README.
"""

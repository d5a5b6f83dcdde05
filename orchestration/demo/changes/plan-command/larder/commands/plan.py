"""`larder plan`: the week as a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from larder.book import Book
from larder.errors import LarderError
from larder.plans import parse_plan

NAME = "plan"
HELP = "the week as a table, or what is wrong with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)


def run(args: argparse.Namespace) -> str:
    if not args.file.is_file():
        raise LarderError(f"There is no plan {args.file}.")
    book, day, rows = Book(args.book), "", []
    for meal in parse_plan(args.file.read_text(encoding="utf-8")):
        shown = meal.day.title() if meal.day != day else ""
        day = meal.day
        rows.append(f"{shown:<4} {meal.course:<10} {book.recipe(meal.recipe).title} for {meal.people}")
    return "\n".join(rows) or "Nothing is planned."

"""`larder list`: every recipe in the book."""

from __future__ import annotations

import argparse

from larder.book import Book

NAME = "list"
HELP = "every recipe in the book"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", help="only recipes with this tag")


def run(args: argparse.Namespace) -> str:
    book = Book(args.book)
    rows = [(name, book.recipe(name)) for name in book.names()]
    return "\n".join(
        f"{name:<15} {recipe.title:<15} serves {recipe.serves}"
        for name, recipe in rows
        if args.tag is None or args.tag in recipe.tags
    )

"""`larder scale`: one recipe for another number of people."""

from __future__ import annotations

import argparse

from larder.book import Book

NAME = "scale"
HELP = "one recipe for another number of people"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe")
    parser.add_argument("people", type=int)


def run(args: argparse.Namespace) -> str:
    return str(Book(args.book).recipe(args.recipe).scaled_to(args.people))

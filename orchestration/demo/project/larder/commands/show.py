"""`larder show`: one recipe as it was written."""

from __future__ import annotations

import argparse

from larder.book import Book

NAME = "show"
HELP = "one recipe as it was written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe")


def run(args: argparse.Namespace) -> str:
    return str(Book(args.book).recipe(args.recipe))

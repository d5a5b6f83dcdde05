"""`larder shop`: one shopping list for a plan."""

from __future__ import annotations

import argparse
from pathlib import Path

from larder.book import Book
from larder.errors import LarderError
from larder.formats import FORMATS
from larder.names import plain
from larder.pantry import Pantry
from larder.plans import parse_plan
from larder.shopping import gather, without

NAME = "shop"
HELP = "one shopping list for a plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path)
    parser.add_argument("--pantry", type=Path, help="file with what is at home")
    parser.add_argument("--format", choices=FORMATS, default="text")


def run(args: argparse.Namespace) -> str:
    items = gather(parse_plan(_text(args.plan)), Book(args.book))
    if args.pantry:
        items = without(items, Pantry.parse(_text(args.pantry), key=plain))
    return FORMATS[args.format](items)


def _text(file: Path) -> str:
    if not file.is_file():
        raise LarderError(f"There is no file {file}.")
    return file.read_text(encoding="utf-8")

"""The command line: finds the commands, runs one, prints what it returns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from larder.commands import all_commands
from larder.errors import LarderError


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        print(args.run(args))
    except LarderError as error:
        print(f"larder: {error}", file=sys.stderr)
        return 1
    return 0


def console() -> None:
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="larder", description="A recipe book for the terminal.")
    parser.add_argument("--book", type=Path, default=Path("recipes"), help="folder with the recipes")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in all_commands():
        command = commands.add_parser(module.NAME, help=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser

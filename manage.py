#!/usr/bin/env python
"""Django's command line."""

from __future__ import annotations

import logging
import os
import sys
import threading


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "swarmsite.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"Swarmsite cannot start: {error}\n")
        sys.exit(2)


def leave(code: int) -> None:
    """Ends at once where an engine ran: its threads sit in C code that must not see the interpreter taken down
    around it (seen: a segmentation fault after all was done). What had to be written is written by then."""
    if any(thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        leave(end.code or 0)
    leave(0)

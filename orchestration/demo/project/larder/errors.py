"""The one error that a cook gets to see."""
from __future__ import annotations


class LarderError(Exception):
    """Something a cook can put right; its text says what."""

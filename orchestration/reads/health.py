"""Whether the parts that the site stands on answer."""

from __future__ import annotations

import os

from celery import current_app
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError

from orchestration.adapters import storage


def troubles() -> dict[str, str]:
    """A sentence for each part that does not answer; empty: ready."""
    found = {"database": _database(), "broker": _broker(), "data directory": _data_directory()}
    return {part: sentence for part, sentence in found.items() if sentence}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"The database does not answer: {error}"
    return ""


def _broker() -> str:
    if current_app.conf.broker_url == "memory://":
        return ""
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
    except (OperationalError, OSError) as error:
        return f"The broker does not answer: {error}"
    return ""


def _data_directory() -> str:
    path = storage.data_directory()
    return "" if os.access(path, os.W_OK | os.X_OK) else "The data directory cannot be written."

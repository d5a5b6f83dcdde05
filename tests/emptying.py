"""The database emptied after a test with real commits: only the tables that hold something.

Django's own way empties every table and then makes all content types and permissions anew, which took longer than most
tests. Those two tables belong to the schema, and stay.
"""

from __future__ import annotations

from functools import cache

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import TransactionTestCase

KEPT = frozenset({ContentType._meta.db_table, Permission._meta.db_table})


def empty(_case: TransactionTestCase) -> None:
    """Takes the place of `TransactionTestCase._fixture_teardown`."""
    filled = _filled()
    if not filled:
        return
    # In one transaction, because the foreign keys are looked at when it ends.
    with transaction.atomic(), connection.cursor() as cursor:
        for table in filled:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of our own models


def _filled() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_question())
        return [name for (name,) in cursor.fetchall()]


@cache
def _question() -> str:
    names = sorted(set(connection.introspection.django_table_names()) - KEPT)
    quoted = [connection.ops.quote_name(name) for name in names]
    return " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in quoted)  # noqa: S608

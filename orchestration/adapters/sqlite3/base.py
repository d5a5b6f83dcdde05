"""Django's SQLite, whose writers in one process queue up in front of the database instead of polling at its lock.

SQLite lets whoever happens to ask at the right moment write next; a thread that sleeps between its tries may
starve for half a second among 100. The queue is an order, not a guarantee: who waited for the database's own
timeout goes on without a turn, and other processes are kept out by SQLite as ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import lru_cache
from sqlite3 import Cursor
from typing import Any

from django.db.backends.sqlite3 import base, features, operations
from django.db.backends.utils import CursorWrapper
from typing_extensions import override

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_turns: dict[str, threading.Lock] = {}


def turn_of(database: str) -> threading.Lock:
    """The lock of one database file in this process."""
    return _turns.setdefault(database, threading.Lock())


os.register_at_fork(after_in_child=_turns.clear)  # nobody gives back what another process's thread has taken


@lru_cache(maxsize=1024)
def _with_marks(query: str) -> str:
    """The same few statements come again and again."""
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class _Cursor(base.SQLiteCursorWrapper):
    """A write outside of a transaction is one of its own and takes its turn as well."""

    alone: Callable[[], AbstractContextManager[None]]

    @override
    def convert_query(self, query: str, *, param_names: Any = None) -> str:
        return super().convert_query(query, param_names=param_names) if param_names else _with_marks(query)

    @override
    def execute(self, query: str, params: Any = None) -> Any:
        if self.connection.in_transaction or not query.startswith(WRITES):
            return self._execute(query, params)
        with self.alone():
            return self._execute(query, params)

    def _execute(self, query: str, params: Any) -> Any:
        if isinstance(params, list | tuple):
            return Cursor.execute(self, _with_marks(query), params)
        return super().execute(query, params)


class _Asked(CursorWrapper):
    """Django's way from a statement to SQLite takes longer than SQLite's answer: this is the same, without the turns
    that nobody takes here."""

    @override
    def execute(self, sql: Any, params: Any = None) -> Any:
        if self.db.execute_wrappers:
            return super().execute(sql, params)
        self.db.validate_no_broken_transaction()
        with self.db.wrap_database_errors:
            return self.cursor.execute(sql, params)

    def fetchall(self) -> Any:
        with self.db.wrap_database_errors:
            return self.cursor.fetchall()


class _Features(features.DatabaseFeatures):
    minimum_database_version = (3, 35)  # RETURNING


class _Operations(operations.DatabaseOperations):
    def convert_datetimefield_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if type(value) is datetime and value.tzinfo is None:
            return value.replace(tzinfo=self.connection.timezone)
        return super().convert_datetimefield_value(value, expression, connection)


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction begins with its turn and gives it back with its end, whatever that is."""

    features_class = _Features
    ops_class = _Operations

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn: threading.Lock | None = None

    @override
    def make_cursor(self, cursor: Any) -> Any:
        return _Asked(cursor, self)

    @override
    def create_cursor(self, name: Any = None) -> Any:
        cursor = self.connection.cursor(factory=_Cursor)
        cursor.alone = self._alone
        return cursor

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._take_turn()
        try:
            yield
        finally:
            self._give_turn()

    def _take_turn(self) -> None:
        turn = turn_of(str(self.settings_dict["NAME"]))
        if turn.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5)):
            self._turn = turn

    def _give_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # the stubs leave these out
        except BaseException:
            self._give_turn()
            raise

    def _ending(self, end: Callable[[], None]) -> None:
        try:
            end()
        finally:
            self._give_turn()

    def _commit(self) -> None:
        self._ending(super()._commit)  # type: ignore[misc]

    def _rollback(self) -> None:
        self._ending(super()._rollback)  # type: ignore[misc]

    def _close(self) -> None:
        self._ending(super()._close)  # type: ignore[misc]

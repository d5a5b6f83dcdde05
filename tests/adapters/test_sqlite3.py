"""Writers of one process take turns in front of SQLite; nobody keeps a turn, and nobody needs one to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import DatabaseError, IntegrityError, NotSupportedError, OperationalError
from django.db.transaction import TransactionManagementError
from pytest_django import DjangoDbBlocker

from orchestration.adapters.sqlite3.base import DatabaseWrapper, turn_of
from swarmsite.environment import database

LONG = 30.0


def connect(path: Path, timeout: float = LONG) -> DatabaseWrapper:
    told = database(path)
    defaults = {
        "TIME_ZONE": None,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "AUTOCOMMIT": True,
        "ATOMIC_REQUESTS": False,
        "USER": "",
        "PASSWORD": "",
        "HOST": "",
        "PORT": "",
    }
    return DatabaseWrapper(defaults | told | {"OPTIONS": told["OPTIONS"] | {"timeout": timeout}}, alias="turns")


def begin(connection: DatabaseWrapper) -> None:
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(connection: DatabaseWrapper) -> None:
    connection.commit()
    connection.set_autocommit(True)


def run(connection: DatabaseWrapper, sql: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


@pytest.fixture
def one(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[DatabaseWrapper]:
    with django_db_blocker.unblock():  # a database of its own, not the suite's
        made = connect(tmp_path)
        run(made, "CREATE TABLE things (name text UNIQUE)")
        yield made
        made.close()


@pytest.fixture
def turn(one: DatabaseWrapper) -> threading.Lock:
    return turn_of(str(one.settings_dict["NAME"]))


def test_a_transaction_has_the_turn_until_it_is_committed(one: DatabaseWrapper, turn: threading.Lock):
    assert not turn.locked()
    begin(one)
    assert turn.locked()
    run(one, "INSERT INTO things VALUES ('a')")
    assert turn.locked()
    end(one)
    assert not turn.locked()
    assert run(one, "SELECT name FROM things") == [("a",)]


def test_a_rollback_gives_the_turn_back(one: DatabaseWrapper, turn: threading.Lock):
    begin(one)
    run(one, "INSERT INTO things VALUES ('a')")
    one.rollback()
    assert not turn.locked()
    one.set_autocommit(True)
    assert run(one, "SELECT name FROM things") == []


def test_closing_in_the_middle_gives_the_turn_back(one: DatabaseWrapper, turn: threading.Lock):
    begin(one)
    one.close()
    assert not turn.locked()


def test_a_transaction_that_cannot_begin_keeps_no_turn(one: DatabaseWrapper, turn: threading.Lock):
    one.transaction_mode = "NONSENSE"
    with pytest.raises(DatabaseError):
        begin(one)
    assert not turn.locked()


def test_a_write_outside_of_a_transaction_takes_its_turn_and_gives_it_back(
    one: DatabaseWrapper, turn: threading.Lock, tmp_path: Path
):
    begin(one)
    written = threading.Event()

    def write() -> None:
        other = connect(tmp_path)
        run(other, "INSERT INTO things VALUES ('b')")
        written.set()
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert not written.wait(0.05)
    end(one)
    thread.join(LONG)
    assert written.is_set()
    assert not turn.locked()
    with suppress(DatabaseError):
        run(one, "INSERT INTO things VALUES ('b')")
    assert not turn.locked()


def test_reading_needs_no_turn(one: DatabaseWrapper, turn: threading.Lock):
    with turn:
        assert run(one, "SELECT count(*) FROM things") == [(0,)]


def test_other_databases_have_turns_of_their_own(one: DatabaseWrapper, turn: threading.Lock, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = connect(tmp_path / "other")
    with turn:
        run(other, "CREATE TABLE things (name text)")
        begin(other)
        end(other)
    other.close()


def test_who_waited_long_enough_goes_on_and_leaves_anothers_turn_alone(
    one: DatabaseWrapper, turn: threading.Lock, tmp_path: Path
):
    """The queue must never stop what SQLite itself would let through."""
    hasty = connect(tmp_path, timeout=0.01)
    with turn:
        begin(hasty)
        run(hasty, "INSERT INTO things VALUES ('a')")
        end(hasty)
        assert turn.locked()
    hasty.close()
    assert run(one, "SELECT name FROM things") == [("a",)]


def test_sqlite_still_keeps_out_whoever_comes_without_a_turn(one: DatabaseWrapper, tmp_path: Path):
    hasty = connect(tmp_path, timeout=0.01)
    begin(one)
    with pytest.raises(OperationalError, match="locked"):
        begin(hasty)
    end(one)
    hasty.close()


def test_many_writers_all_come_through(one: DatabaseWrapper, tmp_path: Path):
    failed: list[BaseException] = []

    def write(number: int) -> None:
        mine = connect(tmp_path)
        try:
            for each in range(5):
                begin(mine)
                run(mine, "INSERT INTO things VALUES (%s)", f"{number}-{each}")
                end(mine)
        except DatabaseError as error:
            failed.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert failed == []
    assert run(one, "SELECT count(*) FROM things") == [(60,)]


def test_what_sqlite_refuses_is_told_as_django_does_and_ends_a_transaction_there(one: DatabaseWrapper):
    run(one, "CREATE TABLE told (number INTEGER UNIQUE)")
    run(one, "INSERT INTO told VALUES (%s)", 1)
    with pytest.raises(IntegrityError):
        run(one, "INSERT INTO told VALUES (%s)", 1)
    one.in_atomic_block = one.needs_rollback = True
    with pytest.raises(TransactionManagementError):
        run(one, "SELECT number FROM told")
    one.in_atomic_block = one.needs_rollback = False
    assert run(one, "SELECT number, '100 %%' FROM told WHERE number = %s", 1) == [(1, "100 %")]


def test_whoever_listens_to_statements_hears_of_each(one: DatabaseWrapper):
    heard = []

    def listen(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
        heard.append((sql, params))
        return execute(sql, params, many, context)

    with one.execute_wrapper(listen):
        assert run(one, "SELECT %s", 7) == [(7,)]
    run(one, "SELECT %s", 8)
    assert heard == [("SELECT %s", (7,))]


def test_moments_come_as_moments(one: DatabaseWrapper):
    run(one, "CREATE TABLE moments (at DATETIME)")
    now = datetime(2026, 11, 21, 17, 42, 9, 123, tzinfo=UTC)
    run(one, "INSERT INTO moments VALUES (%s)", one.ops.adapt_datetimefield_value(now))
    [(at,)] = run(one, "SELECT at FROM moments")
    for stored in (at, "2026-11-21 17:42:09.000123", now):
        assert one.ops.convert_datetimefield_value(stored, None, one) == now
    assert one.ops.convert_datetimefield_value(None, None, one) is None


def test_a_sqlite_that_is_too_old_is_told_of_at_the_start(one: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch):
    one.check_database_version_supported()
    monkeypatch.setattr(one, "get_database_version", lambda: (3, 34, 1))
    with pytest.raises(NotSupportedError, match=r"SQLite 3\.35 or later is required \(found 3\.34\.1\)"):
        one.check_database_version_supported()

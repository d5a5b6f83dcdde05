"""Statements that are asked a thousand times a minute, compiled once: Django takes longer to put such a statement into
SQL than the database takes to answer it.

The statement is built once with stand-ins for its values. What it says may depend on which values are None, on how
many a list has, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet, sql
from django.db.models.query import get_related_populators

M = TypeVar("M", bound=Model)
MOST_SHAPES = 64  # of one statement: a list has another length each time
Shape = tuple[Any, ...]
Converters = Mapping[int, tuple[Sequence[Callable[..., Any]], Any]]
_FIRST = 2_000_000_011  # stand-ins are like no value that a statement has of its own, and fit every column
_FIRST_MOMENT = datetime(2963, 7, 11, 13, 17, 19, 23, UTC)


@dataclass(frozen=True, slots=True)
class _Statement:
    sql: str
    parameters: Sequence[Any]  # a _Given where a value goes
    converters: Converters


@dataclass(frozen=True, slots=True)
class _Given:
    """A value's place among the parameters."""

    name: str
    place: int | None  # in a list
    kind: Callable[[Any], Any] | None = None  # PostgreSQL's numbers say how large their column is

    def of(self, values: Mapping[str, Any]) -> Any:
        value = values[self.name]
        value = value if self.place is None else value[self.place]
        return self.kind(value) if self.kind else _adapted(value)


class _Prepared:
    """Keeps a statement for each database and each shape of the values."""

    def __init__(self) -> None:
        self._statements: dict[Shape, _Statement] = {}

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        raise NotImplementedError

    def _bound(self, values: Mapping[str, Any]) -> tuple[_Statement, list[Any]]:
        key = (connection.vendor, *values, *map(_shape, values.values()))
        statement = self._statements.get(key) or self._learn(key, values)
        return statement, [one.of(values) if isinstance(one, _Given) else one for one in statement.parameters]

    def _learn(self, key: Shape, values: Mapping[str, Any]) -> _Statement:
        stand_ins, given = _stand_ins(values)
        text, parameters, converters = self._compile(stand_ins)
        placed = [_placed(one, given) for one in parameters]
        missing = {one.name for one in given.values()} - {one.name for one in placed if isinstance(one, _Given)}
        if missing:
            names = ", ".join(sorted(missing))
            raise ValueError(f"The prepared statement makes no use of {names}, or changes it first.")
        if len(self._statements) >= MOST_SHAPES:
            self._statements.clear()
        return self._statements.setdefault(key, _Statement(text, placed, converters))


class PreparedRead(_Prepared):
    """`build` takes the values by name and returns rows as values_list gives them."""

    def __init__(self, build: Callable[..., QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> list[tuple[Any, ...]]:
        statement, parameters = self._bound(values)
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return [_converted(row, statement.converters) for row in rows] if statement.converters else rows

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        compiler = self._build(**values).query.get_compiler(connection=connection)
        text, parameters = compiler.as_sql()
        return text, parameters, compiler.get_converters([column for column, *_ in compiler.select])


class PreparedRows(_Prepared, Generic[M]):
    """`build` takes the values by name and returns a queryset; gives its rows as models, and what it selects with them
    as theirs."""

    def __init__(self, build: Callable[..., QuerySet[M]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> list[M]:
        statement, parameters = self._bound(values)
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, parameters)
            rows = cursor.fetchall()
        return [self._made(_converted(row, statement.converters)) for row in rows]

    def one(self, **values: Any) -> M:
        """Raises the model's DoesNotExist."""
        rows = self(**values)
        if not rows:
            raise self._model.DoesNotExist(f"There is no such {self._model.__name__}.")  # type: ignore[attr-defined]
        return rows[0]

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        compiler = self._build(**values).query.get_compiler(connection=connection)
        text, parameters = compiler.as_sql()
        own = compiler.klass_info["select_fields"]
        self._model: type[M] = compiler.klass_info["model"]
        self._columns = slice(own[0], own[-1] + 1)
        self._names = [column.target.attname for column, *_ in compiler.select[self._columns]]
        self._related = get_related_populators(compiler.klass_info, compiler.select, connection.alias)  # type: ignore[call-arg]  # stubs are ahead
        return text, parameters, compiler.get_converters([column for column, *_ in compiler.select])

    def _made(self, row: Sequence[Any]) -> M:
        made = self._model.from_db(connection.alias, self._names, row[self._columns])
        for related in self._related:
            related.populate(row, made)
        return made


class PreparedUpdate(_Prepared):
    """`build` takes the values by name and returns which rows, and what is written there. Gives how many there were."""

    def __init__(self, build: Callable[..., tuple[QuerySet[Any, Any], Mapping[str, Any]]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> int:
        statement, parameters = self._bound(values)
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, parameters)
            changed: int = cursor.rowcount
            return changed

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        rows, written = self._build(**values)
        query: Any = rows.query.chain(sql.UpdateQuery)
        query.add_update_values(written)
        text, parameters = query.get_compiler(connection=connection).as_sql()
        return text, parameters, {}


def insert(rows: Sequence[Model]) -> None:
    """All of one kind and new, in one statement. They are not told their keys."""
    if not rows:
        return
    add = True  # what Django names this argument differs from field to field
    fields, text = _insertion(connection.vendor, type(rows[0]), len(rows))
    values = [field.get_db_prep_save(field.pre_save(row, add), connection) for row in rows for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(text, values)


@lru_cache(maxsize=256)
def _insertion(_: str, model: type[Model], rows: int) -> tuple[Sequence[Any], str]:
    """`_` is the kind of database: each quotes in its own way."""
    meta, quote = model._meta, connection.ops.quote_name  # noqa: SLF001 - Django's own name
    fields: list[Any] = [field for field in meta.concrete_fields if not field.primary_key]
    columns = ", ".join(quote(field.column) for field in fields)
    places = ", ".join([f"({', '.join(['%s'] * len(fields))})"] * rows)
    return fields, f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES {places}"  # noqa: S608 - names of ours


def _shape(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return len(value), *map(_shape, value)
    return None if value is None else type(value)


def _stand_ins(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Any, _Given]]:
    """One for each value, and whose place it keeps among the statement's parameters."""
    given: dict[Any, _Given] = {}

    def stand_in(name: str, value: Any, place: int | None = None) -> Any:
        if value is None:
            return None
        made = _like(value, len(given))
        given[_adapted(made)] = _Given(name, place)
        return made

    found = {
        name: [stand_in(name, one, place) for place, one in enumerate(value)]
        if isinstance(value, list | tuple)
        else stand_in(name, value)
        for name, value in values.items()
    }
    return found, given


def _like(value: Any, number: int) -> Any:
    match value:
        case bool():
            raise TypeError("A prepared statement takes no truth value: prepare two of them.")
        case int():
            return _FIRST + number
        case str():
            return f"\x01 value {number}"
        case datetime():
            return _FIRST_MOMENT + timedelta(days=number)
        case Decimal():
            return Decimal(_FIRST + number) + Decimal("0.017")
        case _:
            raise TypeError(f"A prepared statement takes no {type(value).__name__}.")


def _adapted(value: Any) -> Any:
    """As the database takes it."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, Decimal):
        return connection.ops.adapt_decimalfield_value(value, None, None)
    return value


def _placed(parameter: Any, given: Mapping[Any, _Given]) -> Any:
    """Who goes where this stand-in is; or the parameter itself, which is the statement's own."""
    found = given.get(parameter) if isinstance(parameter, int | str | datetime | Decimal) else None
    if found and isinstance(parameter, int) and type(parameter) is not int:
        return replace(found, kind=type(parameter))
    return found or parameter


def _converted(row: Sequence[Any], converters: Converters) -> tuple[Any, ...]:
    values = list(row)
    for position, (steps, expression) in converters.items():
        for step in steps:
            values[position] = step(values[position], expression, connection)
    return tuple(values)

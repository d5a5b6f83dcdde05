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
from functools import lru_cache, reduce
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.utils import CursorWrapper
from django.db.models import Field, Model, QuerySet, sql
from django.db.models.query import get_related_populators

M = TypeVar("M", bound=Model)
MOST_SHAPES = 64  # of one statement: a list has another length each time
LISTS = frozenset({list, tuple})  # and none of their own kinds: each has a key of its own, which tells no length
Shape = tuple[Any, ...]
Converters = Sequence[tuple[int, Callable[[Any], Any]]]  # of the columns that Python has otherwise
_KEY = "id"  # of every model, as Django names it where nobody does
_PLAIN: Mapping[str, type] = {
    "BooleanField": bool,
    "CharField": str,
    "ForeignKey": int,
    "OneToOneField": int,
    "PositiveBigIntegerField": int,
    "PositiveIntegerField": int,
    "PositiveSmallIntegerField": int,
    "TextField": str,
}
_FIRST = 2_000_000_011  # stand-ins are like no value that a statement has of its own, and fit every column
_FIRST_MOMENT = datetime(2963, 7, 11, 13, 17, 19, 23, UTC)


@dataclass(frozen=True, slots=True)
class _Given:
    """Which value it is, and what makes of it what the database takes."""

    name: str
    place: int | None  # in a list
    adapt: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class _Statement:
    sql: str
    parameters: Sequence[Any]  # with anything where a value goes
    given: Sequence[tuple[int, _Given]]
    converters: Converters

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        parameters = [*self.parameters]
        for position, one in self.given:
            value = values[one.name] if one.place is None else values[one.name][one.place]
            parameters[position] = one.adapt(value) if one.adapt else value
        return parameters

    def converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for position, convert in self.converters:
            if (value := values[position]) is not None:
                values[position] = convert(value)
        return tuple(values)


class _Prepared:
    """Keeps a statement for each database and each shape of the values."""

    def __init__(self) -> None:
        self._statements: dict[Shape, _Statement] = {}

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        raise NotImplementedError

    def _asked(self, values: Mapping[str, Any]) -> tuple[_Statement, CursorWrapper]:
        """What was said, and the cursor to which it was."""
        database = connections[DEFAULT_DB_ALIAS]  # for this thread: the proxy would look for it each time
        kinds = tuple(map(type, values.values()))
        lists = () if LISTS.isdisjoint(kinds) else map(_shape, values.values())
        key = (database.vendor, *values, *kinds, *lists)
        statement = self._statements.get(key) or self._learn(key, values)
        cursor = database.cursor()
        cursor.execute(statement.sql, statement.bound(values))
        return statement, cursor

    def _rows(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        statement, cursor = self._asked(values)
        with cursor:
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return [statement.converted(row) for row in rows] if statement.converters else rows

    def _learn(self, key: Shape, values: Mapping[str, Any]) -> _Statement:
        stand_ins, given = _stand_ins(values)
        text, parameters, converters = self._compile(stand_ins)
        placed = [(position, found) for position, one in enumerate(parameters) if (found := _placed(one, given))]
        missing = {one.name for one in given.values()} - {one.name for _, one in placed}
        if missing:
            names = ", ".join(sorted(missing))
            raise ValueError(f"The prepared statement makes no use of {names}, or changes it first.")
        if len(self._statements) >= MOST_SHAPES:
            self._statements.clear()
        return self._statements.setdefault(key, _Statement(text, parameters, placed, converters))


class PreparedRead(_Prepared):
    """`build` takes the values by name and returns rows as values_list gives them."""

    def __init__(self, build: Callable[..., QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> list[tuple[Any, ...]]:
        return self._rows(values)

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        compiler = self._build(**values).query.get_compiler(connection=connection)
        text, parameters = compiler.as_sql()
        return text, parameters, _converters(compiler)


class PreparedRows(_Prepared, Generic[M]):
    """`build` takes the values by name and returns a queryset; gives its rows as models, and what it selects with them
    as theirs."""

    def __init__(self, build: Callable[..., QuerySet[M]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> list[M]:
        return [self._made(row) for row in self._rows(values)]

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
        self._names = frozenset(column.target.attname for column, *_ in compiler.select[self._columns])
        self._related = get_related_populators(compiler.klass_info, compiler.select, connection.alias)  # type: ignore[call-arg]  # stubs are ahead
        return text, parameters, _converters(compiler)

    def _made(self, row: Sequence[Any]) -> M:
        made = self._model.from_db(connection.alias, self._names, row[self._columns])
        for related in self._related:
            related.populate(row, made)
        return made


class PreparedUpdate(_Prepared):
    """`build` takes the values by name and returns which rows, and what is written there. Gives how many there were."""

    def __init__(self, build: Callable[..., tuple[QuerySet[Any, Any], Mapping[str, Any]]], tells: str = "") -> None:
        """`tells`: a column that `told` gives as it then is."""
        super().__init__()
        self._build, self._tells = build, tells

    def __call__(self, **values: Any) -> int:
        _, cursor = self._asked(values)
        with cursor:
            return int(cursor.rowcount)

    def told(self, **values: Any) -> list[Any]:
        return [value for (value,) in self._rows(values)]

    def _compile(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any], Converters]:
        rows, written = self._build(**values)
        query: Any = rows.query.chain(sql.UpdateQuery)
        query.add_update_values(written)
        text, parameters = query.get_compiler(connection=connection).as_sql()
        told = f" RETURNING {connection.ops.quote_name(self._tells)}" if self._tells else ""
        return text + told, parameters, ()


def insert(rows: Sequence[Model]) -> None:
    """All of one kind and new, in one statement. They are not told their keys."""
    if rows:
        text, columns = _insertion(connection.vendor, type(rows[0]), len(rows))
        with connection.cursor() as cursor:
            cursor.execute(text, _stored(rows, columns))


def create(row: M) -> M:
    """One that is new; it is told its key."""
    text, columns = _insertion(connection.vendor, type(row), 1)
    with connection.cursor() as cursor:
        cursor.execute(f"{text} RETURNING {connection.ops.quote_name(_KEY)}", _stored([row], columns))
        [(row.pk,)] = cursor.fetchall()
    row._state.adding, row._state.db = False, connection.alias  # noqa: SLF001 - Django's own name
    return row


def _stored(rows: Sequence[Model], columns: Sequence[tuple[Any, type | None]]) -> list[Any]:
    add = True  # what Django names this argument differs from field to field
    database = connections[DEFAULT_DB_ALIAS]
    return [
        value
        if plain and type(value := getattr(row, field.attname)) is plain
        else field.get_db_prep_save(field.pre_save(row, add), database)
        for row in rows
        for field, plain in columns
    ]


@lru_cache(maxsize=256)
def _insertion(_: str, model: type[Model], rows: int) -> tuple[str, Sequence[tuple[Any, type | None]]]:
    """And its columns. `_` is the kind of database: each quotes in its own way."""
    meta, quote = model._meta, connection.ops.quote_name  # noqa: SLF001 - Django's own name
    fields: list[Any] = [field for field in meta.concrete_fields if not field.primary_key]
    columns = ", ".join(quote(field.column) for field in fields)
    places = ", ".join([f"({', '.join(['%s'] * len(fields))})"] * rows)
    text = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES {places}"  # noqa: S608 - names of ours
    return text, [(field, _plain(field)) for field in fields]


def _plain(field: Any) -> type | None:
    """The kind of value that goes from such a field to the database as it is."""
    return _PLAIN.get(field.get_internal_type()) if type(field).pre_save is Field.pre_save else None


def _shape(value: Any) -> Any:
    if type(value) in LISTS:
        return len(value), *map(_shape, value)
    return None if value is None else type(value)


def _stand_ins(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Any, _Given]]:
    """One for each value, and whose place it keeps among the statement's parameters."""
    given: dict[Any, _Given] = {}

    def stand_in(name: str, value: Any, place: int | None = None) -> Any:
        if value is None:
            return None
        made, adapt = _like(value, len(given)), _adapter(value)
        given[adapt(made) if adapt else made] = _Given(name, place, adapt)
        return made

    found = {
        name: [stand_in(name, one, place) for place, one in enumerate(value)]
        if type(value) in LISTS
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


def _adapter(value: Any) -> Callable[[Any], Any] | None:
    """What makes of such a value what the database takes; none where that is the value itself."""
    if isinstance(value, datetime):
        return _moment
    return _usd if isinstance(value, Decimal) else None


def _moment(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


def _usd(value: Decimal) -> Any:
    return connection.ops.adapt_decimalfield_value(value)


def _placed(parameter: Any, given: Mapping[Any, _Given]) -> _Given | None:
    """Who goes where this stand-in is; nobody where the parameter is the statement's own."""
    found = given.get(parameter) if isinstance(parameter, int | str | datetime | Decimal) else None
    if found and isinstance(parameter, int) and type(parameter) is not int:
        return replace(found, adapt=type(parameter))  # PostgreSQL's numbers say how large their column is
    return found


def _converters(compiler: Any) -> Converters:
    found = compiler.get_converters([column for column, *_ in compiler.select])
    return [(position, _in_turn(*how)) for position, how in found.items()]


def _in_turn(steps: Sequence[Callable[..., Any]], expression: Any) -> Callable[[Any], Any]:
    """Of nothing, each of them makes nothing."""
    first, *others = steps
    if not others:
        return lambda value: first(value, expression, connection)
    return lambda value: reduce(lambda found, step: step(found, expression, connection), steps, value)

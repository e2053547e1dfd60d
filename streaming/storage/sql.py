"""The statements that every run needs, compiled once and kept.

The ORM builds and compiles each statement anew, which takes ten times as long as SQLite
needs to run it: the start and end of a run cost 3.6 ms of CPU through the ORM and
0.5 ms here. Values pass through the models' fields as in the ORM; no signals are sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, DateTimeField, Field, JSONField, Model
from django.utils import timezone

from streaming.storage.alias import app_connection

Fields = tuple["Field[Any, Any]", ...]
#: The fields that select a row, and the fields to set in it, with their values.
Change = tuple[Mapping[str, object], Mapping[str, object]]

_MOMENT: "DateTimeField[Any, Any]" = DateTimeField()
#: Types that every field but a JSON field passes to the database as they are.
_PLAIN = frozenset({str, int, bool, type(None)})


def insert_all(rows: Iterable[Model]) -> None:
    """Insert rows of one model; keys that the database assigns are not read back."""
    connection = app_connection()
    values: list[list[Any]] = []
    sql = ""
    for row in rows:
        sql, fields = _insertion(type(row))
        values.append(_values(row, fields, connection))
        _mark_stored(row, connection)
    if values:
        with connection.cursor() as cursor:
            cursor.executemany(sql, values)


def insert_with_keys(rows: Sequence[Model]) -> None:
    """Insert rows of one model and set the keys that the database assigned."""
    if not rows:
        return
    connection = app_connection()
    sql, fields = _insertion_with_keys(type(rows[0]), len(rows))
    values = [v for row in rows for v in _values(row, fields, connection)]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        for row, (key,) in zip(rows, cursor.fetchall(), strict=True):
            row.pk = key
            _mark_stored(row, connection)


def update_all(
    model: type[Model], changes: Sequence[Change], *, clock: tuple[str, ...] = ()
) -> int:
    """Set fields of rows and return the number of rows that matched.

    All changes name the same fields. Those in `clock` are times: they are set to the
    database's own if its clock may differ from the clock of this process.
    """
    if not changes:
        return 0
    connection = app_connection()
    if connection.vendor != "postgresql":
        clock = ()
    where, values = changes[0]
    given = tuple(name for name in values if name not in clock)
    sql, fields = _update(model, given, tuple(where), clock)
    with connection.cursor() as cursor:
        named = [
            (*map(values.get, given), *where.values()) for where, values in changes
        ]
        cursor.executemany(sql, [_prepared(fields, row, connection) for row in named])
        return int(cursor.rowcount)


def clock_sql() -> str:
    """Return SQL for the database's time; NULL for SQLite.

    SQLite runs in this process: its clock is that of `timezone.now()`.
    """
    vendor = app_connection().vendor
    return "STATEMENT_TIMESTAMP()" if vendor == "postgresql" else "NULL"


def database_time() -> datetime:
    """Return the database's time, which all processes share."""
    with app_connection().cursor() as cursor:
        cursor.execute(f"SELECT {clock_sql()}")
        now: datetime | None = cursor.fetchone()[0]
    return now or timezone.now()


def count(model: type[Model], **where: object) -> int:
    """Return the number of rows whose fields equal the values in `where`."""
    connection = app_connection()
    sql, fields = _count(model, tuple(where))
    with connection.cursor() as cursor:
        cursor.execute(sql, _prepared(fields, where.values(), connection))
        return int(cursor.fetchone()[0])


def _mark_stored(row: Model, connection: BaseDatabaseWrapper) -> None:
    row._state.adding = False
    row._state.db = connection.alias


def _values(row: Model, fields: Fields, connection: BaseDatabaseWrapper) -> list[Any]:
    return _prepared(fields, (f.pre_save(row, True) for f in fields), connection)


def _prepared(
    fields: Fields, values: Iterable[object], connection: BaseDatabaseWrapper
) -> list[Any]:
    """Convert values to types that the database driver accepts; most need nothing."""
    return [
        value
        if type(value) in _PLAIN and not isinstance(field, JSONField)
        else _moment(value)
        if isinstance(field, DateTimeField)
        else field.get_db_prep_save(value, connection)
        for field, value in zip(fields, values, strict=True)
    ]


@lru_cache(64)  # rows that are written together share their timestamps
def _moment(value: datetime) -> object:
    return _MOMENT.get_db_prep_save(value, app_connection())


@lru_cache(64)  # each number of rows has a statement of its own
def _insertion_with_keys(model: type[Model], rows: int) -> tuple[str, Fields]:
    """Return the statement for `rows` rows, and the fields whose values each needs."""
    sql, fields = _insertion(model)
    row = sql[sql.rindex("(") :]
    more = f", {row}" * (rows - 1)
    return f"{sql}{more} RETURNING {_column(model._meta.pk)}", fields


@cache
def _insertion(model: type[Model]) -> tuple[str, Fields]:
    """Return the statement, and the fields whose values it needs."""
    meta = model._meta
    fields = tuple(f for f in meta.concrete_fields if not isinstance(f, AutoField))
    columns = ", ".join(map(_column, fields))
    values = ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {_quoted(meta.db_table)} ({columns}) VALUES ({values})"
    return sql, fields


@cache
def _update(
    model: type[Model],
    values: tuple[str, ...],
    where: tuple[str, ...],
    clock: tuple[str, ...],
) -> tuple[str, Fields]:
    """Return the statement, and the fields whose values it needs."""
    names = (*values, *where)
    fields = cast(Fields, tuple(model._meta.get_field(name) for name in names))
    terms = [f"{_column(field)} = %s" for field in fields]
    times = cast(Fields, tuple(model._meta.get_field(name) for name in clock))
    to_set = terms[: len(values)]
    to_set += [f"{_column(field)} = {clock_sql()}" for field in times]
    to_match = terms[len(values) :]
    table = _quoted(model._meta.db_table)
    sql = f"UPDATE {table} SET {', '.join(to_set)} WHERE {' AND '.join(to_match)}"
    return sql, fields


@cache
def _count(model: type[Model], where: tuple[str, ...]) -> tuple[str, Fields]:
    """Return the statement, and the fields whose values it needs."""
    fields = cast(Fields, tuple(model._meta.get_field(name) for name in where))
    terms = " AND ".join(f"{_column(field)} = %s" for field in fields)
    return f"SELECT COUNT(*) FROM {_quoted(model._meta.db_table)} WHERE {terms}", fields


def _column(field: "Field[Any, Any]") -> str:
    return _quoted(cast(str, field.column))


def _quoted(name: str) -> str:
    return app_connection().ops.quote_name(name)

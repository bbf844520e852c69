"""The schema of a live SQLite database, as far as capturing its writes needs it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec

from indelible.capture.sqlite_names import is_ours
from indelible.capture.sqlite_tokens import TriggerText, parse_index, parse_trigger
from indelible.errors import ConfigurationError

_OLDEST: Final = (3, 37, 0)
_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")


class Column(msgspec.Struct, frozen=True):
    """One column; `default` is the SQL of its default, `is_generated` computed by SQLite."""

    name: str
    type: str
    not_null: bool
    default: str | None
    is_generated: bool


class IndexTerm(msgspec.Struct, frozen=True):
    """One term of an index: a column, or an expression as written in it."""

    column: str | None
    expression: str | None
    collation: str


class UniqueIndex(msgspec.Struct, frozen=True):
    """What must be unique; `where` is a partial index's predicate as written."""

    name: str
    terms: tuple[IndexTerm, ...]
    where: str | None


class ForeignKey(msgspec.Struct, frozen=True):
    """`columns` refer to `parents` of `table`; actions are SQLite's words (`CASCADE`, …)."""

    table: str
    columns: tuple[str, ...]
    parents: tuple[str | None, ...]
    on_update: str
    on_delete: str


class Trigger(msgspec.Struct, frozen=True):
    """A trigger on `table`. Of two, the one of the higher `age` was created later."""

    name: str
    table: str
    sql: str
    age: int

    def parsed(self) -> TriggerText:
        return parse_trigger(self.sql)


class Table(msgspec.Struct, frozen=True):
    """A table. `key` is its primary key in key order; empty for a table without one.

    `rowid` is a name by which the rowid can be reached (None: WITHOUT ROWID, or columns of the
    table hide all three names). `is_rowid_key` says that the key is the rowid itself.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rowid: str | None
    is_without_rowid: bool
    is_rowid_key: bool
    unique: tuple[UniqueIndex, ...]
    foreign_keys: tuple[ForeignKey, ...]

    def column(self, name: str) -> Column | None:
        folded = name.lower()
        return next((one for one in self.columns if one.name.lower() == folded), None)

    @property
    def key_can_be_null(self) -> bool:
        """Whether rows may share a key of NULLs: SQLite allows it in all but rowid keys."""
        if self.is_without_rowid or self.is_rowid_key or not self.key:
            return False
        columns = (self.column(name) for name in self.key)
        return any(column is not None and not column.not_null for column in columns)


class Unseen(msgspec.Struct, frozen=True):
    """Something whose writes no trigger sees, and why."""

    name: str
    why: str


class Schema(msgspec.Struct, frozen=True):
    """Every table of the application, and the triggers of all (ours too), by table."""

    tables: tuple[Table, ...]
    triggers: tuple[Trigger, ...]
    unseen: tuple[Unseen, ...]

    def table(self, name: str) -> Table | None:
        folded = name.lower()
        return next((one for one in self.tables if one.name.lower() == folded), None)


@contextlib.contextmanager
def plain_cursor(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """A cursor untouched by the application's row and text factories."""
    text_factory = connection.text_factory
    cursor = sqlite3.Cursor(connection)
    connection.text_factory = str
    try:
        yield cursor
    finally:
        connection.text_factory = text_factory
        cursor.close()


@cache
def named_sql() -> dict[str, str]:
    """The fixed statements of `sqlite.sql`, by name."""
    text = resources.files(__package__).joinpath("sqlite.sql").read_text("utf-8")
    named = {}
    for part in text.split("-- name: ")[1:]:
        name, _, statement = part.partition("\n")
        named[name.strip()] = statement.strip().rstrip(";")
    return named


def read_schema(connection: sqlite3.Connection) -> Schema:
    """The schema of `main` as it is now. Raises `sqlite3.Error`, and `ConfigurationError` for a
    library of SQLite that is too old to tell.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationError(f"expected SQLite 3.37 or newer, found {sqlite3.sqlite_version}")
    named = named_sql()
    tables, unseen = [], []
    with plain_cursor(connection) as cursor:
        for name, kind, without_rowid in cursor.execute(named["tables"]).fetchall():
            if is_ours(name):
                continue
            if kind == "virtual":
                unseen.append(Unseen(name, "a virtual table: SQLite fires no triggers on it"))
            elif kind == "shadow":
                unseen.append(Unseen(name, "belongs to a virtual table"))
            elif kind == "table":
                tables.append(_table(cursor, name, bool(without_rowid)))
        triggers = [Trigger(*row) for row in cursor.execute(named["triggers"]).fetchall()]
    return Schema(tuple(tables), tuple(triggers), tuple(unseen))


def _table(cursor: sqlite3.Cursor, name: str, without_rowid: bool) -> Table:
    named = named_sql()
    rows = cursor.execute(named["columns"], (name,)).fetchall()
    columns = tuple(
        Column(column, type_ or "", bool(not_null), default, hidden in (2, 3))
        for column, type_, not_null, default, _, hidden in rows
        if hidden != 1
    )
    key = tuple(row[0] for row in sorted((row for row in rows if row[4]), key=lambda row: row[4]))
    indexes = cursor.execute(named["unique_indexes"], (name,)).fetchall()
    has_key_index = any(origin == "pk" for _, origin, _ in indexes)
    is_rowid_key = len(key) == 1 and not without_rowid and not has_key_index
    taken = {column.name.lower() for column in columns}
    free = next((alias for alias in _ROWID_NAMES if alias not in taken), None)
    if is_rowid_key:
        free = free or key[0]
    return Table(
        name=name,
        columns=columns,
        key=key,
        rowid=None if without_rowid else free,
        is_without_rowid=without_rowid,
        is_rowid_key=is_rowid_key,
        unique=tuple(_index(cursor, index, sql) for index, _, sql in indexes),
        foreign_keys=_foreign_keys(cursor, name),
    )


def _index(cursor: sqlite3.Cursor, name: str, sql: str | None) -> UniqueIndex:
    written = parse_index(sql) if sql else None
    terms = []
    rows = cursor.execute(named_sql()["index_terms"], (name,)).fetchall()
    for place, (column_id, column, collation) in enumerate(rows):
        if column_id >= 0:
            terms.append(IndexTerm(column, None, collation))
        else:
            # An expression, or the rowid, which can't be named in one either.
            expression = written.terms[place] if written else None
            terms.append(IndexTerm(None, expression, collation))
    return UniqueIndex(name, tuple(terms), written.where if written else None)


def _foreign_keys(cursor: sqlite3.Cursor, table: str) -> tuple[ForeignKey, ...]:
    found: dict[int, list[Any]] = {}
    for row in cursor.execute(named_sql()["foreign_keys"], (table,)).fetchall():
        found.setdefault(row[0], []).append(row)
    return tuple(
        ForeignKey(
            rows[0][1],
            tuple(row[2] for row in rows),
            tuple(row[3] for row in rows),
            rows[0][4],
            rows[0][5],
        )
        for rows in found.values()
    )


def affinity(type_: str) -> str:
    """The affinity of a column declared as `type_` (datatype3.html, 3.1)."""
    declared = type_.upper()
    for parts, found in (
        (("INT",), "INTEGER"),
        (("CHAR", "CLOB", "TEXT"), "TEXT"),
        (("BLOB",), "BLOB"),
        (("REAL", "FLOA", "DOUB"), "REAL"),
    ):
        if any(part in declared for part in parts):
            return found
    return "NUMERIC" if declared else "BLOB"

"""Rows of an SQLite database, read bit for bit past everything that the application set up.

The driver's own cursor is used, so neither row factories nor capture are in the way, and a text
that isn't UTF-8 comes as `RawText`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from indelible.capture.schema import Table
from indelible.capture.sqlite_names import quote_name
from indelible.capture.sqlite_schema import read_schema
from indelible.events.values import Id, Native, RawText, Value, to_native, to_value
from indelible.named_sql import load_statements
from indelible.reversal.live import ForeignKey, Row, TableShape

KindOf = Callable[[str], str]


class SqliteRows:
    """`live.LiveRows` of one connection. Rows are remembered: make another after writing."""

    def __init__(self, connection: sqlite3.Connection, kind_of: KindOf) -> None:
        self._connection = connection
        self._rows: dict[tuple[str, Id], Row | None] = {}
        self.shapes: Mapping[str, TableShape]
        self.foreign_keys: Sequence[ForeignKey]
        self.shapes, self.foreign_keys = read_shapes(connection, kind_of)

    def row(self, kind: str, row_id: Id) -> Row | None:
        at = (kind, row_id)
        if at not in self._rows:
            self._rows[at] = read_row(self._connection, self.shapes[kind], row_id)
        return self._rows[at]

    def find(self, kind: str, columns: Sequence[str], values: Sequence[Value]) -> Iterator[Id]:
        shape = self.shapes.get(kind)
        if shape is None:
            return
        where, parameters = match(columns, values)
        text = f"SELECT {_read_list(shape.key)} FROM {quote_name(shape.table)} WHERE {where}"
        for found in query(self._connection, text, parameters):
            yield tuple(to_value(value) for value in found)


def query(
    connection: sqlite3.Connection, text: str, parameters: Sequence[Native] = ()
) -> list[tuple[Native, ...]]:
    """All rows, as the database has them. Raises `sqlite3.Error`."""
    cursor = sqlite3.Cursor(connection)
    text_factory = connection.text_factory
    try:
        connection.text_factory = _decode
        return cursor.execute(text, parameters).fetchall()
    finally:
        connection.text_factory = text_factory
        cursor.close()


def read_row(connection: sqlite3.Connection, shape: TableShape, row_id: Id) -> Row | None:
    """The writable columns of the row; None where there is none."""
    where, parameters = match(shape.key, row_id)
    text = f"SELECT {_read_list(shape.columns)} FROM {quote_name(shape.table)} WHERE {where}"
    found = query(connection, text, parameters)
    if not found:
        return None
    return {name: to_value(value) for name, value in zip(shape.columns, found[0], strict=True)}


def match(columns: Sequence[str], values: Sequence[Value]) -> tuple[str, list[Native]]:
    """The condition that these columns have these values, and its parameters."""
    terms = []
    parameters = []
    for name, value in zip(columns, values, strict=True):
        placeholder, parameter = bind(value)
        terms.append(f"{quote_name(name)} IS {placeholder}")
        parameters.append(parameter)
    return " AND ".join(terms), parameters


def bind(value: Value) -> tuple[str, Native]:
    """The placeholder and the parameter by which `value` is written bit for bit."""
    native = to_native(value)
    if isinstance(native, RawText):
        # The driver has no parameter for a text that isn't UTF-8.
        return "CAST(? AS TEXT)", bytes(native)
    return "?", native


def read_shapes(
    connection: sqlite3.Connection, kind_of: KindOf
) -> tuple[Mapping[str, TableShape], Sequence[ForeignKey]]:
    """Every table of the application by its kind, and its foreign keys where they are enforced."""
    schema = read_schema(partial(query, connection))
    shapes = {}
    for table in schema.capturable():
        shape = _shape(table, kind_of(table.name))
        shapes[shape.kind] = shape
    kinds = {shape.table.lower(): kind for kind, shape in shapes.items()}
    keys: list[ForeignKey] = []
    if query(connection, statements()["are_foreign_keys_enforced"]) == [(1,)]:
        for table in schema.capturable():
            keys += _foreign_keys(table, kinds, shapes)
    return shapes, keys


def _shape(table: Table, kind: str) -> TableShape:
    uniques = (
        tuple(term.column for term in index.terms if term.column is not None)
        for index in table.unique
        if index.where is None and all(term.column is not None for term in index.terms)
    )
    return TableShape(
        kind=kind,
        table=table.name,
        key=table.id_columns,
        keyless=table.keyless,
        columns=tuple(column.name for column in table.columns if not column.is_generated),
        computed=frozenset(column.name for column in table.columns if column.is_generated),
        uniques=tuple(unique for unique in uniques if set(unique) != set(table.key)),
    )


def _foreign_keys(
    table: Table, kinds: Mapping[str, str], shapes: Mapping[str, TableShape]
) -> Iterator[ForeignKey]:
    for key in table.foreign_keys:
        parent = kinds.get(key.table.lower())
        if parent is None:
            continue
        spelled = {name.lower(): name for name in shapes[parent].columns}
        named = tuple(spelled.get(name.lower(), name) for name in key.parents if name is not None)
        own = {name.lower(): name for name in table.names}
        yield ForeignKey(
            child_kind=kinds[table.name.lower()],
            columns=tuple(own.get(name.lower(), name) for name in key.columns),
            parent_kind=parent,
            parent_columns=named or shapes[parent].key,
            follows_update=key.on_update in ("CASCADE", "SET NULL", "SET DEFAULT"),
        )


def _read_list(columns: Sequence[str]) -> str:
    # As an expression a column has no declared type, so that no converter of the application's
    # meets the value; the sign changes nothing.
    return ", ".join(f"+{quote_name(name)}" for name in columns)


def _decode(raw: bytes) -> str | RawText:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawText(raw)


def statements() -> Mapping[str, str]:
    """The statements of `queries.sql`, by name."""
    return load_statements("indelible.reversal", "queries.sql")

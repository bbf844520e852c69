"""Read from a connection what plans need to know of its tables (`catalogue.sql`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from indelible.capture.extraction import Row
from indelible.capture.sqlite_names import quote_name
from indelible.capture.statements.schema import Schema, TableShape, rowid_name
from indelible.errors import ConfigurationError
from indelible.named_sql import load_statements

Query = Callable[[str], Sequence[Row]]


def read_schema(query: Query) -> Schema:
    """The schema that statements on this connection mean. Raises `sqlite3.Error`."""
    named = load_statements(__package__, "catalogue.sql")
    objects = [
        (_text(kind), _text(name), _text(sql)) for kind, name, sql in query(named["objects"])
    ]
    columns: dict[str, list[tuple[str, str, int]]] = {}
    for table, column, type_, place in query(named["columns"]):
        columns.setdefault(_text(table), []).append(
            (_text(column), _text(type_), cast("int", place))
        )
    without_rowid = {_text(row[0]) for row in query(named["without_rowid"])}
    indexed = {_text(row[0]) for row in query(named["indexed_keys"])}
    tables = {}
    for kind, name, _ in objects:
        if kind == "table" and not name.lower().startswith("indelible_"):
            tables[name.lower()] = _shape(
                name, columns.get(name, []), name in without_rowid, name in indexed
            )
    for name in _attached_tables(query, named["databases"]):
        tables.setdefault(name.lower(), TableShape(name, (), ()))
    return Schema(
        tables=tables,
        views={name.lower(): sql for kind, name, sql in objects if kind == "view"},
        temporary=frozenset(_text(row[0]).lower() for row in query(named["temporary"])),
        functions=_functions(query, named["functions"]),
        is_utf8=_text(query(named["encoding"])[0][0]) == "UTF-8",
    )


def path_of_database(query: Query) -> Path:
    """The file of the main database. Raises `ConfigurationError` for one in memory."""
    for row in query("SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"):
        if row[0]:
            return Path(_text(row[0]))
    raise ConfigurationError(
        "expected a database in a file, got one in memory: its changes couldn't be carried to "
        "the trail"
    )


def _shape(
    name: str, columns: Sequence[tuple[str, str, int]], without_rowid: bool, has_index: bool
) -> TableShape:
    names = tuple(column for column, _, _ in columns)
    keyed = sorted((place, column, type_) for column, type_, place in columns if place)
    if not keyed:
        rowid = rowid_name(names) if names else None
        return TableShape(
            name, names, (rowid,) if rowid else (), keyless=True, integer_key=rowid is not None
        )
    is_rowid = len(keyed) == 1 and keyed[0][2] == "INTEGER" and not (without_rowid or has_index)
    return TableShape(name, names, tuple(column for _, column, _ in keyed), integer_key=is_rowid)


def _attached_tables(query: Query, databases: str) -> list[str]:
    names = []
    for row in query(databases):
        schema = quote_name(_text(row[0]))
        found = query(f"SELECT CAST(name AS BLOB) FROM {schema}.sqlite_schema WHERE type = 'table'")
        names += [_text(one[0]) for one in found]
    return names


def _functions(query: Query, statement: str) -> dict[str, str]:
    try:
        return {_text(name).lower(): _text(kind) for name, kind in query(statement)}
    except sqlite3.OperationalError:
        # A library built without introspection: functions of the application stay unknown.
        return {}


def _text(value: object) -> str:
    """A name as SQLite has it; where it isn't UTF-8 it can't be in a statement's text either."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")

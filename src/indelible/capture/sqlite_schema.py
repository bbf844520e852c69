"""Read the schema of a live SQLite database, over any connection that can run a query.

Names come as blobs, so that nothing that the application set up on its connection meets them.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from indelible.capture.schema import (
    Column,
    ForeignKey,
    IndexTerm,
    Schema,
    Table,
    Trigger,
    UniqueIndex,
)
from indelible.capture.sqlite_definitions import parse_index, parse_view
from indelible.capture.sqlite_names import ROWID_NAMES, is_ours, quote_name
from indelible.capture.statements.tokens import names_in
from indelible.errors import ConfigurationError
from indelible.named_sql import load_statements

Query = Callable[[str], Sequence[Sequence[object]]]
"""Runs a statement and gives its rows."""

_Row = Sequence[object]
_OLDEST: Final = (3, 37, 0)
_UNSEEN: Final = {
    "table": None,
    "virtual": "a virtual table: SQLite fires no triggers on it",
    "shadow": "belongs to a virtual table",
}


def named_sql() -> Mapping[str, str]:
    """The fixed statements of `sqlite.sql`, by name."""
    return load_statements(__package__, "sqlite.sql")


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


def read_schema_of(connection: sqlite3.Connection) -> Schema:
    """`read_schema` over this connection."""
    with plain_cursor(connection) as cursor:
        return read_schema(lambda text: cursor.execute(text).fetchall())


def read_schema(query: Query) -> Schema:
    """The schema that statements on this connection mean, as it is now.

    Raises `sqlite3.Error`, and `ConfigurationError` for a library of SQLite that is too old to
    tell.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationError(f"expected SQLite 3.37 or newer, found {sqlite3.sqlite_version}")
    named = load_statements(__package__, "sqlite_schema.sql")
    views, definitions, index_texts, triggers = {}, {}, {}, []
    for kind, name, table, sql, age in query(named["objects"]):
        match _text(kind):
            case "view":
                views[_text(name).lower()] = names_in(_text(sql))
                definitions[_text(name).lower()] = parse_view(_text(sql))
            case "index":
                index_texts[_text(name)] = _text(sql)
            case "trigger":
                triggers.append(Trigger(_text(name), _text(table), _text(sql), int(str(age))))
    columns, terms, keys = (
        _by_table(query(named[each])) for each in ("columns", "unique_indexes", "foreign_keys")
    )
    tables = {}
    for name, kind, without_rowid in query(named["tables"]):
        name = _text(name)
        if not is_ours(name):
            tables[name.lower()] = _table(
                name,
                columns[name],
                [_unique(rows, index_texts) for rows in _grouped(terms[name])],
                [_foreign_key(rows) for rows in _grouped(keys[name])],
                has_key_index=any(_text(row[1]) == "pk" for row in terms[name]),
                is_without_rowid=bool(without_rowid),
                unseen=_UNSEEN.get(_text(kind), "a kind of table that we don't know"),
            )
    for name in _attached_tables(query, named["databases"]):
        tables.setdefault(name.lower(), Table(name=name, columns=(), unseen="in an attached file"))
    return Schema(
        tables=tables,
        triggers=tuple(triggers),
        views=views,
        definitions=definitions,
        temporary=frozenset(_text(row[0]).lower() for row in query(named["temporary"])),
        functions=_functions(query, named["functions"]),
        is_utf8=_text(query(named["encoding"])[0][0]) == "UTF-8",
    )


def path_of_database(query: Query) -> Path:
    """The file of the main database.

    Raises `ConfigurationError` for one in memory: nobody else could carry its outbox.
    """
    for row in query("SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"):
        if row[0]:
            return Path(_text(row[0]))
    raise ConfigurationError(
        "expected a database in a file, got one in memory: its changes couldn't be carried to "
        "the trail"
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


def _table(
    name: str,
    rows: Sequence[_Row],
    unique: Sequence[UniqueIndex],
    foreign_keys: Sequence[ForeignKey],
    *,
    has_key_index: bool,
    is_without_rowid: bool,
    unseen: str | None,
) -> Table:
    columns = tuple(
        Column(
            _text(column),
            _text(type_),
            bool(not_null),
            None if default is None else _text(default),
            is_generated=hidden in (2, 3),
        )
        for column, type_, not_null, default, _, hidden in rows
    )
    key = {int(str(row[4])): column for row, column in zip(rows, columns, strict=True) if row[4]}
    # A key with an index of its own isn't the rowid (INTEGER PRIMARY KEY DESC).
    is_rowid_key = len(key) == 1 and not is_without_rowid and not has_key_index
    taken = {column.name.lower() for column in columns}
    rowid = next((alias for alias in ROWID_NAMES if alias not in taken), None)
    if is_rowid_key:
        rowid = rowid or key[1].name
    if is_without_rowid or not columns:
        rowid = None
    return Table(
        name=name,
        columns=columns,
        key=tuple(key[place].name for place in sorted(key)),
        rowid=rowid,
        is_rowid_key=is_rowid_key,
        # SQLite keeps NULLs out of no other keys than these.
        key_can_be_null=not (is_without_rowid or is_rowid_key)
        and any(not column.not_null for column in key.values()),
        unique=tuple(unique),
        foreign_keys=tuple(foreign_keys),
        unseen=unseen,
    )


def _unique(rows: Sequence[_Row], texts: Mapping[str, str]) -> UniqueIndex:
    name = _text(rows[0][0])
    written = parse_index(texts.get(name, ""))
    terms = []
    for place, (_, _, column_id, column, collation) in enumerate(rows):
        if int(str(column_id)) >= 0:
            terms.append(IndexTerm(_text(column), None, _text(collation)))
        else:
            # An expression, or the rowid, which can't be named in one either.
            expression = written.terms[place] if place < len(written.terms) else None
            terms.append(IndexTerm(None, expression, _text(collation)))
    return UniqueIndex(name, tuple(terms), written.where)


def _foreign_key(rows: Sequence[_Row]) -> ForeignKey:
    return ForeignKey(
        _text(rows[0][1]),
        tuple(_text(row[2]) for row in rows),
        tuple(None if row[3] is None else _text(row[3]) for row in rows),
        _text(rows[0][4]),
        _text(rows[0][5]),
    )


def _by_table(rows: Sequence[_Row]) -> defaultdict[str, list[_Row]]:
    """The rest of each row under its first column."""
    found: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        found[_text(row[0])].append(row[1:])
    return found


def _grouped(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Runs of rows of which the first column is the same."""
    return (list(group) for _, group in itertools.groupby(rows, key=lambda row: row[0]))


def _attached_tables(query: Query, databases: str) -> Iterator[str]:
    for row in query(databases):
        schema = quote_name(_text(row[0]))
        found = query(f"SELECT CAST(name AS BLOB) FROM {schema}.sqlite_schema WHERE type = 'table'")
        yield from (_text(one[0]) for one in found)


def _functions(query: Query, statement: str) -> dict[str, str]:
    try:
        return {_text(name).lower(): _text(kind) for name, kind in query(statement)}
    except sqlite3.OperationalError:
        # A library built without introspection: functions of the application stay unknown.
        return {}


def _text(value: object) -> str:
    """A name as SQLite has it; where it isn't UTF-8 it can't be in a statement's text either."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")

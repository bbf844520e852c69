"""A whole database as values that are equal only where the bits are, and what differs in two.

Read with a plain connection: nothing here knows how Indelible reads or writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Bits = None | int | str | tuple[str, object]
"""NULL, an integer, valid text, or `("real", hex)`, `("blob", bytes)`, `("text", bytes)`."""
Key = tuple[Bits, ...]
Row = dict[str, Bits]

ABSENT = ("absent", None)


def bits(native: object) -> Bits:
    """A value so that `1`, `1.0`, `"1"` and `b"1"` are four; text is read as `_Text`."""
    if native is None or type(native) is int or type(native) is str:
        return native
    if isinstance(native, float):
        return ("real", native.hex())
    if isinstance(native, _Text):
        return ("text", bytes(native))
    if isinstance(native, bytes):
        return ("blob", native)
    raise TypeError(f"not a value of SQLite: {type(native)}")


class _Text(bytes):
    """Text whose bytes aren't UTF-8."""


def _text(raw: bytes) -> str | _Text:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _Text(raw)


def connect_plainly(path: Path) -> sqlite3.Connection:
    """A connection that no capture knows of; text comes as its bytes are."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.text_factory = _text
    return connection


@dataclass(frozen=True)
class Table:
    """`key` is empty for a table without one: its rows are named by rowid."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class RowChange:
    """One row before and after: an inserted row has no `before` key, a deleted one no `after`.

    `columns` holds those that differ, with `ABSENT` where there was or is no row.
    """

    table: str
    before: Key | None
    after: Key | None
    columns: Mapping[str, tuple[Bits, Bits]] = field(hash=False)

    def cells(self) -> Iterator[tuple[object, ...]]:
        """Each (table, key before, key after, column, value before, value after)."""
        for column, (old, new) in self.columns.items():
            yield (self.table, self.before, self.after, column, old, new)


Snapshot = dict[str, dict[Key, Row]]


def read_tables(connection: sqlite3.Connection) -> dict[str, Table]:
    """The application's tables; columns that are computed from others are left out."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' AND name NOT LIKE 'indelible\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    return {name: _read_table(connection, name) for (name,) in names}


def _read_table(connection: sqlite3.Connection, name: str) -> Table:
    columns = connection.execute(
        "SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid", (name,)
    ).fetchall()
    parents: dict[int, tuple[list[str], str, list[str]]] = {}
    for number, parent, child_column, parent_column in connection.execute(
        'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', (name,)
    ).fetchall():
        found = parents.setdefault(number, ([], parent, []))
        found[0].append(child_column)
        found[2].append(parent_column)
    keyed = sorted((place, column) for column, place in columns if place)
    return Table(
        name,
        tuple(column for column, _ in columns),
        tuple(column for _, column in keyed),
        tuple((tuple(own), parent, tuple(theirs)) for own, parent, theirs in parents.values()),
    )


def take_snapshot(connection: sqlite3.Connection, tables: Mapping[str, Table]) -> Snapshot:
    """Every row of every table at one moment."""
    connection.execute("BEGIN")
    try:
        return {name: dict(_rows(connection, table)) for name, table in tables.items()}
    finally:
        connection.execute("ROLLBACK")


def _rows(connection: sqlite3.Connection, table: Table) -> Iterator[tuple[Key, Row]]:
    names = ", ".join(f'"{column}"' for column in table.columns)
    key = [table.columns.index(column) + 1 for column in table.key] or [0]
    rowid = "NULL" if table.key else "rowid"
    for row in connection.execute(f'SELECT {rowid}, {names} FROM "{table.name}"').fetchall():
        values = [
            value if value is None or type(value) is int or type(value) is str else bits(value)
            for value in row
        ]
        yield (
            tuple(values[place] for place in key),
            dict(zip(table.columns, values[1:], strict=True)),
        )


def difference(
    old: Snapshot, new: Snapshot, moved: Mapping[str, Mapping[Key, Key]]
) -> list[RowChange]:
    """What turned `old` into `new`; `moved` names the rows that took another key."""
    found = []
    for name, before in old.items():
        after = new[name]
        if before == after:
            continue
        moves = moved.get(name, {})
        arrived = set(moves.values())
        for key, row in before.items():
            now_key: Key | None = moves.get(key, key if key not in arrived else None)
            now = after.get(now_key) if now_key is not None else None
            if now is None:
                found.append(delete_of(name, key, row))
            elif now != row or now_key != key:
                columns = {c: (row[c], now[c]) for c in row if row[c] != now[c]}
                found.append(RowChange(name, key, now_key, columns))
        for key, row in after.items():
            if key not in arrived and (key not in before or key in moves):
                found.append(insert_of(name, key, row))
    return found


def insert_of(table: str, key: Key, row: Row) -> RowChange:
    return RowChange(table, None, key, {c: (ABSENT, v) for c, v in row.items()})


def delete_of(table: str, key: Key, row: Row) -> RowChange:
    return RowChange(table, key, None, {c: (v, ABSENT) for c, v in row.items()})


def copy_of(snapshot: Snapshot) -> Snapshot:
    return {name: {key: dict(row) for key, row in rows.items()} for name, rows in snapshot.items()}

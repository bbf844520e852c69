"""A small oracle: fold drafts into rows, and read the rows that are really there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from indelible.capture.installing import INSTALLED
from indelible.events.codec import decode_event, seal
from indelible.events.model import Event, Producer, Timestamp
from indelible.events.values import Id, RawText, Value, to_value

Rows = dict[tuple[str, Id], dict[str, Value]]


class BrokenHistory(AssertionError):
    """A change that doesn't go on from what the rows were before it."""


def event_of(draft: bytes, seq: int = 1) -> Event:
    """The event that a draft becomes."""
    time = Timestamp("2026-11-23T09:28:04.123456Z")
    return decode_event(seal(draft, time, Producer("test", 1, seq)))


def fold(drafts: Iterable[bytes]) -> Rows:
    """Every row after all of `drafts`; raises where one isn't true of the row that it changes."""
    rows: Rows = {}
    for draft in drafts:
        event = event_of(draft)
        if event.action == INSTALLED:
            continue
        (target,) = event.targets
        if event.baseline is not None:
            columns = event.baseline.columns
            for row_id, row in zip(target.ids, event.baseline.rows, strict=True):
                rows[target.kind, row_id] = dict(zip(columns, row, strict=True))
            continue
        (row_id,) = target.ids
        changes = event.changes or {}
        verb = event.action.rpartition(".")[2]
        before_id = target.ids_before[0] if target.ids_before else row_id
        old = rows.pop((target.kind, before_id), None)
        if verb == "insert":
            if old is not None:
                raise BrokenHistory(f"{event.action} of a row that was there: {before_id}")
            rows[target.kind, row_id] = {name: after for name, (_, after) in changes.items()}
            continue
        if old is None:
            raise BrokenHistory(f"{event.action} of a row that wasn't there: {before_id}")
        wrong = {name: (old[name], b) for name, (b, _) in changes.items() if old[name] != b}
        if wrong:
            raise BrokenHistory(f"{event.action} {before_id}: {wrong}")
        if verb == "update":
            if row_id != before_id and (target.kind, row_id) in rows:
                raise BrokenHistory(f"{event.action} moves {before_id} onto {row_id}")
            rows[target.kind, row_id] = {**old, **{n: a for n, (_, a) in changes.items()}}
        elif len(changes) != len(old):
            raise BrokenHistory(f"{event.action} {before_id} lacks columns")
    return rows


def live(connection: sqlite3.Connection) -> Rows:
    """Every row of every table of the application, as `fold` names it."""
    rows: Rows = {}
    before = connection.text_factory
    connection.text_factory = raw_text
    tables = connection.execute(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'indelible\\_%' ESCAPE '\\'"
    ).fetchall()
    for table, without_rowid in tables:
        quoted = '"' + table.replace('"', '""') + '"'
        info = connection.execute("SELECT name, pk FROM pragma_table_xinfo(?)", (table,)).fetchall()
        names = [name for name, _ in info]
        key = [name for name, _ in sorted((row for row in info if row[1]), key=lambda r: r[1])]
        rowid = "NULL" if without_rowid else "rowid"
        for row in connection.execute(f"SELECT {rowid}, * FROM {quoted}"):
            values = {name: to_value(v) for name, v in zip(names, row[1:], strict=True)}
            row_id = tuple(values[name] for name in key)
            if not row_id or None in row_id:
                row_id = (*row_id, row[0])
            rows[table.lower(), row_id] = values
    connection.text_factory = before
    return rows


def raw_text(raw: bytes) -> str | RawText:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawText(raw)

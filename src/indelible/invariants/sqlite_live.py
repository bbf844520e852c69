"""The rows of an SQLite database, read in one snapshot; nothing of it is written."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from indelible.capture.outbox_layout import Layout
from indelible.capture.sqlite_baseline import chunks_of, native_text, select_rows
from indelible.capture.sqlite_install import check
from indelible.capture.sqlite_names import quote_name
from indelible.capture.sqlite_outbox import outbox_state, read_meta
from indelible.capture.sqlite_plan import (
    BASELINE_DUE,
    Installed,
    baseline_key,
    plan_install,
)
from indelible.capture.sqlite_schema import read_schema_of
from indelible.errors import DeliveryError
from indelible.events.values import Native, Value, to_value
from indelible.invariants.live import (
    BASELINE_UNWRITTEN,
    NOT_INSTALLED,
    RENAMED,
    LiveRow,
    LiveTable,
    Snapshot,
    live_table,
)
from indelible.policy.model import Policy

_BUSY_S = 10.0


class SqliteLive:
    """`live.LiveDatabase` of the file at `path`.

    In WAL mode nobody waits for a snapshot. In rollback-journal mode commits do, and the relay
    behind them: so there a table is first copied, into a file that is gone with the connection, and
    they wait for no longer than that takes.
    """

    def __init__(self, path: Path, policy: Policy) -> None:
        """Raises `NotInstalledError` and `DeliveryError`."""
        self._path = path
        self._policy = policy
        self.tables: list[LiveTable] = []
        self.not_captured: list[tuple[str, str]] = []
        self._layouts: dict[str, Layout] = {}
        if not path.is_file():
            raise DeliveryError(f"expected the application's database at {path}, none there")
        with self._opened() as connection:
            connection.execute("BEGIN")
            state = outbox_state(connection)
            self.incarnation, self.opened = state.incarnation, state.epoch
            self._read_tables(connection)
        self.drifts = [(drift.table, str(drift.what)) for drift in check(path, policy)]

    @contextlib.contextmanager
    def snapshot(self, table: LiveTable) -> Iterator[Snapshot]:
        """See `LiveDatabase.snapshot`."""
        with self._opened() as connection:
            is_wal = connection.execute("PRAGMA main.journal_mode").fetchone() == ("wal",)
            if not is_wal:
                connection.execute("ATTACH '' AS copied")
            connection.execute("BEGIN")
            # The first read fixes the snapshot; position and rows are of the same moment.
            state = outbox_state(connection)
            schema = read_schema_of(connection)
            found = schema.table(table.name)
            if state.incarnation != self.incarnation or found is None:
                raise DeliveryError(
                    f"{self._path}: another database by now, or without the table {table.name}"
                )
            name = quote_name(found.name)
            ((total,),) = connection.execute(f"SELECT count(*) FROM main.{name}").fetchall()
            layout = self._layouts[found.name.lower()]
            rows = select_rows(schema, found, layout, self._policy)
            if not is_wal:
                rows = _copied(connection, rows)
            yield Snapshot(state.newest, total, _pages(connection, layout, rows))

    def _read_tables(self, connection: sqlite3.Connection) -> None:
        schema, meta = read_schema_of(connection), read_meta(connection)
        installed = Installed(meta, 1, 1)
        plan = plan_install(schema, self._policy, installed)
        self.not_captured = [(one.name, one.why) for one in plan.unseen if schema.table(one.name)]
        for layout in plan.layouts.values():
            name = layout.table.lower()
            why = None
            number = installed.numbers().get(name)
            before = installed.layouts().get(number) if number is not None else None
            if before is None:
                why = NOT_INSTALLED
            elif before.kind != layout.kind:
                why = RENAMED
            elif meta.get(baseline_key(name)) == BASELINE_DUE:
                why = BASELINE_UNWRITTEN
            keyless: Literal["rowid"] | None = None if layout.key else "rowid"
            self._layouts[name] = msgspec.structs.replace(layout, subject=None)
            self.tables.append(
                live_table(layout, keyless=keyless, has_types=False, uninstalled=why)
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(
                    f"{self._path.absolute().as_uri()}?mode=ro",
                    uri=True,
                    timeout=_BUSY_S,
                    isolation_level=None,
                )
            ) as connection:
                yield connection
        except sqlite3.Error as error:
            raise DeliveryError(f"{self._path}: {error}") from None


def _copied(connection: sqlite3.Connection, rows: str) -> str:
    """Copy what the query `rows` gives, and end the transaction; the query that gives it again."""
    width = len(connection.execute(f"{rows} LIMIT 0").description)
    # Without types: each value stays what it is.
    columns = ", ".join(f"c{n}" for n in range(width))
    connection.execute(f"CREATE TABLE copied.rows ({columns})")
    connection.execute(f"INSERT INTO copied.rows {rows}")
    connection.execute("COMMIT")
    return "SELECT * FROM copied.rows"


def _pages(
    connection: sqlite3.Connection, layout: Layout, rows: str
) -> Iterator[Sequence[LiveRow]]:
    values = [place for place, slot in enumerate(layout.slots) if slot.mode == "value"]
    index = {place: n for n, place in enumerate(values)}
    key = [index[place] for place in layout.key]
    rowid = index[layout.rowid] if layout.rowid is not None else None
    named = len(values) - (rowid is not None)
    connection.text_factory = native_text
    for some in chunks_of(connection.execute(rows)):
        yield [_live_row(native, key, rowid, named) for native in some]


def _live_row(
    native: tuple[Native, ...], key: Sequence[int], rowid: int | None, named: int
) -> LiveRow:
    row: tuple[Value, ...] = tuple(map(to_value, native[1:]))
    row_id = tuple([row[n] for n in key])
    if rowid is not None and (not row_id or None in row_id):
        row_id = (*row_id, row[rowid])
    return row_id, row[:named]

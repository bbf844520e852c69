"""The rows of an SQLite database that was put back to a backup, a page at a time.

That database is only read, and no lock is held between pages. So each page is of a moment of its
own, which it says: what changed between two pages is in the changes between their positions.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from indelible.capture.appending import append_rows
from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
from indelible.capture.restored_baseline import Progress, draft_restored
from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_baseline import (
    chunks_of,
    draft_baseline,
    native_text,
    select_rows,
)
from indelible.capture.sqlite_names import quote_name
from indelible.capture.sqlite_outbox import outbox_state, read_layouts, read_meta
from indelible.capture.sqlite_plan import numbers_of
from indelible.capture.sqlite_schema import read_schema_of
from indelible.events.values import Native, RawText
from indelible.policy.model import Policy

_BUSY_S: Final = 0.05


def restored_pages(
    path: Path, policy: Policy, journal: Journal, incarnation: str, epoch: int, progress: Progress
) -> Iterator[None]:
    """`restored_baseline.Pages` of the database at `path`. Raises `sqlite3.Error`."""
    with _opened(path) as connection:
        schema = read_schema_of(connection)
        layouts, numbers = read_layouts(connection), numbers_of(read_meta(connection))
    for name, number in sorted(numbers.items()):
        table = schema.table(name)
        if table is not None and name not in progress.tables:
            pages = _Pages(schema, table, layouts[number], policy)
            yield from pages.write(path, journal, incarnation, epoch)
            # The trail must hold the table before the file says that it does.
            journal.sync()
            progress.add(name)


class _Pages:
    """The rows of one table in the order of what tells them apart."""

    def __init__(self, schema: Schema, table: Table, layout: Layout, policy: Policy) -> None:
        name = quote_name(table.name)
        self._order = [
            f"{name}.{quote_name(column)}"
            for column in ((table.rowid,) if table.rowid is not None else table.key)
        ]
        self._layout = layout
        self._is_full = policy.table(table.name).baseline == "full"
        self._select = select_rows(schema, table, layout, policy, also=self._order)

    def write(self, path: Path, journal: Journal, incarnation: str, epoch: int) -> Iterator[None]:
        """Append every row to `journal`, a page before each step; last, that these were all."""
        last: Sequence[Native] = ()
        first_position = None
        while True:
            with _opened(path) as connection:
                connection.execute("BEGIN")  # position and rows are of one moment
                state = outbox_state(connection)
                if state.incarnation != incarnation:
                    return  # another database by now: what is due for that is known elsewhere
                connection.text_factory = native_text
                page = self._read(connection, last)
            if first_position is None:
                first_position = state.newest
            if not page:
                break
            last = page[-1][-len(self._order) :]
            rows = [row[: -len(self._order)] for row in page]
            draft_of = functools.partial(
                draft_baseline,
                self._layout,
                incarnation=incarnation,
                position=state.newest,
                epoch=epoch,
                is_full=self._is_full,
                sealing=journal.sealing,
            )
            append_rows(journal, rows, draft_of)
            yield
        journal.append(draft_restored(self._layout.kind, incarnation, first_position, epoch))

    def _read(
        self, connection: sqlite3.Connection, last: Sequence[Native]
    ) -> list[tuple[Native, ...]]:
        order = ", ".join(self._order)
        # The driver has no parameter for a text that isn't UTF-8.
        marks = ("CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in last)
        where = f" WHERE ({order}) > ({', '.join(marks)})" if last else ""
        parameters = [bytes(value) if isinstance(value, RawText) else value for value in last]
        cursor = connection.execute(f"{self._select}{where} ORDER BY {order}", parameters)
        return next(chunks_of(cursor), [])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
        )
    ) as connection:
        yield connection

"""The baseline of a database that was put back to a backup, read while applications use it.

Whoever relays writes it, because it is the first to know. It only reads that database, a page at
a time, and holds no lock between pages. So each page is of a moment of its own, which it says: what
changed between two pages is in the changes between their positions. How far it is stands in a file
beside the journals, table by table; what interrupts it loses at most the table under way.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
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
from indelible.errors import IndelibleError
from indelible.events.codec import encode_draft
from indelible.events.model import RESTORED, BaselineRows, Event, TargetRows
from indelible.events.values import Native, RawText
from indelible.policy.model import Policy

_STEP_S: Final = 0.05
_WHY: Final = "the database was restored from a backup: rows that its baseline hasn't are gone"


class RestoreWatch:
    """Writes the baseline that is due after each restore, some pages at a time.

    Used from one thread. A database that can't be read now is tried again later.
    """

    def __init__(
        self, policy: Policy, journal: Journal, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._monotonic = monotonic
        self._running: dict[tuple[str, int], Iterator[None]] = {}
        self._done: set[tuple[str, int]] = set()

    @property
    def is_due(self) -> bool:
        """Whether a baseline was begun and isn't whole yet. From any thread."""
        return bool(self._running)

    def look(self, path: Path, incarnation: str, epoch: int) -> None:
        """The database at `path` was restored, and its changes since are of `epoch`: go on."""
        restore = (incarnation, epoch)
        if restore in self._done:
            return
        pages = self._running.get(restore)
        if pages is None:
            pages = self._running[restore] = self._pages(path, incarnation, epoch)
        deadline = self._monotonic() + _STEP_S
        try:
            while self._monotonic() < deadline:
                next(pages)
        except StopIteration:
            self._done.add(restore)
            del self._running[restore]
        except (IndelibleError, sqlite3.Error, OSError):
            # Locked, or changed under our feet: from the table under way on, at the next look.
            self._running[restore] = self._pages(path, incarnation, epoch)

    def _pages(self, path: Path, incarnation: str, epoch: int) -> Iterator[None]:
        """Writes a page before each step; done when it ends."""
        progress = _Progress(self._policy.journals / f"{incarnation}.{epoch}.baseline")
        with _opened(path) as connection:
            schema = read_schema_of(connection)
            layouts, numbers = read_layouts(connection), numbers_of(read_meta(connection))
        for name, number in sorted(numbers.items()):
            table = schema.table(name)
            if table is not None and name not in progress.tables:
                pages = _Pages(schema, table, layouts[number], self._policy)
                yield from pages.write(path, self._journal, incarnation, epoch)
                # The trail must hold the table before the file says that it does.
                self._journal.sync()
                progress.add(name)


class _Progress:
    """The tables that are done, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.tables = msgspec.json.decode(path.read_bytes(), type=set[str])
        except (FileNotFoundError, msgspec.MsgspecError):
            self.tables = set()

    def add(self, table: str) -> None:
        self.tables.add(table)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(msgspec.json.encode(self.tables))
        fresh.chmod(0o600)
        fresh.replace(self._path)


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
            draft = draft_baseline(
                self._layout, rows, incarnation, state.newest, epoch=epoch, is_full=self._is_full
            )
            journal.append(draft)
            yield
        # Only now: as long as this is missing nobody takes a row that wasn't read yet for gone.
        target = TargetRows(self._layout.kind, coverage="superset", why=_WHY)
        baseline = BaselineRows(incarnation, first_position, epoch=epoch)
        event = Event(action=RESTORED, kind="system", targets=(target,), baseline=baseline)
        journal.append(encode_draft(event))

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
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_STEP_S, isolation_level=None
        )
    ) as connection:
        yield connection

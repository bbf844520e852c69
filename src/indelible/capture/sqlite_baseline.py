"""The baseline: what was in a table when capture began, as `table.baseline` events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from indelible.capture.appending import append_rows
from indelible.capture.host import Journal
from indelible.capture.outbox_layout import NOBODY, Layout
from indelible.capture.schema import Schema, Table
from indelible.capture.sealing import Sealed, Sealing
from indelible.capture.sqlite_names import quote_name
from indelible.capture.sqlite_outbox import outbox_state
from indelible.capture.sqlite_subjects import subject_of
from indelible.events.codec import encode_draft
from indelible.events.model import BaselineRows, Event, Subject, TargetRows
from indelible.events.values import Id, Native, RawText, Value, format_id, to_value
from indelible.policy.model import Policy

Progress = Callable[[str, int, int], None]
"""Called with a table's name, how many of its rows are done, and how many there are."""

_CHUNK_BYTES: Final = 40_000
_CHUNK_ROWS: Final = 500


class BaselineDone(NamedTuple):
    """`rows` were written as they stood after every change up to outbox id `position`."""

    position: int
    rows: int


def write_baseline(
    connection: sqlite3.Connection,
    schema: Schema,
    table: Table,
    layout: Layout,
    policy: Policy,
    journal: Journal,
    progress: Progress | None,
) -> BaselineDone:
    """Append every row of `table` to `journal`, all from one snapshot.

    A table is the unit that is resumed: its chunks must be of one snapshot, or a row whose key
    changes in between could be in none. In rollback-journal mode the application's commits wait
    until the table is read. Needs a connection in autocommit; it is so again afterwards.
    """
    is_full = policy.table(table.name).baseline == "full"
    cursor = sqlite3.Cursor(connection)
    text_factory = connection.text_factory
    connection.text_factory = native_text
    done = 0
    try:
        cursor.execute("BEGIN")
        # The first read fixes the snapshot; position and rows are of the same moment.
        state = outbox_state(connection)
        name = quote_name(table.name)
        ((total,),) = cursor.execute(f"SELECT count(*) FROM main.{name}").fetchall()
        cursor.execute(select_rows(schema, table, layout, policy))

        def draft_of(rows: Sequence[tuple[Native, ...]]) -> bytes:
            return draft_baseline(
                layout,
                rows,
                state.incarnation,
                state.newest,
                is_full=is_full,
                sealing=journal.sealing,
            )

        for chunk in chunks_of(cursor):
            append_rows(journal, chunk, draft_of)
            done += len(chunk)
            if progress is not None:
                progress(table.name, done, total)
        return BaselineDone(state.newest, done)
    finally:
        cursor.close()
        connection.text_factory = text_factory
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def select_rows(
    schema: Schema, table: Table, layout: Layout, policy: Policy, *, also: Sequence[str] = ()
) -> str:
    """Selects each row's subject and captured values, as `draft_baseline` takes them.

    `also` are expressions whose values come behind.
    """
    name = quote_name(table.name)
    columns = [
        f"{name}.{quote_name(slot.column or table.rowid or '')}"
        for slot in layout.slots
        if slot.mode == "value"
    ]
    subject = "NULL"
    if layout.subject is not None and layout.subject.source == "stored":
        path = policy.table(table.name).subject
        subject = subject_of(schema, path, name) if path is not None else subject
    return f"SELECT {', '.join((subject, *columns, *also))} FROM main.{name} AS {name}"


def chunks_of(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Native, ...]]]:
    """The rows, as many together as fit well into one event."""
    chunk: list[tuple[Native, ...]] = []
    size = 0
    for row in cursor:
        chunk.append(row)
        size += sum(len(v) + 12 if type(v) in (str, bytes) else 16 for v in row)
        if size >= _CHUNK_BYTES or len(chunk) >= _CHUNK_ROWS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def draft_baseline(
    layout: Layout,
    chunk: Sequence[tuple[Native, ...]],
    incarnation: str,
    position: int,
    *,
    epoch: int | None = None,
    is_full: bool,
    sealing: Sealing,
) -> bytes:
    """The event that these rows stood so after every change up to `position`."""
    with sealing:
        return _draft(
            layout, chunk, incarnation, position, epoch=epoch, is_full=is_full, sealing=sealing
        )


def _draft(
    layout: Layout,
    chunk: Sequence[tuple[Native, ...]],
    incarnation: str,
    position: int,
    *,
    epoch: int | None,
    is_full: bool,
    sealing: Sealing,
) -> bytes:
    values = [place for place, slot in enumerate(layout.slots) if slot.mode == "value"]
    index = {place: n for n, place in enumerate(values)}
    key = [index[place] for place in layout.key]
    rowid = index[layout.rowid] if layout.rowid is not None else None
    sealed = Sealed(sealing, layout.kind, layout.sealed)
    named = [n for n, place in enumerate(values) if layout.slots[place].column is not None]
    columns = tuple(layout.slots[values[n]].column or "" for n in named) if is_full else ()
    ids: list[Id] = []
    rows: list[tuple[Value, ...]] = []
    subjects: dict[Subject, None] = {}
    for raw in chunk:
        row = tuple(to_value(native) for native in raw[1:])
        row_id: Id = tuple(row[n] for n in key)
        if rowid is not None and (not row_id or None in row_id):
            row_id = (*row_id, row[rowid])
        ids.append(row_id)
        subject = _subject(layout, index, row_id, raw)
        if is_full:
            image = tuple(row[n] for n in named)
            if layout.sealed:
                owner = None if subject is None else (subject.kind, subject.id)
                image = sealed.row(columns, image, owner)
            rows.append(image)
        if subject is not None:
            subjects[subject] = None
    return encode_draft(
        Event(
            action="table.baseline",
            kind="system",
            targets=(TargetRows(layout.kind, tuple(ids), keyless=None if layout.key else "rowid"),),
            subjects=tuple(subjects),
            baseline=BaselineRows(incarnation, position, columns, tuple(rows), epoch),
        )
    )


def _subject(
    layout: Layout, index: dict[int, int], row_id: Id, raw: tuple[Native, ...]
) -> Subject | None:
    subject = layout.subject
    if subject is None:
        return None
    if subject.source == "self":
        return Subject(subject.kind, format_id(row_id))
    if subject.source == "slot":
        found = raw[1 + index[subject.slot]]
        return None if found is None else Subject(subject.kind, format_id((to_value(found),)))
    if raw[0] == NOBODY:
        return None
    return Subject(subject.kind, None if raw[0] is None else format_id((to_value(raw[0]),)))


def native_text(raw: bytes) -> str | RawText:
    """A text factory: what isn't UTF-8 stays what it is."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawText(raw)

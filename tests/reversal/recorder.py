"""Captures what a connection writes as events, by other means than Indelible's own capture.

Temporary triggers hand both images of each row to Python. `acting` says whose the next statements
are; entered by a reversal, it also says what they reverse.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from indelible.capture.sqlite_names import quote_name
from indelible.events.codec import event_id, format_time
from indelible.events.context import Frame, acting_as
from indelible.events.model import Actor, Event, Producer, TargetRows
from indelible.events.values import ABSENT, Native, RawText, Value, to_value
from indelible.questions.row_change import RowChange, row_change_of
from indelible.reversal.plan import Selection

EPOCH = 1_700_000_000_000_000
INCARNATION = "0123456789abcdef"


class Recorder:
    """Events of every change through `connection`, in the order in which they were made."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self._actor: Actor | None = None
        self._reverses: tuple[str, ...] = ()
        self._pending: list[tuple[Native, ...]] = []
        self._tables: dict[str, tuple[list[str], list[str]]] = {}
        connection.create_function("recorded", -1, self._note)
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            self._watch(table)

    def enter(self, frame: Frame | None, *, reverses: Sequence[str] = ()) -> None:
        self._actor = frame.actor if frame else None
        self._reverses = tuple(reverses)

    def leave(self) -> None:
        self.flush()
        self._actor, self._reverses = None, ()

    def ended(self) -> None:
        pass

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[sqlite3.Connection]:
        with acting_as(actor) as frame:
            self.enter(frame)
            try:
                yield self.connection
            except sqlite3.Error:
                self._pending.clear()
                raise
            finally:
                self.leave()

    @property
    def changes(self) -> tuple[RowChange, ...]:
        found = (row_change_of(event, index) for index, event in enumerate(self.events))
        return tuple(change for change in found if change is not None)

    def of(self, *actors: Actor) -> Selection:
        """Everything these actors did."""
        selected = frozenset(each.event for each in self.changes if each.actor in actors)
        return Selection(changes=self.changes, selected=selected)

    def forget_after(self, count: int) -> None:
        """As if the later events had not reached the trail yet."""
        del self.events[count:]

    def _note(self, *values: Native) -> None:
        self._pending.append(values)

    def _watch(self, table: str) -> None:
        columns = self.connection.execute(f"PRAGMA table_info({quote_name(table)})").fetchall()
        names = [row[1] for row in columns]
        key = [name for _, name in sorted((row[5], row[1]) for row in columns if row[5])]
        self._tables[table] = (names, key or ["rowid"])
        for verb, images in (("INSERT", "NEW"), ("UPDATE", "OLD NEW"), ("DELETE", "OLD")):
            listed = [
                part
                for image in images.split()
                for name in (*names, *(key or ["rowid"]))
                for part in (
                    f"typeof({image}.{quote_name(name)})",
                    f"iif(typeof({image}.{quote_name(name)}) = 'text',"
                    f" CAST({image}.{quote_name(name)} AS BLOB), {image}.{quote_name(name)})",
                )
            ]
            self.connection.execute(
                f"CREATE TEMP TRIGGER {quote_name(f'record_{table}_{verb}')} AFTER {verb} "
                f"ON main.{quote_name(table)} BEGIN "
                f"SELECT recorded('{table}', '{verb.lower()}', {', '.join(listed)}); END"
            )

    def flush(self) -> None:
        """Make events of what was written since the last time."""
        for table, verb, *listed in self._pending:
            names, key = self._tables[str(table)]
            values = [_value(*pair) for pair in zip(listed[::2], listed[1::2], strict=True)]
            width = len(names) + len(key)
            images = [values[n : n + width] for n in range(0, len(values), width)]
            before = dict(zip(names, images[0], strict=False)) if verb != "insert" else None
            after = dict(zip(names, images[-1], strict=False)) if verb != "delete" else None
            changed = {
                name: (before[name] if before else ABSENT, after[name] if after else ABSENT)
                for name in names
                if not before or not after or before[name] != after[name]
            }
            old_id, new_id = tuple(images[0][len(names) :]), tuple(images[-1][len(names) :])
            self._append(
                action=f"{str(table).lower()}.{verb}",
                target=TargetRows(
                    kind=str(table).lower(),
                    ids=(new_id,),
                    ids_before=(old_id,) if old_id != new_id else (),
                    keyless="rowid" if key == ["rowid"] else None,
                ),
                changes=changed,
            )
        self._pending.clear()

    def _append(
        self, *, action: str, target: TargetRows, changes: dict[str, tuple[Value, Value]]
    ) -> None:
        seq = len(self.events) + 1
        producer = Producer(INCARNATION, EPOCH, seq)
        self.events.append(
            Event(
                v=1,
                id=event_id(producer),
                time=format_time(EPOCH + seq * 1_000_000),
                producer=producer,
                action=action,
                kind="change",
                actor=self._actor,
                targets=(target,),
                changes=changes,
                reverses=self._reverses,
            )
        )


def masked(event: Event, column: str, marker: Value) -> Event:
    """`event` as capture would have made it under a policy that withholds `column`."""
    changes = dict(event.changes or {})
    before, after = changes.pop(column)
    changes[column] = (
        ABSENT if before == ABSENT else marker,
        ABSENT if after == ABSENT else marker,
    )
    return msgspec.structs.replace(event, changes=changes)


def _value(kind: Native, value: Native) -> Value:
    if kind != "text":
        return to_value(value)
    assert isinstance(value, bytes)
    try:
        return to_value(value.decode())
    except UnicodeDecodeError:
        return to_value(RawText(value))

"""What really happened in the day, known without Indelible.

Reads are what a step declares: keys that queries written by hand find on a plain connection at
that moment. Writes are what differs between snapshots of all tables before and after the step.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from indelible import Actor

from .snapshots import (
    Bits,
    Key,
    RowChange,
    Snapshot,
    bits,
    connect_plainly,
    difference,
    read_tables,
    take_snapshot,
)

SUBJECT_TABLES: Final = frozenset({"Customer", "Invoice", "SupportCase", "LoyaltyCard", "Visit"})
"""Tables whose rows say themselves whose data they are, in CustomerId."""

FAR_SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "InvoiceLine": ("InvoiceId", "Invoice"),
    "CaseNote": ("CaseId", "SupportCase"),
}
"""Tables whose rows name the subject through a parent: own column and the parent's table."""

PAUSE_S: Final = 0.003
"""Around each step, so that a clock of milliseconds can't put an event into its neighbour."""


@dataclass(frozen=True)
class Reading:
    """Rows of one table that a statement handed out, and whose data they are.

    Where `sure` is false, Indelible may say that it can't tell which rows these were.
    """

    table: str
    keys: frozenset[Key]
    subjects: frozenset[Bits]
    sure: bool


@dataclass(frozen=True)
class Said:
    """An explicit event that must be in the trail."""

    action: str
    outcome: str = "success"
    target: tuple[str, str] | None = None
    subject: tuple[str, str] | None = None
    kind: str = "event"


@dataclass
class Step:
    """One thing that one actor did between two instants; `actor` is None for a foreign client."""

    name: str
    actor: Actor | None
    began: dt.datetime
    ended: dt.datetime
    readings: list[Reading] = field(default_factory=list)
    probed: set[str] = field(default_factory=set)
    changes: list[RowChange] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    touched: set[tuple[str, Key]] = field(default_factory=set)
    changed_subjects: set[Bits] = field(default_factory=set)
    moved: dict[str, dict[Key, Key]] = field(default_factory=dict)

    def rows_changed(self) -> set[tuple[str, Key]]:
        """The rows changed, by the keys that they had before and after."""
        keys = ((c.table, k) for c in self.changes for k in (c.before, c.after))
        return {(table, key) for table, key in keys if key is not None}


class Oracle:
    """The witness of one day; `results` is everything that the application got to see."""

    def __init__(self, database: Path) -> None:
        self._connection = connect_plainly(database)
        self.tables = read_tables(self._connection)
        self.steps: list[Step] = []
        self.results: list[tuple[str, object]] = []
        self._version = self._data_version()
        self.first = self._snapshot = take_snapshot(self._connection, self.tables)

    def close(self) -> None:
        self._connection.close()

    @property
    def now(self) -> Snapshot:
        """Every row after the last step."""
        return self._snapshot

    @contextlib.contextmanager
    def watch(self, name: str, actor: Actor | None) -> Iterator[Witness]:
        """One step of one actor."""
        with self.watch_together(name, [actor], lambda change: actor) as witnesses:
            yield witnesses[0]

    @contextlib.contextmanager
    def watch_together(
        self,
        name: str,
        actors: Sequence[Actor | None],
        whose: Callable[[RowChange], Actor | None],
    ) -> Iterator[list[Witness]]:
        """Steps of several actors at the same time; `whose` tells their changes apart."""
        began = dt.datetime.now(dt.UTC)
        time.sleep(PAUSE_S)
        steps = [Step(name, actor, began, began) for actor in actors]
        yield [Witness(step, self, self._connection) for step in steps]
        time.sleep(PAUSE_S)
        moved = {table: moves for step in steps for table, moves in step.moved.items()}
        before = self._snapshot
        for change in self._changes(moved):
            step = next(step for step in steps if step.actor == whose(change))
            step.changes.append(change)
            step.changed_subjects |= subjects_of(change, before) | subjects_of(change, self.now)
        for step in steps:
            step.ended = dt.datetime.now(dt.UTC)
        self.steps.extend(steps)

    def _changes(self, moved: Mapping[str, Mapping[Key, Key]]) -> list[RowChange]:
        version = self._data_version()
        if version == self._version:
            return []
        self._version = version
        before = self._snapshot
        self._snapshot = take_snapshot(self._connection, self.tables)
        return difference(before, self._snapshot, moved)

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def subjects_of(change: RowChange, rows: Snapshot) -> set[Bits]:
    """Whose data the changed row was, by what stands in `rows`."""
    found = set()
    for key in (change.before, change.after):
        row = rows[change.table].get(key) if key is not None else None
        if row is not None and change.table in FAR_SUBJECTS:
            column, parent = FAR_SUBJECTS[change.table]
            row = rows[parent].get((row[column],))
        elif change.table not in SUBJECT_TABLES:
            row = None
        if row is not None and row["CustomerId"] is not None:
            found.add(row["CustomerId"])
    return found


class Witness:
    """How a step declares itself."""

    def __init__(self, step: Step, oracle: Oracle, connection: sqlite3.Connection) -> None:
        self._step = step
        self._oracle = oracle
        self._connection = connection

    def reads(self, table: str, where: str, *parameters: object, sure: bool = True) -> None:
        """The rows `t` of `table` that `where` finds now are handed out in this step."""
        shape = self._oracle.tables[table]
        key = ", ".join(f't."{column}"' for column in shape.key) or "t.rowid"
        subject = "t.CustomerId" if table in SUBJECT_TABLES else "NULL"
        rows = self._connection.execute(
            f'SELECT {subject}, {key} FROM "{table}" t WHERE {where}', parameters
        ).fetchall()
        self._step.readings.append(
            Reading(
                table,
                frozenset(tuple(map(bits, row[1:])) for row in rows),
                frozenset(bits(row[0]) for row in rows if row[0] is not None),
                sure,
            )
        )

    def probes(self, *tables: str) -> None:
        """The step asks these tables and gets no row of them."""
        self._step.probed.update(tables)

    def touches(self, table: str, *keys: object) -> None:
        """These rows are written without becoming different, or come and go in the step."""
        for key in keys:
            whole = key if isinstance(key, tuple) else (key,)
            self._step.touched.add((table, tuple(map(bits, whole))))

    def moves(self, table: str, old: object, new: object) -> None:
        """The row with the key `old` takes the key `new`."""
        keys = [tuple(map(bits, k if isinstance(k, tuple) else (k,))) for k in (old, new)]
        self._step.moved.setdefault(table, {})[keys[0]] = keys[1]

    def says(self, said: Said) -> None:
        """The step records this event, and it isn't rolled back."""
        self._step.said.append(said)

    def sees(self, *things: object) -> None:
        """What the application got, to be the same with and without capture."""
        self._oracle.results.append((self._step.name, freeze(things)))

    def fails(self, attempt: Callable[[], object]) -> BaseException:
        """The application's mistake fails; how is part of what it sees."""
        try:
            attempt()
        except Exception as error:
            original = getattr(error, "orig", None)
            self.sees(
                type(error).__qualname__,
                str(error),
                type(original).__qualname__,
                getattr(original or error, "sqlite_errorcode", None),
            )
            return error
        raise AssertionError(f"{self._step.name}: expected this attempt to fail")


def freeze(thing: object) -> object:
    """Anything that a driver hands out, as values that are equal only where types are."""
    if isinstance(thing, str | int | float | bytes) or thing is None:
        return (type(thing).__name__, thing.hex() if isinstance(thing, float) else thing)
    if isinstance(thing, Mapping):
        return {str(name): freeze(value) for name, value in thing.items()}
    if isinstance(thing, Sequence | sqlite3.Row):
        return tuple(freeze(part) for part in thing)
    return (type(thing).__name__, str(thing))

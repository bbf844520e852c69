"""Reconciliation: the rows that the trail says there are, held against those that there are.

The trail is read once. Then table by table: a snapshot is fixed, what is in it has to reach the
trail, and its rows stream past those expected. Nothing survives the process: a snapshot doesn't
either, and to go on with another one would compare two moments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from indelible.errors import ConfigurationError
from indelible.events.model import Event, TargetRows
from indelible.events.values import Id, TypedValue, Value
from indelible.invariants.confirming import RENUMBERED, confirm
from indelible.invariants.differences import Counts, Difference, Summary, TableReport
from indelible.invariants.expecting import FINISHED, Expectation, Progress
from indelible.invariants.live import LiveDatabase, LiveTable, Snapshot
from indelible.invariants.scratch import Scratch
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.protocol import Source, TrailReader
from indelible.store.terms import action_term

DIFFERS: Final = "reconcile.differs"
UNREADABLE: Final = "outbox.unreadable"
ROWS_A_SEARCH: Final = 500
_NAMED: Final = 100
"""So many rows the entry about a table's differences names."""
_MEANWHILE: Final = "`indelible install` wrote its baseline meanwhile: run this again"
_SHARED: Final = "another table has its kind, and the trail doesn't tell their rows apart"
_DROPPED: Final = (
    "retention dropped its changes before {before}, and rows without a key are counted from the "
    "first on"
)
_UNWRITTEN: Final = (
    "the database was restored from a backup, and what it held then isn't all written down yet"
)
_GONE: Final = "dropped since it was captured"

Found = Difference | TableReport | Summary
Carry = Callable[[str, int, int], None]
"""Returns when this outbox row of that incarnation (with the epoch that it was opened in), and all
before it, are in the trail."""


def reconcile(
    reader: TrailReader,
    live: LiveDatabase,
    *,
    carry: Carry,
    say: Callable[[Event], None],
    tables: Sequence[str] = (),
    progress: Progress = lambda what, done, of: None,
) -> Iterator[Found]:
    """Each difference, behind those of a table what was compared, and last the summary.

    Without `tables`, all that are captured. What was found is said to the trail by `say`: for each
    table that differs `reconcile.differs`, and at the end `reconcile.finished`. Rows may change
    meanwhile. Raises `ConfigurationError` for a table that isn't there, and `DeliveryError`.
    """
    chosen, left_out = _choose(live, tables)
    reports: list[TableReport] = []
    with contextlib.closing(Scratch()) as scratch:
        size = reader.size
        expectation = Expectation(reader, live, chosen, scratch, size)
        expectation.read(progress)
        for table in chosen:
            run = _TableRun(reader, live, expectation, table)
            yield from run.differences(carry, progress)
            if run.report.differences.total:
                say(run.entry())
            reports.append(run.report)
            yield run.report
    for report in left_out:
        reports.append(report)
        yield report
    counts = Counts()
    for report in reports:
        for what, number in report.differences.items():
            counts.add(what, number)
    summary = Summary(
        tables=sum(report.not_compared is None for report in reports),
        not_compared=sum(report.not_compared is not None for report in reports),
        rows=sum(report.rows for report in reports),
        differences=counts,
        size=size,
        notes=tuple(_holes(reader, live)),
    )
    say(_finished(summary, reports))
    yield summary


def _choose(live: LiveDatabase, names: Sequence[str]) -> tuple[list[LiveTable], list[TableReport]]:
    """The tables to compare, and a report for each that can't be."""
    wanted = {name.lower() for name in names}
    known = {table.name.lower() for table in live.tables} | {
        name.lower() for name, _ in live.not_captured
    }
    if unknown := sorted(name for name in names if name.lower() not in known):
        raise ConfigurationError(
            f"expected tables of the database, got {', '.join(unknown)}; it has "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    kinds = [table.kind for table in live.tables]
    chosen, left_out = [], []
    for table in live.tables:
        if wanted and table.name.lower() not in wanted:
            continue
        if kinds.count(table.kind) > 1:
            left_out.append(TableReport(table=table.name, kind=table.kind, not_compared=_SHARED))
        else:
            chosen.append(table)
    gone = {name.lower() for name, what in live.drifts if what == "dropped"} - known
    left_out += [
        TableReport(table=name, kind="", not_compared=why)
        for name, why in (*live.not_captured, *((name, _GONE) for name in sorted(gone)))
        if not wanted or name.lower() in wanted
    ]
    return chosen, left_out


class _TableRun:
    """One table: `report` is there when its differences were all taken."""

    def __init__(
        self,
        reader: TrailReader,
        live: LiveDatabase,
        expectation: Expectation,
        table: LiveTable,
    ) -> None:
        self.report = TableReport(table=table.name, kind=table.kind)
        self._reader = reader
        self._live = live
        self._expectation = expectation
        self._table = table
        self._counts = Counts()
        self._named: dict[Id, None] = {}
        self._columns: dict[str, None] = {}
        self._rows = 0
        self._dropped = expectation.dropped if table.kind not in expectation.written else None
        self._unknown = 0

    def differences(self, carry: Carry, progress: Progress) -> Iterator[Difference]:
        kind = self._table.kind
        why = None
        if kind not in self._expectation.written:
            why = self._table.uninstalled
        if self._expectation.is_unwritten(kind):
            why = _UNWRITTEN
        if self._dropped is not None and kind in self._expectation.copies:
            why = _DROPPED.format(before=self._dropped[:10])
        if why is not None:
            self._end(0, not_compared=why)
            return
        with self._live.snapshot(self._table) as snapshot:
            position = snapshot.position
            carry(self._live.incarnation, self._live.opened, position)
            size = self._reader.size
            if not self._expectation.read_on(kind, size, position):
                self._end(0, not_compared=_MEANWHILE)
                return
            self._take(snapshot, progress)
        # The snapshot isn't held while whoever asked looks at what was found.
        for difference in self._found(size, position):
            if self._dropped is not None and _is_news(difference):
                self._unknown += difference.copies
                continue
            self._counts.add(difference.what, difference.copies)
            if len(self._named) < _NAMED:
                self._named[difference.id] = None
            self._columns |= dict.fromkeys(difference.columns)
            yield difference
        self._end(position)

    def entry(self) -> Event:
        """What the trail is told of a table that differs: which rows and columns."""
        report = self.report
        message = f"{report.table}: changed without the trail seeing it: {report.differences}"
        target = TargetRows(report.kind, ids=tuple(self._named), columns=tuple(self._columns))
        details: dict[str, Value] = {
            "message": message,
            "table": report.table,
            "rows": report.rows,
            "position": report.position,
            **dict(report.differences.items()),
        }
        return Event(action=DIFFERS, kind="system", targets=(target,), details=details)

    def _take(self, snapshot: Snapshot, progress: Progress) -> None:
        """Hold each live row against what is expected."""
        kind = self._table.kind
        for page in snapshot.pages:
            if kind in self._expectation.rows:
                self._expectation.rows[kind].take(page)
            else:
                self._expectation.copies[kind].add([row_id for row_id, _ in page], -1)
            self._rows += len(page)
            progress(self._table.name, self._rows, max(snapshot.estimate, self._rows))

    def _found(self, size: int, position: int) -> Iterator[Difference]:
        kind = self._table.kind
        if kind in self._expectation.copies:
            copies = self._expectation.copies[kind]
            for row_id, number in copies.left():
                yield Difference(
                    table=self._table.name,
                    kind=kind,
                    id=row_id,
                    what="missing" if number > 0 else "extra",
                    columns={},
                    copies=abs(number),
                )
            copies.drop()
            return
        expected = self._expectation.rows[kind]
        expected.finish()
        for suspects in expected.suspects(ROWS_A_SEARCH):
            yield from confirm(
                self._reader, self._expectation, self._table, suspects, size=size, through=position
            )
        expected.drop()

    def _end(self, position: int, not_compared: str | None = None) -> None:
        self.report = TableReport(
            table=self._table.name,
            kind=self._table.kind,
            rows=self._rows,
            position=position,
            compared=self._compared() if not_compared is None else (),
            differences=self._counts,
            not_compared=not_compared,
            notes=tuple(self._notes()),
        )

    def _untold(self) -> dict[str, int]:
        rows = self._expectation.rows.get(self._table.kind)
        return dict(zip(self._table.columns, rows.untold, strict=True)) if rows else {}

    def _compared(self) -> tuple[str, ...]:
        untold = self._untold()
        return tuple(
            name for name in self._table.columns if not self._rows or untold.get(name) != self._rows
        )

    def _notes(self) -> Iterator[str]:
        """What of the table wasn't compared, and what is wrong with its capture."""
        table, kind = self._table, self._table.kind
        if table.uninstalled is not None:
            yield f"{table.uninstalled} (but the trail has rows of it)"
        for name, what in self._live.drifts:
            if name.lower() == table.name.lower():
                yield f"its triggers aren't as they should be: {what}"
        if table.masked:
            yield f"masked, never captured: {', '.join(table.masked)}"
        if table.without_values:
            yield f"captured without values: {', '.join(table.without_values)}"
        if self._unknown and self._dropped is not None:
            before = self._dropped[:10]
            yield (
                f"{self._unknown} rows may be as they were left before {before}: retention dropped "
                "the changes until then, so that whether they should be there isn't known"
            )
        untold = {name: number for name, number in self._untold().items() if number}
        if (
            table.columns
            and len(untold) == len(table.columns)
            and set(untold.values()) == {self._rows}
        ):
            yield "the trail has keys only: whether rows are there was compared, no values"
        else:
            for name, number in untold.items():
                yield f"{name}: the trail has no value of {number} of {self._rows} rows"
        for name in sorted(self._expectation.retyped[kind]):
            yield f"{name}: of another type than the trail has it: not compared"
        if kind in self._expectation.inexact:
            yield f"changes that weren't seen by row: {self._expectation.inexact[kind]}"
        if kind in self._expectation.emptied:
            yield "it was emptied by TRUNCATE, and which rows went wasn't told"
        if table.keyless == "rowid":
            yield f"rows are named by rowid: {RENUMBERED}"
        if table.keyless == "values":
            yield "its rows have no key: how many there are of equal values was compared"


def _holes(reader: TrailReader, live: LiveDatabase) -> Iterator[str]:
    """What the trail knows that it hasn't of this database, and what else is wrong with capture."""
    names = {table.name.lower() for table in live.tables}
    for name, what in live.drifts:
        if name.lower() not in names and what != "dropped":  # a partition, for example
            yield f"{name} isn't captured as it should be: {what}"
    for source in reader.sources():
        if source.producer_id == live.incarnation:
            yield from _holes_of(source)
    aside = sum(one.producer_id == live.incarnation for one in reader.quarantined())
    if aside:
        yield f"deliveries of this database that were no events and were set aside: {aside}"
    terms = [action_term(UNREADABLE)]
    found = read_events(reader, terms, Window(), size=reader.size, kinds={"system"})
    unread = sum(
        each.event.action == UNREADABLE and each.event.producer.id == live.incarnation
        for each in found
    )
    if unread:
        yield f"outbox rows that couldn't be read: {unread}"


def _holes_of(source: Source) -> Iterator[str]:
    for what, ranges in (("lost", source.lost), ("missing", source.missing)):
        for first, last in ranges:
            rows = f"outbox rows {first} to {last}" if first != last else f"outbox row {first}"
            yield f"{rows} never reached the trail ({what})"


def _is_news(difference: Difference) -> bool:
    """Whether all that speaks for it is that the trail hasn't had the row before."""
    return difference.what in ("extra", "overwritten") and all(
        isinstance(old, TypedValue) and old.t == "absent" for old, _ in difference.columns.values()
    )


def _finished(summary: Summary, reports: Sequence[TableReport]) -> Event:
    """What the trail is told at the end; the next reconciliation goes by it, too."""
    done = [report for report in reports if report.not_compared is None]
    details: dict[str, Value] = {
        "tables": summary.tables,
        "not_compared": summary.not_compared,
        "rows": summary.rows,
        "size": summary.size,
        **dict(summary.differences.items()),
    }
    targets = tuple(TargetRows(report.kind) for report in done)
    return Event(action=FINISHED, kind="system", targets=targets, details=details)

"""Since when writes and reads of which tables were captured, and when they weren't.

Decided from entries, and from the database as it is now. What can only be placed between two
moments counts for all the time between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

from indelible.capture.drift import DRIFT
from indelible.errors import IndelibleError
from indelible.events.codec import parse_time
from indelible.events.model import Timestamp
from indelible.invariants.notes import (
    DISAGREE,
    GAP,
    GONE,
    LOG_LOST,
    READS_LOST,
    SPOILT,
    Mark,
    Note,
    Notes,
    instant,
)
from indelible.invariants.opening import open_live
from indelible.invariants.reconcile import DIFFERS
from indelible.invariants.unread import Unread, find_unread
from indelible.policy import Policy
from indelible.policy.durations import Duration
from indelible.questions.reading import glance
from indelible.questions.sessions import session_spans
from indelible.questions.window import Window
from indelible.tlog import Index
from indelible.transport.producer_signing import SILENT, VANISHED

_OURS: Final = "indelible"


class Hole(NamedTuple):
    """Something of `kind` (None: of any) wasn't captured, at some time from `since` to `until`
    (None: it still isn't). What `is_unreachable` is perhaps there, where nobody answers now."""

    since: Timestamp
    until: Timestamp | None
    kind: str | None
    why: str
    entry: Index | None = None
    is_unreachable: bool = False


class Look(NamedTuple):
    """The application's database now. `problem` says why it can't be looked at."""

    kinds: Collection[str] = ()
    drifts: tuple[tuple[str, str], ...] = ()
    not_captured: tuple[tuple[str, str], ...] = ()
    masked: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    problem: str | None = None


def look_at(policy: Policy) -> Look | None:
    """None where the policy names no database."""
    if policy.database is None and policy.server is None:
        return None
    try:
        live = open_live(policy)
        return Look(
            kinds=[table.kind for table in live.tables],
            drifts=tuple(live.drifts),
            not_captured=tuple(live.not_captured),
            masked={
                table.kind: (*table.masked, *table.without_values)
                for table in live.tables
                if table.masked or table.without_values
            },
        )
    except IndelibleError as error:
        return Look(problem=str(error))


class Coverage:
    """What the first `size` entries, and the database as `look` found it at `now`, show."""

    def __init__(self, notes: Notes, policy: Policy, *, now: Timestamp, look: Look | None) -> None:
        self.notes = notes
        self.now = now
        self.look = look
        self._policy = policy

    def kind_of(self, table: str) -> str:
        return self._policy.table(table).kind

    # -- writes ---------------------------------------------------------------------------------

    def writes_began(self, kinds: Collection[str]) -> Mark | None:
        """Since when all of `kinds` (of all tables, without any) are captured; None: unknown.

        A table that was empty when its capture began has no history from before.
        """
        marks = self.notes.installed
        if not marks or any(kind not in marks for kind in kinds):
            return None
        first = min(found[0] for found in marks.values())
        full = [
            found[0]
            for kind, found in self.notes.baselines.items()
            if (not kinds or kind in kinds) and found[0].time <= marks[kind][0].time
        ]
        return max([first, *full])

    @cached_property
    def holes_in_writes(self) -> list[Hole]:
        """By their beginning."""
        found = [*self.uncaptured, *self._differing(), *self._gaps(of_databases=True)]
        return sorted(found, key=lambda hole: hole.since)

    @cached_property
    def uncaptured(self) -> list[Hole]:
        """When triggers, or the server's log, didn't see changes: no source can tell how many."""
        return [*self._write_notes(), *self._now()]

    def longer_than(self, brief: Duration | None, holes: Iterable[Hole]) -> list[Hole]:
        """Without those no longer than `brief` behind which nothing differed."""
        return [
            hole
            for hole in holes
            if brief is None
            or uncovered_s([hole], self.now) > brief.seconds
            or not self._is_reconciled(hole)
        ]

    def _is_reconciled(self, hole: Hole) -> bool:
        """Whether behind it nothing was found to differ of what it is of: no row was changed in it,
        but for what was changed back. Of a table that is gone there is nothing to compare."""
        clean = self.notes.reconciled
        kinds = set(self.notes.installed if hole.kind is None else (hole.kind,))
        if self.look is not None and self.look.kinds:
            kinds &= set(self.look.kinds)
        return hole.until is not None and all(
            any(mark.time > hole.until for mark in clean.get(kind, ())) for kind in kinds
        )

    def _write_notes(self) -> Iterator[Hole]:
        notes = self.notes
        for note in notes.all:
            if note.action == DRIFT:
                yield self._drifted(note.detail("table"), note)
            elif note.action in GONE:
                for kind in notes.installed:
                    if notes.last_sound(kind, note.time) is not None:
                        until = notes.next_installed(kind, note.time)
                        yield Hole(note.time, until, kind, _words(note), note.entry)
            elif note.action == LOG_LOST:
                since = instant(note.detail("since")) or note.time
                until = instant(note.detail("until")) or note.time
                yield Hole(since, max(since, until), None, _words(note), note.entry)
            elif note.action == DISAGREE:
                kind = self.kind_of(note.detail("table"))
                yield Hole(note.time, note.time, kind, _words(note), note.entry)

    def _differing(self) -> Iterator[Hole]:
        """Rows that a reconciliation found changed unseen."""
        for note in self.notes.of(DIFFERS):
            for rows in note.event.targets:
                since = self.notes.last_sound(rows.kind, note.time) or note.time
                yield Hole(since, note.time, rows.kind, _words(note), note.entry)

    def _drifted(self, table: str, note: Note) -> Hole:
        kind = None if not table or table.startswith(_OURS) else self.kind_of(table)
        since = instant(note.detail("since"))
        if since is None:
            known = [kind] if kind is not None else self.notes.installed
            sound = [self.notes.last_sound(each, note.time) for each in known]
            since = min((each for each in sound if each is not None), default=note.time)
        until = self.notes.next_installed(kind, note.time)
        return Hole(since, until, kind, _words(note), note.entry)

    def _now(self) -> Iterator[Hole]:
        """What the database shows and no entry says yet."""
        if self.look is None:
            return
        told = {
            note.detail("table").lower()
            for note in self.notes.of(DRIFT)
            if self.notes.next_installed(self.kind_of(note.detail("table")), note.time) is None
        }
        for table, what in self.look.drifts:
            if table.lower() in told:
                continue
            kind = None if table.startswith(_OURS) else self.kind_of(table)
            sound = None if kind is None else self.notes.last_sound(kind, self.now)
            yield Hole(sound or self.now, None, kind, f"{table}: {what}, now")

    # -- reads ----------------------------------------------------------------------------------

    @cached_property
    def reads_began(self) -> Mark | None:
        """When the first read was seen; None: none ever was."""
        for entry in self.notes.reader.entries(0, self.notes.size - 1):
            kind, time = glance(entry.body)
            if kind == "access":
                return Mark(entry.received if entry.doubtful else time, entry.index)
        return None

    @cached_property
    def holes_in_reads(self) -> list[Hole]:
        """By their beginning. Sessions of other clients are holes: what they read isn't seen."""
        notes = self.notes
        found = list(self.holes_in_journals)
        for note in notes.of(SILENT):
            before, behind = notes.around(_producer(note), note.time)
            found.append(Hole(before or note.time, behind, None, _words(note), note.entry))
        if self._has_async:
            for note in notes.of(VANISHED):
                before, _ = notes.around(_producer(note), note.time)
                found.append(Hole(before or note.time, note.time, None, _words(note), note.entry))
        spans = session_spans(
            notes.reader, window=Window(), server=self._policy.server, size=notes.size
        )
        for span, why, index in spans:
            who = " · ".join(each for each in (span.role, span.program, span.address) if each)
            words = f"{who}: {why}" if who else why
            found.append(Hole(span.first_seen or span.since, span.until, None, words, index))
        return sorted(found, key=lambda hole: hole.since)

    @cached_property
    def holes_in_journals(self) -> list[Hole]:
        """What processes wrote down, reads and explicit events, and the trail hasn't."""
        found = [*self._gaps(of_databases=False)]
        for note in self.notes.of(*READS_LOST):
            since = instant(note.detail("since")) or note.time
            found.append(Hole(since, max(since, note.time), None, _words(note), note.entry))
        return found

    @property
    def _has_async(self) -> bool:
        """Whether reads may still be in memory when a process is killed."""
        tables = (self._policy.default, *self._policy.tables.values())
        return any(table.durability == "async" for table in tables)

    def left_out(self, reads: bool) -> Iterator[Hole]:
        """What the policy leaves out of capture, and of `reads`, for all time."""
        never = Timestamp("")
        for name, why in self.look.not_captured if self.look is not None else ():
            yield Hole(never, None, self.kind_of(name), f"{name}: {why}")
        for table in self._policy.tables.values():
            if reads and not table.reads and table.writes:
                why = f"reads of {table.table} aren't captured: reads = false"
                yield Hole(never, None, table.kind, why)

    # -- both -----------------------------------------------------------------------------------

    def _gaps(self, *, of_databases: bool) -> Iterator[Hole]:
        """What a source gave out and the trail hasn't."""
        notes = self.notes
        own = notes.reader.source_id

        def concerns(producer: str) -> bool:
            return producer != own and (producer in notes.databases) == of_databases

        for note in notes.of(GAP):
            details = note.event.details or {}
            if not concerns(note.detail("producer")):
                continue
            first, last = details.get("first"), details.get("last")
            if isinstance(first, int) and isinstance(last, int):
                source = (note.detail("producer"), int(note.detail("epoch")))
                since, until = notes.bounds(source, first, last)
                until = min(until or note.time, note.time)
                yield Hole(min(since, until), until, None, _words(note), note.entry)
        for missing, first, last in notes.missing():
            if concerns(missing.producer_id):
                since, _ = notes.bounds((missing.producer_id, missing.epoch), first, last)
                many = last - first + 1
                why = f"{many} events of {missing.producer_id} haven't come: {first} to {last}"
                yield Hole(since, None, None, why)
        for note in notes.of(*SPOILT):
            producer = note.detail("producer") or note.event.producer.id
            if concerns(producer):
                yield Hole(note.time, note.time, None, _words(note), note.entry)

    @cached_property
    def _unread(self) -> list[Unread]:
        return find_unread(self.notes.reader, self.notes.size, now=self.now)

    def is_unread(self, index: int) -> bool:
        """Whether this entry can't be read."""
        return any(each.first <= index <= each.last for each in self._unread)

    @cached_property
    def unreadable(self) -> list[Hole]:
        """When what can't be read now was received."""
        return [
            Hole(
                each.since,
                each.until,
                None,
                f"entries {each.first} to {each.last} can't be "
                + ("reached" if each.is_unreachable else "read"),
                each.first,
                each.is_unreachable,
            )
            for each in self._unread
        ]

    def began(self, deeds: Collection[str]) -> Mark | None:
        """Since when all of `deeds` that are captured at all are; None: nothing is."""
        marks: list[Mark] = []
        if "events" in deeds and self.notes.size:
            marks.append(Mark(self.notes.reader.entry(0).received, Index(0)))
        writes = self.writes_began(())
        if "accesses" in deeds and self.reads_began is not None:
            marks.append(self.reads_began)
        if writes is not None and ("changes" in deeds or "events" in deeds):
            marks.append(writes)
        return max(marks, default=None)

    def unseen(self, deeds: Collection[str]) -> list[Hole]:
        """When what somebody did ("accesses", "changes", "events") may have gone unseen."""
        holes = []
        if "accesses" in deeds:
            holes += self.holes_in_reads
        elif "events" in deeds:
            holes += self.holes_in_journals
        if "changes" in deeds or "events" in deeds:  # an event may come by the outbox
            holes += self.holes_in_writes
            if self.look is not None and self.look.problem is not None:
                why = f"the database can't be looked at: {self.look.problem}"
                holes.append(Hole(self.now, None, None, why))
        return sorted(holes, key=lambda hole: hole.since)


def uncovered_s(holes: Iterable[Hole], now: Timestamp) -> float:
    """For how many seconds at least one of them lasts; they stand by their beginning."""
    total, reached = 0, 0
    for hole in holes:
        since, until = parse_time(hole.since), parse_time(hole.until or now)
        total += max(0, until - max(since, reached))
        reached = max(reached, until)
    return total / 1_000_000


def within(holes: Iterable[Hole], since: Timestamp, now: Timestamp) -> list[Hole]:
    """What of `holes` is in [since, now], cut to it."""
    return [
        hole._replace(since=max(hole.since, since))
        for hole in holes
        if hole.since <= now and (hole.until is None or hole.until >= since)
    ]


def _producer(note: Note) -> tuple[str, str]:
    return note.detail("producer"), note.detail("epoch")


def _words(note: Note) -> str:
    return note.detail("message") or note.action

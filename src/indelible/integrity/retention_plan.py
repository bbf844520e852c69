"""What retention is to drop, worked out from the entries while their bodies are there.

Whoever does it again by the same rules, over the same entries, gets the same bits and the same
statements, byte by byte: that is how a verifier attests them. Of accesses whose detail goes there
is a statement for each day (UTC) and actor, and way in which it was seen: whose data it was, and
rows of which kinds, not which rows, how often and when on that day.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import msgspec

from indelible.errors import EventError, MalformedEventError
from indelible.events.codec import UNDECODABLE, decode_event, join_parts
from indelible.events.model import (
    RESTORED,
    Actor,
    Coverage,
    Event,
    Kind,
    Outcome,
    Part,
    Subject,
    TargetRows,
    Timestamp,
)
from indelible.events.values import Value, format_id
from indelible.integrity.retention import (
    RetentionAct,
    Rules,
    Saying,
    chunks_of,
    day_of,
    dropped_entry,
    root_of_blocks,
)
from indelible.named_sql import load_statements
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.protocol import StoredEntry
from indelible.store.sqlite_reader import SqliteReader
from indelible.store.terms import DAILY
from indelible.tlog import FULL_WIDTH, HASH_BYTES, Hash, Tile

_BASELINES: Final = ("table.baseline", RESTORED)
_MOST_BYTES: Final = 30_000
"""About so many bytes of names an entry, which is never cut into parts."""
_ROWS: Final = 1_000
DOUBTFUL: Final = "the time of what was done is doubtful"


Progress = Callable[[int, int], None]
"""Called with how many entries were looked at, and of how many."""


class _View(msgspec.Struct):
    """Of an event what tells how long it is kept."""

    kind: Kind
    time: Timestamp
    action: str
    part: Part | None = None
    fragment: str | None = None


class _Key(msgspec.Struct, array_like=True, frozen=True):
    """What statements are told apart by."""

    day: str
    outcome: Outcome
    actor: Actor | None
    database_role: str | None
    doubt: str | None


class _Item(msgspec.Struct, array_like=True, frozen=True):
    """One thing that a statement names: a subject, rows of a kind, or whose they may have been."""

    what: Literal["subject", "rows", "possible"]
    kind: str
    coverage: Coverage = "exact"
    why: str | None = None
    has_possible: bool = False
    subject: Subject | None = None


class _Piece(NamedTuple):
    """An entry, and what was glanced of it."""

    entry: StoredEntry
    view: _View

    @property
    def number(self) -> int:
        """Which part of a cut event it is; 0 for a whole one."""
        part = self.view.part
        return 0 if part is None or self.view.fragment is None else part.n


_view_decoder: Final = msgspec.json.Decoder(_View)
_key_decoder: Final = msgspec.json.Decoder(_Key)
_item_decoder: Final = msgspec.json.Decoder(_Item)
_encoder: Final = msgspec.json.Encoder()


class Plan:
    """What is due of the entries up to `through`, by `rules`. A context manager, as it holds
    a temporary file.

    What is about a subject that is `held`, or was done by it, stays, and so do statements of acts
    that aren't among the `finished` ones (their nonces). Rows of `subject_kinds` are
    the data of the subject of that name. Raises what reading entries does.
    """

    def __init__(
        self,
        reader: SqliteReader,
        rules: Rules,
        through: int,
        *,
        held: Collection[Subject] = frozenset(),
        finished: Collection[str] = frozenset(),
        subject_kinds: Collection[str] = frozenset(),
        progress: Progress = lambda done, of: None,
    ) -> None:
        self._reader = reader
        self._rules = rules
        self._through = through
        self._held = frozenset(held)
        self._finished = frozenset(finished)
        self._held_kinds = frozenset(each.kind for each in held)
        self._own_kinds = frozenset(subject_kinds)
        self.bits: dict[int, int] = {}
        """By block, a bit for each entry whose body is to go."""
        self.held = 0
        """Entries that are due and stay, because somebody is held."""
        self._days = _Days()
        try:
            self._work_out(progress)
        except BaseException:
            self._days.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._days.close()

    @property
    def dropped(self) -> int:
        """How many bodies are to go."""
        return sum(bits.bit_count() for bits in self.bits.values())

    def statements(self, nonce: str) -> Iterator[Event]:
        """What is to be said in the trail, in order."""
        n = 0
        for chunk in chunks_of(self.bits):
            yield dropped_entry(nonce, n, chunk, self.bits)
            n += 1
        for event in self._days.events():
            details: dict[str, Value] = {"nonce": nonce, "n": n, **(event.details or {})}
            yield msgspec.structs.replace(event, details=details)
            n += 1

    def act(self, *, nonce: str, time: str, reason: str) -> RetentionAct:
        """What authorisers and verifiers are to sign."""
        saying = Saying()
        for event in self.statements(nonce):
            saying.add(event)
        return RetentionAct(
            origin=self._reader.origin,
            rules=self._rules,
            through=self._through,
            held=self.held,
            dropped=self.dropped,
            root=root_of_blocks(self.bits, self._hash_of) if self.bits else bytes(HASH_BYTES),
            said=saying.count,
            digest=saying.digest(),
            nonce=nonce,
            time=time,
            reason=reason,
        )

    # -- working it out ---------------------------------------------------------------------------

    def _work_out(self, progress: Progress) -> None:
        limits = msgspec.structs.astuple(self._rules)
        newest = max((limit for limit in limits if limit is not None), default="")
        pieces: list[_Piece] = []
        first = 0
        # Sealed otherwise, or not yet: in a verifier's copy.
        rest = [(self._through, "")]
        for last, since in [*((each.last, each.since) for each in self._reader.segments()), *rest]:
            last = min(last, self._through)
            if first <= last and (since < newest or pieces):
                pieces = self._take(first, last, pieces)
            first = max(first, last + 1)
            progress(first, self._through + 1)
        # A cut event that goes on behind `through` stays.

    def _take(self, first: int, last: int, pieces: list[_Piece]) -> list[_Piece]:
        """Take these entries behind `pieces` of an event that was cut; its parts stand one behind
        another, and go or stay together. What was begun, and isn't whole yet."""
        for entry in self._reader.entries(first, last):
            piece = _Piece(entry, _view(entry))
            if pieces and piece.number != len(pieces) + 1:
                pieces = []  # a part is missing: what is left of it stays
            if piece.number == len(pieces) + 1:
                pieces.append(piece)
                part = piece.view.part
                if part is None or part.n < part.of:
                    continue
                self._take_event(pieces)
                pieces = []
            elif piece.number == 0:
                self._take_event([piece])
        return pieces

    def _take_event(self, pieces: list[_Piece]) -> None:
        entry, view = pieces[0]
        due = self._due(entry, view)
        if due == "stays":
            return
        if self._held or due == "daily":
            event = _whole(pieces)
            if self._is_held(event):
                self.held += len(pieces)
                return
            if due == "daily":
                self._say(event, entry)
        for each in pieces:
            block, place = divmod(each.entry.index, BLOCK_ENTRIES)
            self.bits[block] = self.bits.get(block, 0) | 1 << place

    def _due(self, entry: StoredEntry, view: _View) -> Literal["stays", "daily", "goes"]:
        rules = self._rules
        # A doubtful time doesn't make an entry older than it is.
        time = max(view.time, entry.received)
        if view.kind == "system":
            if view.action == DAILY:
                return "goes" if self._is_over(entry) else "stays"
            limit = rules.changes if view.action in _BASELINES else None
        elif view.kind == "access":
            if rules.accesses is not None and time < rules.accesses:
                return "goes"
            is_due = rules.access_detail is not None and time < rules.access_detail
            return "daily" if is_due else "stays"
        elif view.kind == "decision":
            limit = self.decisions_before
        else:
            limit = rules.changes if view.kind == "change" else rules.events
        return "goes" if limit is not None and time < limit else "stays"

    @cached_property
    def decisions_before(self) -> Timestamp | None:
        """A decision stays as long as anything that it may cover: that would look unauthorised."""
        rules = self._rules
        covered = (rules.access_detail or rules.accesses, rules.changes, rules.events)
        limits = [limit for limit in covered if limit is not None]
        return min(limits) if len(limits) == len(covered) else None

    def _is_over(self, entry: StoredEntry) -> bool:
        event = decode_event(entry.body)
        nonce = (event.details or {}).get("nonce")
        return nonce in self._finished and is_over(event, self._rules)

    def _is_held(self, event: Event) -> bool:
        if not self._held:
            return False
        about = {*event.subjects}
        for target in event.targets:
            about.update(target.possible_subjects)
            about.update(
                Subject(target.kind, format_id(row_id))
                for row_id in (*target.ids, *target.ids_before)
                if target.kind in self._held_kinds
            )
        actor = event.actor
        while actor is not None:
            about.add(Subject(actor.kind, actor.id))
            actor = actor.on_behalf_of
        # What can't be told whose it is may be theirs.
        unknown = any(each.id is None and each.kind in self._held_kinds for each in about)
        return unknown or not self._held.isdisjoint(about)

    def _say(self, event: Event, entry: StoredEntry) -> None:
        items = [_Item("subject", each.kind, subject=each) for each in event.subjects]
        for target in event.targets:
            items += self._items(target)
        for day in {event.time[:10], entry.received[:10] if entry.doubtful else event.time[:10]}:
            key = _Key(
                day,
                event.outcome,
                event.actor,
                None if event.actor is not None else event.database_role,
                DOUBTFUL if entry.doubtful else None,
            )
            self._days.add(key, items)

    def _items(self, target: TargetRows) -> Iterator[_Item]:
        own: list[Subject] = []
        if target.kind in self._own_kinds:
            ids = (*target.ids, *target.ids_before)
            own = [Subject(target.kind, format_id(row_id)) for row_id in ids]
        if target.coverage == "exact":
            yield _Item("rows", target.kind)
            yield from (_Item("subject", each.kind, subject=each) for each in own)
            return
        possible = (*target.possible_subjects, *own)
        seen = _Item("rows", target.kind, target.coverage, target.why, bool(possible))
        yield seen
        for each in possible:
            yield msgspec.structs.replace(seen, what="possible", subject=each)

    def _hash_of(self, block: int) -> Hash:
        above, at = divmod(block, FULL_WIDTH)
        return Hash(self._reader.read_tile(Tile(1, above, at + 1))[at * HASH_BYTES :])


class _Days:
    """Statements that grow item by item, in a temporary file: there may be millions."""

    def __init__(self) -> None:
        self._sql = load_statements("indelible.integrity", "retention_plan.sql")
        # An empty name is a temporary database that SQLite keeps in a file, deleted on close.
        self._file = sqlite3.connect("", isolation_level=None)
        for name in ("no_journal", "create", "begin"):
            self._file.execute(self._sql[name])

    def add(self, key: _Key, items: Iterable[_Item]) -> None:
        packed = _text(key)
        self._file.executemany(self._sql["put"], [(packed, _text(item)) for item in items])

    def events(self) -> Iterator[Event]:
        """In the order of days, and always the same."""
        with contextlib.closing(self._file.execute(self._sql["items"])) as rows:
            for packed, items in groupby(rows, itemgetter(0)):
                key = _key_decoder.decode(packed)
                some: list[_Item] = []
                size = 0
                for _, item in items:
                    if size + len(item) > _MOST_BYTES:
                        yield _statement(key, some)
                        some, size = [], 0
                    some.append(_item_decoder.decode(item))
                    size += len(item)
                yield _statement(key, some)

    def close(self) -> None:
        self._file.close()


def _statement(key: _Key, items: Iterable[_Item]) -> Event:
    """One entry; its number, and by which act, come later."""
    subjects: list[Subject] = []
    targets: dict[_Item, list[Subject]] = {}
    for item in items:
        if item.what == "subject" and item.subject is not None:
            subjects.append(item.subject)
        else:
            seen = msgspec.structs.replace(item, what="rows", subject=None)
            possible = targets.setdefault(seen, [])
            if item.subject is not None:
                possible.append(item.subject)
    details: dict[str, Value] = {"day": key.day}
    if key.doubt is not None:
        details["doubt"] = key.doubt
    return Event(
        action=DAILY,
        kind="system",
        outcome=key.outcome,
        actor=key.actor,
        database_role=key.database_role,
        subjects=tuple(subjects),
        targets=tuple(
            TargetRows(
                kind=seen.kind,
                coverage=seen.coverage,
                why=seen.why,
                possible_subjects=tuple(possible),
            )
            for seen, possible in targets.items()
            # Rows of which all that is known is whose they may be are named with those.
            if possible or not seen.has_possible
        ),
        details=details,
    )


def _view(entry: StoredEntry) -> _View:
    try:
        return _view_decoder.decode(entry.body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected entry {entry.index} to be an event: {error}") from None


def _whole(pieces: list[_Piece]) -> Event:
    events = [decode_event(piece.entry.body) for piece in pieces]
    if pieces[0].number == 0:
        return events[0]
    try:
        return join_parts(events)
    except EventError:
        return events[0]


def is_over(event: Event, rules: Rules) -> bool:
    """Whether the day that a statement is about is before all that is kept of accesses."""
    try:
        _, end = day_of(event)
    except EventError:
        return False
    return rules.accesses is not None and end <= rules.accesses


def _text(value: object) -> str:
    return _encoder.encode(value).decode()

"""Distinct keys with their first and last time and counts, in bounded memory.

Up to `max_keys` stand in a dict; beyond that they are merged into a temporary SQLite file, which
is unlinked with the tally.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from operator import attrgetter
from types import TracebackType
from typing import Final, Generic, TypeVar

import msgspec

from indelible.events.model import Timestamp
from indelible.named_sql import load_statements
from indelible.tlog import Index

K = TypeVar("K")
MAX_KEYS: Final = 100_000
_encoder: Final = msgspec.json.Encoder()


At = tuple[Timestamp, Index]
"""When an event was, and its entry."""


class Line(msgspec.Struct, Generic[K], gc=False):
    """One key's line, so far. `place` orders the keys that one event named first."""

    key: K
    first: At
    last: At
    place: int
    reads: int
    changes: int
    why: str | None

    @property
    def indexes(self) -> tuple[Index, ...]:
        """The entries of the first and the last event; one where they are the same."""
        if self.first[1] == self.last[1]:
            return (self.first[1],)
        return (self.first[1], self.last[1])


class Tally(Generic[K]):
    """Counts by key; a context manager, as it may hold a temporary file.

    Keys are hashable values that msgspec writes and `decoder` reads. `lines` come by the time
    and index of the first event, and in the order in which that one named them, whether or not
    anything was spilled.
    """

    def __init__(self, decoder: msgspec.json.Decoder[K], max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._decoder = decoder
        self._lines: dict[K, Line[K]] = {}
        self._place = 0
        self._spilled: sqlite3.Connection | None = None

    def __enter__(self) -> Tally[K]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.clear()
        if self._spilled is not None:
            self._spilled.close()

    def add(
        self,
        keys: Iterable[K],
        time: Timestamp,
        index: Index,
        *,
        changed: bool,
        why: str | None = None,
    ) -> None:
        """Count one event for each of `keys`. Events may come in any order."""
        at = (time, index)
        reads, changes = (0, 1) if changed else (1, 0)
        lines, place = self._lines, self._place
        for place, key in enumerate(keys, start=self._place):
            line = lines.get(key)
            if line is None:
                if len(lines) >= self._max_keys:
                    self._spill()
                lines[key] = Line(key, at, at, place, reads, changes, why)
                continue
            line.reads += reads
            line.changes += changes
            if at > line.last:
                line.last = at
            elif at < line.first:
                line.first, line.place = at, place
        self._place = place + 1

    def lines(self) -> Iterator[Line[K]]:
        """Every key's line; nothing may be added while this is read."""
        if self._spilled is None:
            in_place = sorted(self._lines.values(), key=attrgetter("place"))
            yield from sorted(in_place, key=attrgetter("first"))
            return
        self._spill()
        for key, first, last, reads, changes, why in self._spilled.execute(_statements()["lines"]):
            at, place = _unpack(first)
            found = self._decoder.decode(key)
            yield Line(found, at, _unpack(last)[0], place, reads, changes, why)

    def _spill(self) -> None:
        if self._spilled is None:
            # An empty name is a temporary database that SQLite keeps in a file, deleted on close.
            self._spilled = sqlite3.connect("", isolation_level=None)
            self._spilled.execute("PRAGMA journal_mode = OFF")
            self._spilled.execute(_statements()["create"])
        self._spilled.execute("BEGIN")
        self._spilled.executemany(
            _statements()["merge"],
            (
                (
                    _encode(line.key),
                    _pack(line.first, line.place),
                    _pack(line.last, 0),
                    line.reads,
                    line.changes,
                    line.why,
                )
                for line in self._lines.values()
            ),
        )
        self._spilled.execute("COMMIT")
        self._lines.clear()


def _encode(key: object) -> str:
    return _encoder.encode(key).decode()


def _pack(at: At, place: int) -> str:
    return f"{at[0]}{at[1]:020d}{place:020d}"


def _unpack(packed: str) -> tuple[At, int]:
    return (Timestamp(packed[:-40]), Index(int(packed[-40:-20]))), int(packed[-20:])


def _statements() -> dict[str, str]:
    return load_statements("indelible.questions", "tally.sql")

"""Distinct keys with their first and last time and counts, in bounded memory.

Up to `max_keys` stand in a dict; beyond that they are merged into a temporary SQLite file, which
is unlinked with the tally.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from indelible.events.model import Timestamp
from indelible.named_sql import load_statements
from indelible.tlog import Index

K = TypeVar("K")
MAX_KEYS: Final = 100_000
_encoder: Final = msgspec.json.Encoder()


At = tuple[Timestamp, Index, int]
"""When an event was, its entry, and how many keys were counted before: no two are the same."""


class Line(NamedTuple, Generic[K]):
    """One key's line, so far."""

    key: K
    first: At
    last: At
    reads: int
    changes: int
    why: str | None

    @property
    def indexes(self) -> tuple[Index, ...]:
        """The entries of the first and the last event; one where they are the same."""
        if self.first[1] == self.last[1]:
            return (self.first[1],)
        return (self.first[1], self.last[1])


class _Counts:
    __slots__ = ("changes", "first", "last", "reads", "why")

    def __init__(self, at: At, why: str | None) -> None:
        self.first = self.last = at
        self.reads = self.changes = 0
        self.why = why


class Tally(Generic[K]):
    """Counts by key; a context manager, as it may hold a temporary file.

    Keys are hashable values that msgspec writes and `decoder` reads. `lines` come by the time
    and index of the first event, and in the order in which that one named them, whether or not
    anything was spilled.
    """

    def __init__(self, decoder: msgspec.json.Decoder[K], max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._decoder = decoder
        self._counts: dict[K, _Counts] = {}
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
        self._counts.clear()
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
        for key in keys:
            self._place += 1
            at = (time, index, self._place)
            counts = self._counts.get(key)
            if counts is None:
                if len(self._counts) >= self._max_keys:
                    self._spill()
                counts = self._counts[key] = _Counts(at, why)
            elif at < counts.first:
                counts.first = at
            elif at > counts.last:
                counts.last = at
            if changed:
                counts.changes += 1
            else:
                counts.reads += 1

    def lines(self) -> Iterator[Line[K]]:
        """Every key's line; nothing may be added while this is read."""
        if self._spilled is None:
            for key, at in sorted(self._counts.items(), key=lambda item: item[1].first):
                yield Line(key, at.first, at.last, at.reads, at.changes, at.why)
            return
        self._spill()
        for key, first, last, reads, changes, why in self._spilled.execute(_statements()["lines"]):
            found = self._decoder.decode(key)
            yield Line(found, _unpack(first), _unpack(last), reads, changes, why)

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
                (_encode(key), _pack(at.first), _pack(at.last), at.reads, at.changes, at.why)
                for key, at in self._counts.items()
            ),
        )
        self._spilled.execute("COMMIT")
        self._counts.clear()


def _encode(key: object) -> str:
    return _encoder.encode(key).decode()


def _pack(at: At) -> str:
    return f"{at[0]}{at[1]:020d}{at[2]:020d}"


def _unpack(packed: str) -> At:
    return Timestamp(packed[:-40]), Index(int(packed[-40:-20])), int(packed[-20:])


def _statements() -> dict[str, str]:
    return load_statements("indelible.questions", "tally.sql")

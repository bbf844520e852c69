"""Distinct keys with their first and last time and counts, in bounded memory.

Up to `max_keys` stand in a dict; beyond that they are merged into a temporary SQLite file, which
is unlinked with the tally.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from indelible.events.model import Timestamp
from indelible.named_sql import load_statements
from indelible.tlog import Index

K = TypeVar("K")
MAX_KEYS: Final = 100_000
_encoder: Final = msgspec.json.Encoder()


class Line(NamedTuple, Generic[K]):
    """One key's line, so far."""

    key: K
    first: Timestamp
    first_index: Index
    last: Timestamp
    last_index: Index
    reads: int
    changes: int
    why: str | None

    @property
    def indexes(self) -> tuple[Index, ...]:
        """The entries of the first and the last event; one where they are the same."""
        if self.first_index == self.last_index:
            return (self.first_index,)
        return (self.first_index, self.last_index)


class _Counts:
    __slots__ = ("changes", "first", "last", "reads", "why")

    def __init__(self, at: tuple[Timestamp, Index], why: str | None) -> None:
        self.first = self.last = at
        self.reads = self.changes = 0
        self.why = why


class Tally(Generic[K]):
    """Counts by key; a context manager, as it may hold a temporary file.

    Keys are hashable values of `key_type` that msgspec writes and reads. `lines` come by first
    time, index and the key's JSON, whether or not anything was spilled.
    """

    def __init__(self, key_type: type[K], max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._decoder = msgspec.json.Decoder(key_type)
        self._counts: dict[K, _Counts] = {}
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
        self, key: K, time: Timestamp, index: Index, *, changed: bool, why: str | None = None
    ) -> None:
        """Count one event for `key`. Events may come in any order."""
        at = (time, index)
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
            for key, counts in sorted(self._counts.items(), key=_by_first_time):
                yield Line(
                    key, *counts.first, *counts.last, counts.reads, counts.changes, counts.why
                )
            return
        self._spill()
        for key, first, last, reads, changes, why in self._spilled.execute(_statements()["lines"]):
            found = self._decoder.decode(key)
            yield Line(found, *_unpack(first), *_unpack(last), reads, changes, why)

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


def _by_first_time(item: tuple[object, _Counts]) -> tuple[tuple[Timestamp, Index], str]:
    key, counts = item
    return counts.first, _encode(key)


def _encode(key: object) -> str:
    return _encoder.encode(key).decode()


def _pack(at: tuple[Timestamp, Index]) -> str:
    return f"{at[0]}{at[1]:020d}"


def _unpack(packed: str) -> tuple[Timestamp, Index]:
    return Timestamp(packed[:-20]), Index(int(packed[-20:]))


def _statements() -> dict[str, str]:
    return load_statements("indelible.questions", "tally.sql")

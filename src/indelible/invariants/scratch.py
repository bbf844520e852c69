"""The rows that the trail says there are, in a file that is gone with the process.

SQLite makes the file and removes its name at once. A row is its key and a digest of its values,
made with a secret of this run, so that nobody can prepare two rows of one digest. Of columns that
were changed since the row was written down whole, the first value before and the last one after
are kept beside it: put back in the place of the live ones, the first must give the digest again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from indelible.events.model import Change
from indelible.events.values import ABSENT, TOKEN, Id, TypedValue, Value

_CACHE_KB: Final = 64_000
_DIGEST_BYTES: Final = 16
_SUSPECTS_BYTES: Final = 4 << 20

Values = tuple[Value, ...]
Patch = dict[int, Change]
Stored = tuple[bytes | None, bytes | None, bytes | None]
"""Digest, places that aren't told, and patch, as they stand in the file."""

encode: Final = msgspec.json.Encoder().encode
_decode_values: Final = msgspec.json.Decoder(tuple[Value, ...]).decode
_decode_patch: Final = msgspec.json.Decoder(dict[int, tuple[Value, Value]]).decode
_decode_places: Final = msgspec.json.Decoder(list[int]).decode

_MARK: Final = re.compile(rb'\{"t":"(?:\w+"\}|sealed"|token")')
"""What `is_told` isn't true of, as JSON; and texts that look like it."""


def is_told(value: Value) -> bool:
    """Whether this is a value, and not a mark in the place of one."""
    return type(value) is not TypedValue or (
        value.v is not None and value.t not in ("sealed", TOKEN)
    )


class Trust(NamedTuple):
    """What an entry can contradict: what is `known` of a row, and that `all` rows are known."""

    known: bool
    all: bool


class Scratch:
    """The file. `close` frees it; so does the end of the process, however it ends."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect("", isolation_level=None)
        for pragma in (f"cache_size = -{_CACHE_KB}", "journal_mode = OFF", "synchronous = OFF"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("BEGIN")
        self._secret = secrets.token_bytes(32)
        self._tables = 0

    def next_number(self) -> int:
        """A number for another table."""
        self._tables += 1
        return self._tables

    def digest(self, encoded: bytes) -> bytes:
        return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES, key=self._secret).digest()

    def close(self) -> None:
        self.connection.close()


class ExpectedRows:
    """The rows of one table that have a key, and those among them that have to be looked at."""

    def __init__(self, scratch: Scratch, columns: Sequence[str]) -> None:
        self._connection = scratch.connection
        self._digest = scratch.digest
        self._columns = tuple(columns)
        self._place = {name: place for place, name in enumerate(columns)}
        self._everywhere = range(len(columns))
        n = scratch.next_number()
        self._rows, self._suspects = f"rows_{n}", f"suspects_{n}"
        self._connection.execute(
            f"CREATE TABLE {self._rows} (key BLOB PRIMARY KEY, digest BLOB, untold BLOB, "
            "patch BLOB) WITHOUT ROWID"
        )
        self._connection.execute(
            f"CREATE TABLE {self._suspects} (key BLOB PRIMARY KEY, live BLOB) WITHOUT ROWID"
        )
        self._has_suspects = False
        self.untold = [0] * len(columns)
        """Of how many live rows the trail doesn't know this column."""

    # -- what the trail says ----------------------------------------------------------------------

    def clear(self) -> None:
        """None of them is there any more."""
        self._connection.execute(f"DELETE FROM {self._rows}")

    def put_images(
        self, ids: Sequence[Id], columns: Sequence[str], rows: Sequence[Values], trust: Trust
    ) -> None:
        """These rows were there, with these values (`rows` is empty where only keys are known)."""
        keys = [encode(row_id) for row_id in ids]
        # Column names come as the trail has them; values in the order of ours.
        at = {name: n for n, name in enumerate(columns)}
        order = [at.get(name, -1) for name in self._columns]
        is_same = tuple(columns) == self._columns
        images: list[Values] = []
        for n in range(len(ids)):
            row = rows[n] if rows else ()
            images.append(
                row if is_same else tuple([row[m] if m >= 0 and rows else ABSENT for m in order])
            )
        if trust.known:
            found = self._fetch(keys)
            for key, image in zip(keys, images, strict=True):
                before = found.get(key)
                if trust.all if before is None else not self._agrees(before, image):
                    self.suspect(key)
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {self._rows} VALUES (?, ?, ?, NULL)",
            [(key, *self._image(image)) for key, image in zip(keys, images, strict=True)],
        )

    def insert(self, row_id: Id, columns: dict[str, Change], trust: Trust) -> None:
        """The row was inserted."""
        key = encode(row_id)
        if trust.known and self._get(key) is not None:
            self.suspect(key)
        image = tuple([columns[n][1] if n in columns else ABSENT for n in self._columns])
        self._put(key, (*self._image(image), None))

    def update(self, before_id: Id, row_id: Id, columns: dict[str, Change], trust: Trust) -> None:
        """The row had these columns changed, perhaps its key too."""
        before, key = encode(before_id), encode(row_id)
        stored = self._get(before)
        if stored is None:
            stored = (None, None, None)
            if trust.all:
                self.suspect(key)
        if before != key:
            if trust.known and self._get(key) is not None:
                self.suspect(key)
            self._remove([before])
        patch: Patch = _decode_patch(stored[2]) if stored[2] is not None else {}
        for name, (was, now) in columns.items():
            place = self._place.get(name)
            if place is None:
                continue
            known = patch.get(place)
            if known is not None and trust.known and _differ(known[1], was):
                self.suspect(key)
            patch[place] = (known[0] if known is not None else was, now)
        self._put(key, (stored[0], stored[1], encode(patch)))

    def delete(self, row_id: Id, columns: dict[str, Change], trust: Trust) -> None:
        """The row was deleted; these were its values."""
        key = encode(row_id)
        if trust.known:
            stored = self._get(key)
            image = tuple([columns[n][0] if n in columns else ABSENT for n in self._columns])
            if trust.all if stored is None else not self._agrees(stored, image):
                self.suspect(key)
        self._remove([key])

    def suspect(self, key: bytes) -> None:
        """Have this row looked at, whatever it is like now."""
        self._connection.execute(f"INSERT OR IGNORE INTO {self._suspects} (key) VALUES (?)", (key,))
        self._has_suspects = True

    # -- what is there ----------------------------------------------------------------------------

    def take(self, page: Sequence[tuple[Id, Values]]) -> None:
        """These rows are there: what isn't as expected becomes suspect, with what it is like."""
        keys = [encode(row_id) for row_id, _ in page]
        found = self._fetch(keys)
        looked_at = self._known_suspects(keys)
        suspects = [
            (key, encode(values))
            for key, (_, values) in zip(keys, page, strict=True)
            if key in looked_at
            or (stored := found.get(key)) is None
            or not self._is_as_stored(stored, values)
        ]
        if suspects:
            self._has_suspects = True
            self._connection.executemany(
                f"INSERT OR REPLACE INTO {self._suspects} VALUES (?, ?)", suspects
            )
        self._remove(keys)

    def finish(self) -> None:
        """All rows were taken: what is left isn't there."""
        self._connection.execute(
            f"INSERT OR IGNORE INTO {self._suspects} (key) SELECT key FROM {self._rows}"
        )
        self.clear()

    def suspects(self, many: int) -> Iterator[list[tuple[Id, Values | None]]]:
        """The suspect rows, `many` at a time or fewer long ones, with what is there (None:
        nothing)."""
        some: list[tuple[Id, Values | None]] = []
        size = 0
        for key, live in self._connection.execute(
            f"SELECT key, live FROM {self._suspects} ORDER BY key"
        ):
            some.append((_decode_values(key), None if live is None else _decode_values(live)))
            size += len(live or b"")
            if len(some) >= many or size > _SUSPECTS_BYTES:
                yield some
                some, size = [], 0
        if some:
            yield some

    def drop(self) -> None:
        """The table is done with."""
        self._connection.execute(f"DROP TABLE {self._rows}")
        self._connection.execute(f"DROP TABLE {self._suspects}")

    # -- below: one row ---------------------------------------------------------------------------

    def _image(self, image: Values) -> tuple[bytes | None, bytes | None]:
        """Digest, and the places that hold no value."""
        encoded = encode(image)
        if _MARK.search(encoded) is None:
            return self._digest(encoded), None
        untold = [place for place, value in enumerate(image) if not is_told(value)]
        if not untold:
            return self._digest(encoded), None
        if len(untold) == len(image):
            return None, encode(untold)
        return self._digest(encode(_without(image, untold))), encode(untold)

    def _is_as_stored(self, stored: Stored, values: Values) -> bool:
        digest, untold, patch = stored
        if untold is None and patch is None and digest is not None:
            return self._digest(encode(values)) == digest
        changed = _decode_patch(patch) if patch is not None else {}
        for place in self._everywhere if digest is None else _decode_places(untold or b"[]"):
            if not (place in changed and is_told(changed[place][1])):
                self.untold[place] += 1
        return self._agrees(stored, values)

    def _agrees(self, stored: Stored, values: Values) -> bool:
        """Whether a row of these values can be the one that is expected."""
        digest, untold, patch = stored
        places = set(_decode_places(untold)) if untold is not None else set()
        changed = _decode_patch(patch) if patch is not None else {}
        row = list(values)
        for place, (first, last) in changed.items():
            if _differ(last, values[place]):
                return False
            row[place] = first
        for place in places:
            row[place] = ABSENT
        if digest is None:
            return True
        if any(not is_told(value) for n, value in enumerate(row) if n not in places):
            return False  # the digest can't tell: have it looked at
        return self._digest(encode(tuple(row))) == digest

    def _get(self, key: bytes) -> Stored | None:
        row = self._connection.execute(
            f"SELECT digest, untold, patch FROM {self._rows} WHERE key = ?", (key,)
        ).fetchone()
        return row if row is None else (row[0], row[1], row[2])

    def _put(self, key: bytes, stored: Stored) -> None:
        self._connection.execute(
            f"INSERT OR REPLACE INTO {self._rows} VALUES (?, ?, ?, ?)", (key, *stored)
        )

    def _fetch(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(
            f"SELECT key, digest, untold, patch FROM {self._rows} WHERE key IN ({marks})", keys
        )
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def _known_suspects(self, keys: Sequence[bytes]) -> set[bytes]:
        if not self._has_suspects:
            return set()
        marks = ",".join("?" * len(keys))
        return {
            row[0]
            for row in self._connection.execute(
                f"SELECT key FROM {self._suspects} WHERE key IN ({marks})", keys
            )
        }

    def _remove(self, keys: Sequence[bytes]) -> None:
        self._connection.executemany(
            f"DELETE FROM {self._rows} WHERE key = ?", [(key,) for key in keys]
        )


class ExpectedCopies:
    """How many rows of each name a table without a key has: they are called by all their values."""

    def __init__(self, scratch: Scratch) -> None:
        self._connection = scratch.connection
        self._name = f"copies_{scratch.next_number()}"
        self._connection.execute(
            f"CREATE TABLE {self._name} (key BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID"
        )

    def clear(self) -> None:
        """None of them is there any more."""
        self._connection.execute(f"DELETE FROM {self._name}")

    def add(self, ids: Sequence[Id], number: int) -> None:
        """There are `number` more of each; less, below zero."""
        self._connection.executemany(
            f"INSERT INTO {self._name} VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET n = n + ?2",
            [(encode(row_id), number) for row_id in ids],
        )

    def left(self) -> Iterator[tuple[Id, int]]:
        """What is there too few (above zero) or too many times, by how much."""
        last = b""
        while True:
            row = self._connection.execute(
                f"SELECT key, n FROM {self._name} WHERE key > ? AND n != 0 ORDER BY key LIMIT 1",
                (last,),
            ).fetchone()
            if row is None:
                return
            last = row[0]
            yield _decode_values(last), int(row[1])

    def drop(self) -> None:
        """The table is done with."""
        self._connection.execute(f"DROP TABLE {self._name}")


def _differ(one: Value, other: Value) -> bool:
    return one != other and is_told(one) and is_told(other)


def _without(image: Values, places: Sequence[int]) -> Values:
    row = list(image)
    for place in places:
        row[place] = ABSENT
    return tuple(row)

"""The messages of `pgoutput`, protocol version 1: PostgreSQL's manual, 55.9. Pure.

Values come as text, in the form that the settings of the decoding session give them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from indelible.errors import MalformedEventError

_NULL, _UNCHANGED, _TEXT = b"nut"
_TRANSACTIONAL: Final = 1


class Unchanged:
    """Stands for a value that wasn't written and isn't sent: the row before it has it."""


UNCHANGED: Final = Unchanged()
Fields = tuple[str | Unchanged | None, ...]


class Begin(msgspec.Struct, frozen=True, gc=False):
    """`lsn` is where the commit stands, `time` when it was in microseconds since 2000."""

    lsn: int
    time: int
    xid: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """`end` is behind it."""

    end: int


class RelationColumns(msgspec.Struct, frozen=True):
    """The columns of a table, as the following messages have them."""

    relation: int
    columns: tuple[str, ...]


class Insert(msgspec.Struct, frozen=True):
    relation: int
    after: Fields


class Update(msgspec.Struct, frozen=True):
    """`before` is the whole row if `is_whole`, else its key, or None where that is as it was."""

    relation: int
    before: Fields | None
    is_whole: bool
    after: Fields


class Delete(msgspec.Struct, frozen=True):
    """`before` is the whole row if `is_whole`, else its key."""

    relation: int
    before: Fields
    is_whole: bool


class Truncate(msgspec.Struct, frozen=True):
    relations: tuple[int, ...]


class Message(msgspec.Struct, frozen=True):
    """What `pg_logical_emit_message` said; in a transaction that was committed, or at once."""

    is_transactional: bool
    lsn: int
    prefix: str
    content: bytes


Parsed = Begin | Commit | RelationColumns | Insert | Update | Delete | Truncate | Message | None


def parse_message(data: bytes) -> Parsed:
    """The message; None for one that says nothing of rows (a type's name, an origin).

    Raises `MalformedEventError` for anything else.
    """
    reader = _Reader(data)
    try:
        found = _parse(reader)
    except (IndexError, UnicodeDecodeError):
        raise MalformedEventError("expected a whole message of pgoutput") from None
    if not reader.is_end:
        raise MalformedEventError("expected the end of a message of pgoutput, got more")
    return found


def _parse(reader: _Reader) -> Parsed:
    kind = reader.byte()
    if kind == b"B":
        return Begin(reader.u(8), reader.u(8), reader.u(4))
    if kind == b"C":
        reader.skip(1 + 8)
        end = reader.u(8)
        reader.skip(8)
        return Commit(end)
    if kind == b"R":
        return _relation(reader)
    if kind == b"I":
        relation = reader.u(4)
        reader.expect(b"N")
        return Insert(relation, reader.fields())
    if kind == b"U":
        relation, before, is_whole = reader.u(4), None, False
        part = reader.byte()
        if part in (b"K", b"O"):
            before, is_whole, part = reader.fields(), part == b"O", reader.byte()
        if part != b"N":
            raise MalformedEventError("expected a new row in an update")
        return Update(relation, before, is_whole, reader.fields())
    if kind == b"D":
        relation, part = reader.u(4), reader.byte()
        if part not in (b"K", b"O"):
            raise MalformedEventError("expected an old row in a delete")
        return Delete(relation, reader.fields(), part == b"O")
    if kind == b"T":
        count = reader.u(4)
        reader.skip(1)
        return Truncate(tuple([reader.u(4) for _ in range(count)]))
    if kind == b"M":
        flags = reader.byte()[0]
        lsn = reader.u(8)
        prefix = reader.name()
        return Message(flags == _TRANSACTIONAL, lsn, prefix, reader.take(reader.u(4)))
    if kind in (b"Y", b"O"):
        reader.rest()
        return None
    raise MalformedEventError("expected a message of pgoutput, version 1")


def _relation(reader: _Reader) -> RelationColumns:
    relation = reader.u(4)
    reader.name()
    reader.name()
    reader.skip(1)
    columns = []
    for _ in range(reader.u(2)):
        reader.skip(1)
        columns.append(reader.name())
        reader.skip(4 + 4)
    return RelationColumns(relation, tuple(columns))


class _Reader:
    """Goes through one message. Raises `IndexError` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise IndexError
        found = self._data[self._at : end]
        self._at = end
        return found

    def skip(self, count: int) -> None:
        self.take(count)

    def rest(self) -> None:
        self._at = len(self._data)

    def byte(self) -> bytes:
        return self.take(1)

    def expect(self, byte: bytes) -> None:
        if self.byte() != byte:
            raise MalformedEventError(f"expected {byte!r} in a message of pgoutput")

    def u(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def name(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise IndexError
        return self.take(end + 1 - self._at)[:-1].decode()

    def fields(self) -> Fields:
        # Written out: most of the time of reading a log is spent here.
        data, size = self._data, len(self._data)
        found: list[str | Unchanged | None] = []
        count = self.u(2)
        at = self._at
        for _ in range(count):
            kind = data[at]
            at += 1
            if kind == _TEXT:
                end = at + 4 + int.from_bytes(data[at : at + 4], "big")
                if end > size:
                    raise IndexError
                found.append(data[at + 4 : end].decode())
                at = end
            elif kind == _NULL:
                found.append(None)
            elif kind == _UNCHANGED:
                found.append(UNCHANGED)
            else:
                raise MalformedEventError("expected a column's value as text")
        self._at = at
        return tuple(found)

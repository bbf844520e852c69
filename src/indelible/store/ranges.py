"""Ranges of positions: which of a source's were received, kept for ever in a few bytes. Pure."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable

from indelible.store.errors import MalformedBlockError

Range = tuple[int, int]
"""First and last position, both included."""


class RangeSet:
    """Positions as ascending ranges that neither overlap nor touch."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __contains__(self, position: int) -> bool:
        if not self._lasts or position > self._lasts[-1]:  # as they mostly are
            return False
        at = bisect_right(self._firsts, position) - 1
        return at >= 0 and position <= self._lasts[at]

    def add(self, first: int, last: int) -> None:
        """Add the positions `first` to `last`, which may be there already."""
        if self._lasts and self._lasts[-1] + 1 == first:  # as they mostly come
            self._lasts[-1] = last
            return
        at = bisect_right(self._firsts, first)
        if at and self._lasts[at - 1] >= first - 1:
            at -= 1
            first = self._firsts[at]
            last = max(last, self._lasts[at])
        end = at
        while end < len(self._firsts) and self._firsts[end] <= last + 1:
            last = max(last, self._lasts[end])
            end += 1
        self._firsts[at:end] = [first]
        self._lasts[at:end] = [last]

    def ranges(self) -> tuple[Range, ...]:
        return tuple(zip(self._firsts, self._lasts, strict=True))


def pack_ranges(ranges: Iterable[Range]) -> bytes:
    """Each range as two unsigned 64-bit integers."""
    return b"".join(struct.pack("<QQ", first, last) for first, last in ranges)


def unpack_ranges(raw: bytes) -> tuple[Range, ...]:
    """What `pack_ranges` made. Raises `MalformedBlockError`."""
    if len(raw) % 16:
        raise MalformedBlockError(f"expected ranges of 16 bytes each, came {len(raw)} bytes")
    return tuple(struct.iter_unpack("<QQ", raw))

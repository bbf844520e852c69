"""Which entries can't be read or proven, and whether anybody may have them still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from indelible.errors import ConfigurationError, DeliveryError, IndelibleError
from indelible.events.model import Timestamp
from indelible.questions.reading import glance
from indelible.store.blocks import BLOCK_ENTRIES, FRAME_ENTRIES
from indelible.store.errors import BodyDroppedError, NoSuchEntryError
from indelible.store.protocol import TrailReader
from indelible.tlog import Index


class Unread(NamedTuple):
    """The entries `first` to `last`: what is next to them, from `since` to `until`, can be read.

    `is_unreachable` where they are perhaps whole and nobody answers; else they are gone or damaged.
    """

    first: Index
    last: Index
    since: Timestamp
    until: Timestamp
    is_unreachable: bool


class _Bad(NamedTuple):
    first: int
    end: int
    is_unreachable: bool


def find_unread(reader: TrailReader, size: int, *, now: Timestamp) -> list[Unread]:
    """Those of the first `size` entries, in order. All blocks are read whole, with what proves
    their entries; where a place doesn't answer, all that is kept there counts."""
    return [
        Unread(
            first=Index(bad.first),
            last=Index(bad.end - 1),
            since=_time_at(reader, bad.first - 1, Timestamp("")),
            until=now if bad.end >= size else _time_at(reader, bad.end, now),
            is_unreachable=bad.is_unreachable,
        )
        for bad in _joined(_bad_ranges(reader, size))
    ]


def _bad_ranges(reader: TrailReader, size: int) -> Iterator[_Bad]:
    first = 0
    while first < size:
        end = min(first + BLOCK_ENTRIES, size)
        error = _fault(reader, first, end)
        if error is None:
            first = end
        elif _is_unreachable(error):
            # Nobody waits for the same place again and again.
            end = min(_end_of_tier(reader, first), size)
            yield _Bad(first, end, True)
            first = end
        else:
            yield from _bad_frames(reader, first, end)
            first = end


def _fault(reader: TrailReader, first: int, end: int) -> IndelibleError | None:
    """Why the block isn't whole; None where it is."""
    try:
        found = sum(1 for _ in reader.committed(first, end - 1))
    except IndelibleError as error:
        return error
    return None if found == end - first else NoSuchEntryError(f"expected entries from {first} on")


def _bad_frames(reader: TrailReader, first: int, end: int) -> list[_Bad]:
    """Which frames of the block can't be read; all of it, where what proves its entries can't."""
    bad = []
    for at in range(first, end, FRAME_ENTRIES):
        try:
            glance(reader.entry(at).body)
        except BodyDroppedError:
            continue
        except IndelibleError as error:
            bad.append(_Bad(at, min(at + FRAME_ENTRIES, end), _is_unreachable(error)))
    return bad or [_Bad(first, end, False)]


def _joined(ranges: Iterator[_Bad]) -> list[_Bad]:
    """Those that follow each other are one."""
    joined: list[_Bad] = []
    for bad in ranges:
        if joined and (joined[-1].end, joined[-1].is_unreachable) == (bad.first, bad[2]):
            bad = joined.pop()._replace(end=bad.end)
        joined.append(bad)
    return joined


def _is_unreachable(error: IndelibleError) -> bool:
    return isinstance(error, DeliveryError | ConfigurationError)


def _end_of_tier(reader: TrailReader, index: int) -> int:
    """The first entry that is kept elsewhere."""
    ends = [tier.last for tier in reader.tiers() if tier.first <= index <= tier.last]
    return int(min(ends, default=index)) + 1


def _time_at(reader: TrailReader, index: int, otherwise: Timestamp) -> Timestamp:
    try:
        return glance(reader.entry(index).body)[1] if index >= 0 else otherwise
    except IndelibleError:
        return otherwise

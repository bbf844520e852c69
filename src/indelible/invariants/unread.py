"""Which entries can't be read, and whether anybody may have them still."""

from __future__ import annotations

from typing import NamedTuple

from indelible.errors import ConfigurationError, DeliveryError, IndelibleError
from indelible.events.model import Timestamp
from indelible.questions.reading import glance
from indelible.store.blocks import FRAME_ENTRIES
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


def find_unread(reader: TrailReader, size: int, *, now: Timestamp) -> list[Unread]:
    """Those of the first `size` entries, in order: one of each frame is read, for frames are kept
    whole. Where a place doesn't answer, all that is kept there counts."""
    found: list[Unread] = []
    bad: tuple[int, Timestamp, bool] | None = None
    index, last_time = 0, Timestamp("")
    while index < size:
        try:
            time = glance(reader.entry(index).body)[1]
        except IndelibleError as error:
            is_unreachable = isinstance(error, DeliveryError | ConfigurationError)
            if bad is None:
                bad = (index, _time_before(reader, index) or last_time, is_unreachable)
            elif not is_unreachable:
                bad = (*bad[:2], False)
            # Nobody waits for the same place again and again.
            index = _end_of_tier(reader, index) if is_unreachable else index + FRAME_ENTRIES
            continue
        if bad is not None:
            found.append(Unread(Index(bad[0]), Index(index - 1), bad[1], time, bad[2]))
            bad = None
        last_time = time
        index += FRAME_ENTRIES
    if bad is not None:
        found.append(Unread(Index(bad[0]), Index(size - 1), bad[1], now, bad[2]))
    return found


def _end_of_tier(reader: TrailReader, index: int) -> int:
    """The first entry that is kept elsewhere."""
    ends = [tier.last for tier in reader.tiers() if tier.first <= index <= tier.last]
    return int(min(ends, default=index)) + 1


def _time_before(reader: TrailReader, index: int) -> Timestamp | None:
    if index == 0:
        return None
    try:
        return glance(reader.entry(index - 1).body)[1]
    except IndelibleError:
        return None

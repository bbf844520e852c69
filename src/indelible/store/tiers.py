"""Tiers: which entries of a trail are where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from indelible.events.model import Timestamp
from indelible.store.segment import Segment
from indelible.tlog import Index


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Where a part of the trail is kept: the entries `first` to `last`, and how they are read.

    `hot` is the trail's own file, `sealed` are segments at one place. What was sealed has claimed
    and received times from `since` to `until`; of the hot tier they are the received ones, as it is
    looked at for every window. `length` are the bytes of all its `files`: the hot one has the index
    and the tree of all tiers.
    """

    name: Literal["hot", "sealed"]
    place: str
    first: Index
    last: Index
    since: Timestamp
    until: Timestamp
    length: int
    files: int


def sealed_tiers(segments: Iterable[Segment]) -> list[Tier]:
    """Segments that follow each other at one place are one tier."""
    tiers: list[Tier] = []
    for segment in segments:
        tier = Tier(
            name="sealed",
            place=segment.place,
            first=Index(segment.first),
            last=Index(segment.last),
            since=segment.since,
            until=segment.until,
            length=segment.length,
            files=1,
        )
        if tiers and tiers[-1].place == tier.place:
            last = tiers.pop()
            tier = msgspec.structs.replace(
                tier,
                first=last.first,
                since=min(last.since, tier.since),
                until=max(last.until, tier.until),
                length=last.length + tier.length,
                files=last.files + 1,
            )
        tiers.append(tier)
    return tiers

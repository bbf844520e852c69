"""What a relay carries, and what it carries it to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from indelible.events.model import Timestamp


class Delivery(msgspec.Struct, frozen=True):
    """One event at its place in its source: the same bytes however often it is delivered.

    `bodies` are the event's bytes, more than one where it had to be cut into parts. They are
    kept or dropped together.
    """

    producer_id: str
    epoch: int
    seq: int
    bodies: tuple[bytes, ...]


class Gap(msgspec.Struct, frozen=True):
    """Positions `first` to `last` of a source will never come: it no longer holds them."""

    producer_id: str
    epoch: int
    first: int
    last: int
    why: str


class Void(msgspec.Struct, frozen=True):
    """Positions of a source that nothing stands at, and nothing ever will: what took them was
    rolled back. `ranges` are inclusive."""

    producer_id: str
    epoch: int
    ranges: tuple[tuple[int, int], ...]


class Remark(msgspec.Struct, frozen=True):
    """Something about a source that a person has to see."""

    action: str
    message: str
    details: dict[str, str] = {}


class Received(msgspec.Struct, frozen=True):
    """What a sink durably holds of one source, void positions included.

    `ranges` are inclusive, ascending, disjoint and not adjacent. `last_time` is the claimed
    time of the event at the highest position.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    last_time: Timestamp | None = None

    @property
    def last(self) -> int:
        """The highest position held; 0 for none."""
        return self.ranges[-1][1] if self.ranges else 0

    def __contains__(self, seq: int) -> bool:
        return any(first <= seq <= last for first, last in self.ranges)


class Sink(Protocol):
    """Where a relay delivers: on one machine the sequencer itself."""

    def deliver(
        self,
        batch: Sequence[Delivery],
        *,
        gaps: Sequence[Gap] = (),
        voids: Sequence[Void] = (),
        remarks: Sequence[Remark] = (),
    ) -> None:
        """Make all of it durable, or nothing; when this returns, every event of it is received.

        An event received before with the same bytes is dropped; with other bytes it is kept
        too, and noticed. One that can't be decoded is set aside with its bytes, noticed, and
        counts as received. Each gap becomes an entry that is noticed, once; the positions of a
        void count as received, and its entry nobody has to see; a remark stays noticed until
        somebody acknowledges it.

        Raises `DeliveryError` (nothing is acknowledged; deliver it again) and `DeposedError`
        (another sequencer took over; stop).
        """

    def received(self, producer_id: str, epoch: int) -> Received:
        """What this sink holds of the source; survives every crash after `deliver` returned."""

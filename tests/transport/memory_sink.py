"""A sink in memory that keeps every promise of `indelible.transport.delivery.Sink`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from indelible.errors import DeliveryError, MalformedEventError
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.transport.delivery import Delivery, Gap, Received, Remark, Void


class HeldKey(NamedTuple):
    """A source as the store lists it."""

    producer_id: str
    epoch: int


class MemorySink:
    """Drops what it has, keeps other bytes beside, sets aside what is no event.

    `fault` is called before each batch is kept, and may raise; `fault_after` after it was kept,
    for an acknowledgement that gets lost.
    """

    def __init__(self) -> None:
        self.arrived: list[Delivery] = []
        self.conflicts: list[Delivery] = []
        self.poison: list[Delivery] = []
        self.gaps: list[Gap] = []
        self.void: list[Void] = []
        self.notices: list[tuple[str, str, dict[str, str]]] = []
        self.unattributed: list[tuple[str, str, dict[str, str]]] = []
        self.batches: list[int] = []
        self.fault: Callable[[Sequence[Delivery]], None] = lambda batch: None
        self.fault_after: Callable[[Sequence[Delivery]], None] = lambda batch: None
        self._held: dict[tuple[str, int], dict[int, list[tuple[bytes, ...]]]] = {}

    def deliver(
        self,
        batch: Sequence[Delivery],
        *,
        gaps: Sequence[Gap] = (),
        voids: Sequence[Void] = (),
        remarks: Sequence[Remark] = (),
    ) -> None:
        self.fault(batch)
        self.batches.append(len(batch))
        for delivery in batch:
            held = self._held.setdefault((delivery.producer_id, delivery.epoch), {})
            kept = held.setdefault(delivery.seq, [])
            if delivery.bodies in kept:
                continue
            if kept:
                self.conflicts.append(delivery)
            kept.append(delivery.bodies)
            try:
                for body in delivery.bodies:
                    decode_event(body)
                self.arrived.append(delivery)
            except MalformedEventError:
                self.poison.append(delivery)
        self.gaps += (gap for gap in gaps if gap not in self.gaps)
        self.void += voids
        for remark in remarks:
            # Said of most databases here, where nobody acts: kept apart from what is rare.
            kept = self.unattributed if remark.action == "changes.unattributed" else self.notices
            kept.append((remark.action, remark.message, remark.details))
        self.fault_after(batch)

    def received(self, producer_id: str, epoch: int) -> Received:
        held = self._held.get((producer_id, epoch), {})
        ranges: list[tuple[int, int]] = []
        nothing = {
            seq
            for void in self.void
            if (void.producer_id, void.epoch) == (producer_id, epoch)
            for first, last in void.ranges
            for seq in range(first, last + 1)
        }
        for seq in sorted(held.keys() | nothing):
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        last_time = None
        if held:
            with contextlib.suppress(MalformedEventError):
                last_time = decode_event(held[max(held)][0][0]).time
        return Received(tuple(ranges), last_time)

    # What an outbox asks of the store behind the sink.

    def last_epoch(self, producer_id: str) -> int:
        return max((epoch for held, epoch in self._held if held == producer_id), default=0)

    def last_position(self, producer_id: str, epoch: int) -> int:
        return max(self._held.get((producer_id, epoch), {}), default=0)

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> list[tuple[bytes, ...]]:
        return list(self._held.get((producer_id, epoch), {}).get(seq, []))

    def lost(self, producer_id: str, epoch: int) -> list[tuple[int, int]]:
        return [
            (gap.first, gap.last)
            for gap in self.gaps
            if (gap.producer_id, gap.epoch) == (producer_id, epoch)
        ]

    def sources(self) -> list[HeldKey]:
        return [HeldKey(*key) for key in self._held]

    # What tests ask.

    @property
    def events(self) -> list[Event]:
        """Every event in order of arrival, by its first part."""
        return [decode_event(delivery.bodies[0]) for delivery in self.arrived]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]

    @property
    def noticed(self) -> list[str]:
        return [action for action, _, _ in self.notices]

    def check_each_once_and_in_order(self) -> None:
        """No event twice, none conflicting, and of each producer no later one before an earlier."""
        ids = self.ids
        assert len(ids) == len(set(ids))
        assert self.conflicts == []
        last: dict[tuple[str, int], int] = {}
        for delivery in self.arrived:
            source = (delivery.producer_id, delivery.epoch)
            assert delivery.seq > last.get(source, 0), (source, delivery.seq)
            last[source] = delivery.seq


class FailingTimes:
    """A fault: raises `DeliveryError` the first `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, batch: Sequence[Delivery]) -> None:
        if self.left:
            self.left -= 1
            raise DeliveryError("the store doesn't answer")

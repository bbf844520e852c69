"""A real trail for tests, filled with events at the times that a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from indelible.events.codec import encode_draft, parse_time, seal_parts
from indelible.events.model import Event, Producer, Timestamp
from indelible.integrity.sequencer import Sequencer
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery

DATABASE, JOURNAL = "0123456789abcdef", "fedcba9876543210"
EPOCH = parse_time(Timestamp("2022-01-01T00:00:00.000000Z"))


class Clock:
    """Microseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = parse_time(Timestamp("2026-01-01T00:00:00.000000Z"))

    def __call__(self) -> int:
        return self.now


class Maker:
    """A trail with one sequencer; `add` makes events and delivers them."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.key = SigningKey.generate("example.com/trail")
        self.store = SqliteTrail.create(
            path,
            origin="example.com/trail",
            vkey=str(self.key.verifier_key),
            source_id="aaaaaaaaaaaaaaaa",
        )
        lease = self.store.acquire_lease("test", now=self.clock(), lease_s=3_600.0)
        assert lease is not None
        self._sequencer = Sequencer(self.store, lease, self.key, clock=self.clock)
        self._seqs: dict[str, int] = {}

    def add(self, *events: Event, source: str = DATABASE, skip: int = 0) -> list[str]:
        """Deliver `events`, each at its own `time`, in one batch; returns their ids.

        `skip` positions of the source are left out: they didn't come yet.
        """
        batch = []
        for event in events:
            seq = self._seqs[source] = self._seqs.get(source, 0) + 1 + skip
            batch.append(delivery(event, Producer(source, EPOCH, seq)))
        self._sequencer.deliver(batch)
        return [f"{source}.{EPOCH}.{each.seq}" for each in batch]

    def deliver(self, batch: Sequence[Delivery]) -> None:
        self._sequencer.deliver(batch)


def delivery(event: Event, producer: Producer) -> Delivery:
    draft = encode_draft(msgspec.structs.replace(event, id="", producer=Producer("", 0, 0)))
    bodies = seal_parts(draft, event.time, producer)
    return Delivery(producer.id, producer.epoch, producer.seq, bodies)

"""Real trails for tests: made by the real sequencer, edited behind its back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from indelible.events.codec import encode_draft, format_time, seal_parts
from indelible.events.model import Actor, Event, Producer, Subject, TargetRows
from indelible.integrity.sequencer import Sequencer
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery

ORIGIN = "example.com/trail"
SOURCE = "aaaaaaaaaaaaaaaa"
EPOCH = 1_700_000_000_000_000


class Clock:
    """Microseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = EPOCH + 86_400_000_000

    def __call__(self) -> int:
        return self.now


class Maker:
    """A trail under way: one sequencer, and a source to deliver from."""

    def __init__(self, path: Path, key: SigningKey | None = None) -> None:
        self.key = key or SigningKey.generate(ORIGIN)
        self.path = path
        self.clock = Clock()
        self.store = SqliteTrail.create(
            path,
            origin=self.key.name,
            vkey=str(self.key.verifier_key),
            source_id="ffffffffffffffff",
        )
        self.seq = 0
        self.open()

    @classmethod
    def going_on(cls, path: Path, key: SigningKey, *, seq: int) -> Maker:
        """With a file that is there, from the source's position behind `seq`."""
        maker = cls.__new__(cls)
        maker.key, maker.path, maker.seq = key, path, seq
        maker.clock = Clock()
        maker.clock.now += 1_000_000_000
        maker.store = SqliteTrail(path)
        maker.open()
        return maker

    def open(self) -> None:
        """Take the lease, as a start of the application does."""
        lease = self.store.acquire_lease("test", now=self.clock(), lease_s=0.0)
        assert lease is not None
        self.lease = lease
        self.sequencer = Sequencer(self.store, lease, self.key, clock=self.clock)

    def delivery(self, event: Event | None = None, *, time: int | None = None) -> Delivery:
        """The next event of the source."""
        self.seq += 1
        return delivery_at(self.seq, event, time=time)

    def fill(self, batches: Sequence[int]) -> None:
        """Deliver batches of these sizes."""
        for size in batches:
            self.clock.now += 1_000_000
            self.sequencer.deliver([self.delivery() for _ in range(size)])

    def close(self) -> None:
        self.store.close()


def delivery_at(seq: int, event: Event | None = None, *, time: int | None = None) -> Delivery:
    """What the source has at this position: the same bytes each time."""
    event = event or Event(
        action="invoice.update",
        kind="change",
        actor=Actor("staff", f"actor{seq % 7}"),
        targets=(TargetRows("invoice", tuple((seq % 50 + k,) for k in range(6))),),
        subjects=(Subject("customer", str(seq % 20)),),
        changes={"total": (seq, seq + 1)},
    )
    at = format_time(EPOCH + seq if time is None else time)
    return Delivery(
        SOURCE, EPOCH, seq, seal_parts(encode_draft(event), at, Producer(SOURCE, EPOCH, seq))
    )


def edit(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that does what it likes with the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()

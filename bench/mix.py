"""A seeded mix of events like that of real customer applications.

60 % reads of 1 to 50 records, 30 % updates, 10 % explicit events, in requests of 1 to 4 events
over a year or more; about 7.6 record and 7.4 subject references an event.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

from indelible.events.codec import encode_draft, format_time, seal
from indelible.events.model import (
    Actor,
    Event,
    Producer,
    Statement,
    Subject,
    TargetRows,
)
from indelible.transport.delivery import Delivery

YEAR = 365 * 86_400 * 1_000_000
EPOCH = 1_730_000_000_000_000
PRODUCERS = ("9f2c41d07be3a8c5", "0b5d7f31e6a94c28", "c417e2a8905fd36b")
TABLES = ("customer", "invoice", "invoice_line", "ticket", "note", "payment")
VERBS = ("user.logged_in", "user.logged_out", "invoice.refund", "report.exported")


class Mix:
    """Events in the order of their times, in batches from three producers that began at `start`;
    the last is about `span` microseconds later."""

    def __init__(
        self,
        count: int,
        *,
        uuids: bool = False,
        seed: int = 20_261_123,
        start: int = EPOCH,
        span: int = YEAR,
    ) -> None:
        self._count = count
        self._start = start
        self._step = span // max(count, 1)
        self._random = random.Random(seed)
        self._uuids = uuids
        self._actors = [Actor("staff", f"user{n:03d}") for n in range(200)]

    def deliveries(self) -> Iterator[Delivery]:
        rng = self._random
        step, epoch = self._step, self._start
        seqs = dict.fromkeys(PRODUCERS, 0)
        now = epoch
        made = 0
        while made < self._count:
            actor = self._actors[min(int(rng.expovariate(1 / 30)), 199)]
            request = f"{rng.getrandbits(48):012x}"
            producer = rng.choice(PRODUCERS)
            for _ in range(min(rng.randint(1, 4), self._count - made)):
                now += rng.randint(1, 2 * step)
                seqs[producer] += 1
                made += 1
                place = Producer(producer, epoch, seqs[producer])
                body = seal(encode_draft(self._event(actor, request)), format_time(now), place)
                yield Delivery(producer, epoch, seqs[producer], (body,))

    def batches(self, size: int) -> Iterator[list[Delivery]]:
        batch = []
        for delivery in self.deliveries():
            batch.append(delivery)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _event(self, actor: Actor, request: str) -> Event:
        rng = self._random
        context = {"request": request, "ip": f"192.0.2.{rng.randint(1, 254)}"}
        kind = rng.choice(TABLES)
        dice = rng.random()
        if dice < 0.6:
            count = min(int(rng.expovariate(1 / 11)) + 1, 50)
            ids = tuple(self._id() for _ in range(count))
            subjects = tuple({self._subject() for _ in range(count)})
            return Event(
                action=f"{kind}.read",
                kind="access",
                actor=actor,
                targets=(TargetRows(kind, ids, columns=("id", "name", "total", "status")),),
                subjects=subjects,
                context=context,
                statement=Statement(
                    f"SELECT id, name, total, status FROM {kind} WHERE owner_id = ?", (7,), (kind,)
                ),
            )
        if dice < 0.9:
            return Event(
                action=f"{kind}.update",
                kind="change",
                actor=actor,
                targets=(TargetRows(kind, (self._id(),)),),
                subjects=(self._subject(),),
                changes={
                    "status": (rng.choice(("open", "paid", "void")), rng.choice(("open", "paid"))),
                    "total": (rng.randint(1, 100_000), rng.randint(1, 100_000)),
                },
                context=context,
                transaction=f"{request}:{rng.randint(1, 9)}",
            )
        return Event(
            action=rng.choice(VERBS),
            kind="event",
            actor=actor,
            subjects=(self._subject(),),
            context=context,
        )

    def _id(self) -> tuple[str | int]:
        if self._uuids:
            return (str(uuid.UUID(int=self._random.getrandbits(128), version=4)),)
        return (self._random.randint(1, 500_000),)

    def _subject(self) -> Subject:
        n = self._random.randint(1, 50_000)
        if self._uuids:
            return Subject(
                "customer", str(uuid.UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
            )
        return Subject("customer", str(n))

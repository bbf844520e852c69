"""A trail with three years of work, made by the real sequencer with a clock that is set.

Each morning at ten some of the staff read and change customers and invoices; all of it comes in one
batch, two seconds later. What a test breaks comes from processes and databases of its own, with the
times that it had; the entries before stay what they are.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from indelible.capture.installing import INSTALLED
from indelible.events.codec import encode_draft, format_time, parse_time, seal_parts
from indelible.events.model import (
    Actor,
    BaselineRows,
    Event,
    Kind,
    Producer,
    Subject,
    TargetRows,
    Timestamp,
)
from indelible.events.values import Value
from indelible.integrity.sequencer import Sequencer
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery, Gap

ORIGIN = "example.com/history"
DATABASE, APPLICATION = "0123456789abcdef", "fedcba9876543210"
NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
BEGAN = dt.datetime(2023, 1, 1, 8, tzinfo=dt.UTC)
EPOCH = parse_time(Timestamp("2022-01-01T00:00:00.000000Z"))
STAFF = tuple(Actor("staff", name) for name in ("alice", "bob", "carol", "dave", "trudy"))
KINDS = ("customer", "invoice")
_KEY = SigningKey.generate(ORIGIN)


def at(moment: dt.datetime) -> Timestamp:
    """A moment as events have it."""
    return format_time(round(moment.timestamp() * 1_000_000))


def ago(**length: float) -> dt.datetime:
    """So long before `NOW`, as `timedelta` takes it."""
    return NOW - dt.timedelta(**length)


class History:
    """A trail under way. `add` delivers events; each source numbers its own."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self.now = BEGAN
        if create:
            self.store = SqliteTrail.create(
                path, origin=ORIGIN, vkey=str(_KEY.verifier_key), source_id="a" * 16
            )
        else:
            self.store = SqliteTrail(path)
            self.now = NOW
        lease = self.store.acquire_lease("test", now=self._clock(), lease_s=0.0)
        assert lease is not None
        self._sequencer = Sequencer(self.store, lease, _KEY, clock=self._clock)
        self._seqs: dict[str, int] = {}

    def _clock(self) -> int:
        return round(self.now.timestamp() * 1_000_000)

    def close(self) -> None:
        self.store.close()

    def add(
        self,
        *events: Event,
        source: str = APPLICATION,
        skip: int = 0,
        gap: str | None = None,
        also: Sequence[tuple[Event, str]] = (),
    ) -> int:
        """Deliver `events` in one batch; the index of the first.

        `skip` positions of the source are left out before them, and reported as gone where a `gap`
        says why. `also` are events of other sources.
        """
        first = int(self.store.size)
        gaps = []
        if skip:
            held = self._seqs.get(source, 0)
            self._seqs[source] = held + skip
            if gap is not None:
                gaps.append(Gap(source, EPOCH, held + 1, held + skip, gap))
        batch = [self._delivery(event, source) for event in events]
        batch += [self._delivery(event, other) for event, other in also]
        self._sequencer.deliver(batch, gaps=gaps)
        return first

    def _delivery(self, event: Event, source: str) -> Delivery:
        seq = self._seqs[source] = self._seqs.get(source, 0) + 1
        producer = Producer(source, EPOCH, seq)
        draft = encode_draft(msgspec.structs.replace(event, id="", producer=Producer("", 0, 0)))
        return Delivery(source, EPOCH, seq, seal_parts(draft, event.time, producer))


def make_history(path: Path, *, seed: int = 7, days: int | None = None) -> None:
    """Three years and two weeks, 18 events a day, up to the morning of `NOW`; then a verification
    of all of it and a reconciliation that found nothing."""
    rng = random.Random(seed)
    history = History(path, create=True)
    history.add(
        *(baseline(kind, BEGAN) for kind in KINDS),
        said(INSTALLED, BEGAN, *KINDS, incarnation=DATABASE),
    )
    day = BEGAN.replace(hour=10)
    for _ in range(days or (NOW - BEGAN).days + 1):
        reads = [_read(rng, day, n) for n in range(14)]
        writes = [(_write(rng, day, n), DATABASE) for n in range(4)]
        history.now = day + dt.timedelta(seconds=5)
        history.add(*reads, also=writes)
        day += dt.timedelta(days=1)
    history.now = NOW - dt.timedelta(hours=1)
    history.add(verified(history.now), reconciled(history.now))
    history.close()


def baseline(kind: str, when: dt.datetime, incarnation: str = DATABASE) -> Event:
    return Event(
        action="table.baseline",
        kind="system",
        time=at(when),
        targets=(TargetRows(kind, ids=((1,), (2,))),),
        subjects=(Subject("customer", "1"),),
        baseline=BaselineRows(incarnation, 0),
    )


def said(action: str, when: dt.datetime, *kinds: str, **details: Value) -> Event:
    """A `system` event."""
    return Event(
        action=action,
        kind="system",
        time=at(when),
        targets=tuple(TargetRows(kind) for kind in kinds),
        details=details or None,
    )


def reconciled(when: dt.datetime, *kinds: str) -> Event:
    return said("reconcile.finished", when, *(kinds or KINDS), tables=2)


def verified(when: dt.datetime, *, since: int = 0) -> Event:
    """All entries from `since` on were hashed, and are what was committed to."""
    return said("trail.verified", when, size=20_000, since=since, assurance="unwitnessed")


def did(
    actor: Actor | None,
    action: str,
    when: dt.datetime,
    row: int = 1,
    *,
    kind: Kind = "change",
    **fields: object,
) -> Event:
    """What somebody did to one row; `action` begins with what it is of."""
    of = action.partition(".")[0]
    values: dict[str, object] = {
        "targets": (TargetRows(of, ids=((row,),)),),
        "subjects": (Subject("customer", str(row % 50)),),
    }
    if kind == "change":
        values["changes"] = {"name": ("old", "new")}
    return Event(action=action, kind=kind, time=at(when), actor=actor, **{**values, **fields})  # type: ignore[arg-type]


def _read(rng: random.Random, day: dt.datetime, n: int) -> Event:
    when = day + dt.timedelta(milliseconds=100 * n)
    return did(
        rng.choice(STAFF), f"{rng.choice(KINDS)}.read", when, rng.randrange(1, 200), kind="access"
    )


def _write(rng: random.Random, day: dt.datetime, n: int) -> Event:
    when = day + dt.timedelta(seconds=2 + n * 0.2)
    return did(rng.choice(STAFF), f"{rng.choice(KINDS)}.update", when, rng.randrange(1, 200))

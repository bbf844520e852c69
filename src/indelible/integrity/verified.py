"""What the verification of a trail's file leaves for the next one, which reads new entries alone.

It stands in the verifier's pin. Whoever can write that can make this verifier skip entries; whoever
can only write the trail can't: the entries that it tells of are under `root`.
"""

from __future__ import annotations

import msgspec

from indelible.integrity.seen import Seen

Ranges = tuple[tuple[int, int], ...]
"""First and last, both included."""


class SourceSoFar(msgspec.Struct, frozen=True, array_like=True):
    """A source, as the entries so far tell of it (`indelible.integrity.derived`)."""

    producer: str
    epoch: int
    received: Ranges
    last: int
    last_time: str
    latest: str


class ProducerSoFar(msgspec.Struct, frozen=True, array_like=True):
    """A process that signs (`indelible.integrity.producers`).

    `unstated` are the indexes of its entries that no statement is about yet: the next one needs
    their bodies, and the `key`. Of one that is over there are neither.
    """

    producer: str
    epoch: int
    key: str
    first: int
    last: int
    unstated: Ranges
    is_whole: bool
    is_over: bool
    has_ended: bool


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a trail is under signatures of who made it.

    `producers` began with a key that the enrolment key signed, or that nobody was asked about
    (`enrolment` is None); `ended` of them in order. `entries` are under their statements, `open`
    are behind the last: of processes that still run, or were killed. `holes` are statements about
    events of which some never came, `broken` are processes of which a statement never came, so that
    nothing behind it is proven: the gaps are entries themselves. `unsigned` entries are by sources
    that sign nothing: databases, and whoever writes without statements.
    """

    enrolment: str | None
    producers: int = 0
    ended: int = 0
    entries: int = 0
    open: int = 0
    holes: int = 0
    broken: int = 0
    unsigned: int = 0


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """The first `size` entries were verified until `time`; the first `whole_size` of them all at
    once, the last time at `whole_time`."""

    size: int
    time: str
    whole_size: int
    whole_time: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A verification that found nothing wrong.

    `noticed` has the index of each notice, and of the entry that acknowledges it.
    """

    origin: str
    root: bytes
    vkey: str
    what: Earlier
    signed: Signed
    sources: tuple[SourceSoFar, ...]
    producers: tuple[ProducerSoFar, ...]
    noticed: tuple[tuple[int, int | None], ...]

    @property
    def seen(self) -> Seen:
        return Seen(origin=self.origin, size=self.what.size, root=self.root, vkey=self.vkey)

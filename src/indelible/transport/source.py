"""What a relay carries from: sources, each the events of one producer in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from indelible.transport.delivery import Delivery, Gap, Remark, Sink, Void

Mark = tuple[int, int]
"""A place in a source. Marks of one source are ordered; of two sources they aren't."""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What comes next in a source.

    `gaps` lie before or between the deliveries, `void` are positions that were rolled back. `more`
    says that there was more than was asked for, `waiting` how many events that is, about.
    """

    deliveries: tuple[Delivery, ...] = ()
    gaps: tuple[Gap, ...] = ()
    void: Void | None = None
    remarks: tuple[Remark, ...] = ()
    more: bool = False
    waiting: int = 0


class Source(Protocol):
    """One producer's events. Used by one relay, from one thread.

    Reading raises `IndelibleError`, `OSError` or `sqlite3.Error` and leaves all as it was; it is
    tried again later and concerns no other source.
    """

    @property
    def name(self) -> str:
        """Names the source among all others of its relay; holds nothing captured."""

    @property
    def producer_id(self) -> str:
        """As in its deliveries."""

    @property
    def epoch(self) -> int:
        """As in its deliveries."""

    def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
        """What comes after the last confirmed place: at most `limit` events, about `max_bytes`.

        Gives the same again until `confirm`. What `sink` holds already is left out.
        """

    def confirm(self, sink: Sink) -> None:
        """All that the last `fetch` gave is in `sink`, durably: go on behind it, make room."""

    def end(self) -> Mark:
        """The place behind everything captured by now."""

    def confirmed(self) -> Mark:
        """The place up to which everything is in the sink."""


class SourceFinder(Protocol):
    """Where sources turn up."""

    def find_sources(self) -> Sequence[Source]:
        """The sources of now. One that is still there is the same object as before; one that was
        carried to its end and removed is missing."""

    def close(self) -> None:
        """Let go of files and locks; another relay may take over. `find_sources` begins anew."""

"""What capture needs of the trail that it feeds; `indelible.trail.Trail` supplies it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from indelible.capture.sealing import Sealing
from indelible.policy.model import Policy


class Journal(Protocol):
    """A process's append-only file of events that have no transaction to ride on.

    Safe for threads. What `append` returned for survives SIGKILL of the process; what `sync`
    returned for survives loss of power.
    """

    @property
    def sealing(self) -> Sealing:
        """What seals values of rows that are written here."""

    def concealed(self, draft: bytes) -> bytes:
        """The draft as `append` writes it, with tokens for names of persons.

        Raises `DeliveryError` where there can be none.
        """

    def append(self, draft: bytes) -> str:
        """Write an event (`events.codec.encode_draft`) now; returns its id.

        A draft too large for one event is cut into parts. Raises `DeliveryError` when the disk
        takes no more.
        """

    def append_later(self, draft: bytes) -> None:
        """Put the event into a bounded buffer that a thread writes out.

        Where the buffer is full the event is dropped, counted, and the count is an entry.
        """

    def sync(self) -> None:
        """Everything appended before is on disk when this returns."""


class CaptureHost(Protocol):
    """The trail as capture sees it."""

    @property
    def policy(self) -> Policy: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def context_key(self) -> bytes:
        """32 secret bytes with which contexts sent to a database are signed."""

    def delivered_through(self, incarnation: str) -> int:
        """The highest outbox id below which everything is in the trail; 0 when unknown.

        Cheap: called for each transaction that writes.
        """

    def watch_database(self, path: Path) -> None:
        """Read this database's outbox from now on (by whichever process holds the lease)."""

    def watch_server(self) -> None:
        """Read the outbox of the server that the policy names, likewise."""

    def notice(self, action: str, message: str, **details: str) -> None:
        """Something that capture couldn't see or keep: an entry, noticed until acknowledged."""

"""The memory of used contexts: a ledger in a file, on disk before what it judged is delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from indelible.capture.change_drafts import DecodedRows, OutboxNotice
from indelible.events.codec import UNDECODABLE
from indelible.transport.kept_file import replace_file


class Ledger(Protocol):
    """See `indelible.capture.context_ledger`."""

    @property
    def through(self) -> int: ...

    def encode(self) -> bytes: ...


L = TypeVar("L", bound=Ledger)


class ContextMemory(Generic[L]):
    """One epoch's ledger. Where the file is lost, the next batch carries a notice of that."""

    def __init__(self, path: Path, make_ledger: Callable[[bytes | None], L]) -> None:
        self._path = path
        self.ledger: L
        try:
            self.ledger = make_ledger(path.read_bytes())
        except (FileNotFoundError, *UNDECODABLE):
            self.ledger = make_ledger(None)
        self._saved_through = self.ledger.through
        self._is_checked = False
        self._lost_before: int | None = None

    def judged(self, decoded: DecodedRows, delivered: int) -> DecodedRows:
        """What the ledger has just judged, which is remembered when this returns."""
        if not decoded.events:
            return decoded
        first = decoded.events[0].seq
        if not self._is_checked and self._saved_through < delivered:
            self._lost_before = first
        self._is_checked = True
        if self.ledger.through > self._saved_through:
            replace_file(self._path, self.ledger.encode())
            self._saved_through = self.ledger.through
        if first == self._lost_before:
            # Again where the same rows are fetched again: they weren't delivered.
            decoded.notices.append(_lost(first))
        return decoded


def _lost(seq: int) -> OutboxNotice:
    return OutboxNotice(
        "context.memory_lost",
        f"which contexts were used before row {seq} isn't known any more: one that was copied "
        "then can be used again unseen",
        {"outbox_id": str(seq)},
    )

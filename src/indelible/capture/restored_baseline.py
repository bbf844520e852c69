"""The baseline of a database that was put back to a backup, read while applications use it.

Whoever relays writes it, because it is the first to know; some pages at a time, between two passes.
How far it is stands in a file beside the journals, table by table; what interrupts it loses at most
the table under way.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from indelible.errors import IndelibleError
from indelible.events.codec import UNDECODABLE, encode_draft
from indelible.events.model import RESTORED, BaselineRows, Event, TargetRows

_STEP_S: Final = 0.05
_WHY: Final = "the database was restored from a backup: rows that its baseline hasn't are gone"


class Progress:
    """The tables that are done, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.tables = msgspec.json.decode(path.read_bytes(), type=set[str])
        except (FileNotFoundError, *UNDECODABLE):
            self.tables = set()

    def add(self, table: str) -> None:
        self.tables.add(table)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(msgspec.json.encode(self.tables))
        fresh.chmod(0o600)
        fresh.replace(self._path)


Pages = Callable[[Progress], Iterator[None]]
"""Appends a page of the tables that aren't done before each step, and adds those that are."""


class RestoreWatch:
    """Writes the baseline that is due after each restore, some pages at a time.

    Used from one thread. A database that can't be read now is tried again later. How far each is
    stands in `directory`.
    """

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._running: dict[tuple[str, int], Iterator[None]] = {}
        self._done: set[tuple[str, int]] = set()

    @property
    def is_due(self) -> bool:
        """Whether a baseline was begun and isn't whole yet. From any thread."""
        return bool(self._running)

    def look(self, incarnation: str, epoch: int, pages: Pages) -> None:
        """The database was restored, and its changes since are of `epoch`: go on."""
        restore = (incarnation, epoch)
        if restore in self._done:
            return
        progress = self._directory / f"{incarnation}.{epoch}.baseline"
        running = self._running.get(restore)
        if running is None:
            running = self._running[restore] = pages(Progress(progress))
        deadline = self._monotonic() + _STEP_S
        try:
            while self._monotonic() < deadline:
                next(running)
        except StopIteration:
            self._done.add(restore)
            del self._running[restore]
        except (IndelibleError, sqlite3.Error, OSError):
            # Locked, or changed under our feet: from the table under way on, at the next look.
            self._running[restore] = pages(Progress(progress))


def draft_restored(kind: str, incarnation: str, position: int, epoch: int) -> bytes:
    """The event that all rows of this kind that were there at `position` have been written down.

    Only behind them: as long as it is missing nobody takes a row that wasn't read yet for gone.
    """
    target = TargetRows(kind, coverage="superset", why=_WHY)
    baseline = BaselineRows(incarnation, position, epoch=epoch)
    event = Event(action=RESTORED, kind="system", targets=(target,), baseline=baseline)
    return encode_draft(event)

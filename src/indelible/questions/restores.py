"""Restores: when a database was put back to a backup, and which of its changes that took back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from indelible.events.codec import decode_event
from indelible.events.model import INCARNATION_OPENED, Event
from indelible.questions.reading import is_in_window
from indelible.questions.row_change import Position
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader

TAKEN_BACK = "a restored backup took it back"


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """The database of `incarnation` was put back to where `after` was its last change.

    What it does since is of `epoch`, at positions behind `after`.
    """

    incarnation: str
    epoch: int
    after: int

    def took_back(self, position: Position) -> bool:
        """Whether the change there isn't in the database any more."""
        return (
            position.incarnation == self.incarnation
            and position.epoch < self.epoch
            and position.seq > self.after
        )


def restore_of(event: Event) -> Restore | None:
    """The restore that this entry notices; None where it notices none."""
    details = event.details or {}
    if event.kind != "system" or event.action != INCARNATION_OPENED:
        return None
    try:
        return Restore(
            incarnation=str(details["incarnation"]),
            epoch=int(str(details["epoch"])),
            after=int(str(details["after"])),
        )
    except (KeyError, ValueError):
        return None


def read_restores(reader: TrailReader, window: Window, *, size: int) -> tuple[Restore, ...]:
    """Every restore that was noticed in the window.

    There are few notices, and many runs of the index, each of which one would have to look in.
    """
    found = []
    for notice in reader.notices():
        if notice.action == INCARNATION_OPENED and notice.index < size:
            entry = reader.entry(notice.index)
            event = decode_event(entry.body)
            restore = restore_of(event)
            if restore is not None and is_in_window(entry, event.time, window):
                found.append(restore)
    return tuple(found)


def is_taken_back(restores: Iterable[Restore], position: Position) -> bool:
    """Whether any of `restores` took back the change at `position`."""
    return any(restore.took_back(position) for restore in restores)

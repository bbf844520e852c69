"""What a piece of code leaves in a trail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.questions.reading import is_repeated, whole_event
from indelible.trail import Trail


@contextlib.contextmanager
def capture_events(trail: Trail, *, system: bool = False) -> Iterator[list[Event]]:
    """The list that this gives has, once the block is left, every event recorded meanwhile.

    In the order of the trail; an event that was cut into parts is whole again. What other threads
    and processes recorded at the same time is there too. The trail's own entries (batches,
    baselines, notices) are left out unless `system`.

    Waits until everything is in the trail, before and after, also where the block raises. Raises
    `DeliveryError` when that takes too long.
    """
    trail.flush()
    first = int(trail.reader.size)
    events: list[Event] = []
    try:
        yield events
    finally:
        trail.flush()
        events += (event for event in read_from(trail, first) if system or event.kind != "system")


def read_from(trail: Trail, first: int) -> Iterator[Event]:
    """The events at index `first` and behind, those cut into parts whole again."""
    for entry in trail.reader.entries(first, int(trail.reader.size) - 1):
        event = decode_event(entry.body)
        if not is_repeated(event):
            yield whole_event(trail.reader, entry, event).event

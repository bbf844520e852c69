"""How far the trail has come with one event: what its acknowledgement is worth."""

from __future__ import annotations

import enum

from indelible.store.protocol import TrailReader
from indelible.tlog import parse_checkpoint, parse_note


class Ack(enum.IntEnum):
    """Each includes those before it.

    `RECEIVED`: on disk with us; loss of power loses nothing. `SEQUENCED`: numbered in the trail.
    `CHECKPOINTED`: under a signed checkpoint; from here on whoever verified it notices a change.
    """

    RECEIVED = 1
    SEQUENCED = 2
    CHECKPOINTED = 3


def ack_of(reader: TrailReader, event_id: str) -> Ack:
    """What the trail shows of the event with this id; `RECEIVED` where it shows nothing yet."""
    index = reader.index_of(event_id)
    if index is None:
        return Ack.RECEIVED
    note = reader.state().checkpoint
    if note is None or index >= parse_checkpoint(parse_note(note).text).size:
        return Ack.SEQUENCED
    return Ack.CHECKPOINTED

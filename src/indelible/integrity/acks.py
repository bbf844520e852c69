"""How far the trail has come with one event: what its acknowledgement is worth."""

from __future__ import annotations

import enum

from indelible.integrity.assurance import is_quorum
from indelible.store.protocol import TrailReader
from indelible.tlog import TrustPolicy, parse_checkpoint, parse_note


class Ack(enum.IntEnum):
    """Each includes those before it.

    `RECEIVED`: on disk with us; loss of power loses nothing. `SEQUENCED`: numbered in the trail.
    `CHECKPOINTED`: under a signed checkpoint; from here on whoever verified it notices a change.
    `WITNESSED`: under checkpoints that a quorum of the trust policy cosigned; nobody can take it
    back without one of them.
    """

    RECEIVED = 1
    SEQUENCED = 2
    CHECKPOINTED = 3
    WITNESSED = 4


def ack_of(reader: TrailReader, event_id: str, trust: TrustPolicy | None = None) -> Ack:
    """What the trail shows of the event with this id; `RECEIVED` where it shows nothing yet.

    Signatures are believed: they were checked when they were stored, and are again by `verify`.
    Without `trust`, or a quorum in it, nothing is ever witnessed.
    """
    index = reader.index_of(event_id)
    if index is None:
        return Ack.RECEIVED
    note = reader.state().checkpoint
    if note is None or index >= parse_checkpoint(parse_note(note).text).size:
        return Ack.SEQUENCED
    if trust is None or trust.quorum is None:
        return Ack.CHECKPOINTED
    covering = {row.vkey for row in reader.witnesses() if row.note and row.size > index}
    keys = [key for key in trust.witness_keys if str(key) in covering]
    return Ack.WITNESSED if is_quorum(trust, keys) else Ack.CHECKPOINTED

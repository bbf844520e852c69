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
    back without one of them. `ANCHORED`: under a checkpoint that an anchor took whose answer can be
    checked by others: a timestamp, an object that a bucket refused to delete, a commit that was
    pushed. Where the trust policy asks for a quorum it is witnessed, too.
    """

    RECEIVED = 1
    SEQUENCED = 2
    CHECKPOINTED = 3
    WITNESSED = 4
    ANCHORED = 5


def ack_of(reader: TrailReader, event_id: str, trust: TrustPolicy | None = None) -> Ack:
    """What the trail shows of the event with this id; `RECEIVED` where it shows nothing yet.

    Signatures are believed: they were checked when they were stored, and are again by `verify`.
    Without `trust`, or a quorum in it, nothing is ever witnessed. What a file, a webhook or a
    repository of this machine alone took doesn't count as anchored, nor what an anchor took that
    contradicts the trail by now.
    """
    index = reader.index_of(event_id)
    if index is None:
        return Ack.RECEIVED
    note = reader.state().checkpoint
    if note is None or index >= parse_checkpoint(parse_note(note).text).size:
        return Ack.SEQUENCED
    reached = Ack.CHECKPOINTED
    if trust is not None and trust.quorum is not None:
        covering = {row.vkey for row in reader.witnesses() if row.note and row.size > index}
        keys = [key for key in trust.witness_keys if str(key) in covering]
        if not is_quorum(trust, keys):
            return reached
        reached = Ack.WITNESSED
    is_anchored = any(
        row.outside and row.note and row.size > index and not row.contradicts
        for row in reader.anchors()
    )
    return Ack.ANCHORED if is_anchored else reached

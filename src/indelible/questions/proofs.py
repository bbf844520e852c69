"""Evidence for a finding: the entry that it stands on, and that this is in the signed trail."""

from __future__ import annotations

import msgspec

from indelible.errors import QueryError
from indelible.store.protocol import TrailReader
from indelible.tlog import (
    Index,
    Size,
    TlogProof,
    inclusion_proof,
    parse_checkpoint,
    parse_note,
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, openly: `head` is what was hashed; `salt` and `body` are what it commits to.

    `proof` leads from the head's leaf hash to the root that the trail signed.
    """

    index: Index
    head: bytes
    salt: bytes
    body: bytes
    proof: TlogProof


class NotCheckpointedError(QueryError):
    """The entry is numbered, but no signed checkpoint covers it yet: ask again shortly."""


def prove(reader: TrailReader, indexes: tuple[Index, ...]) -> tuple[Evidence, ...]:
    """Evidence for each of these entries, all under the trail's last checkpoint.

    Nothing is verified here: whoever gets it verifies it (`tlog.verify_proof`) with a key of their
    own. Raises `NotCheckpointedError` for an entry that no checkpoint covers yet.
    """
    note = reader.state().checkpoint
    size = Size(0) if note is None else parse_checkpoint(parse_note(note).text).size
    if note is None or max(indexes) >= size:
        raise NotCheckpointedError(
            f"expected a checkpoint that covers entry {max(indexes)}, the last one covers {size}: "
            "ask again when the sequencer has signed"
        )
    return tuple(
        Evidence(
            index=index,
            head=reader.head(index),
            salt=reader.salt(index),
            body=reader.entry(index).body,
            proof=TlogProof(
                index=index,
                hashes=inclusion_proof(reader, index, size),
                signed_checkpoint=note,
            ),
        )
        for index in indexes
    )

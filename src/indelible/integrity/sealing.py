"""What of a trail may be sealed: what is signed and, where witnesses are to cosign, cosigned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from indelible.errors import VerificationError
from indelible.events.codec import format_time
from indelible.events.model import Timestamp
from indelible.integrity.faults import CheckpointError
from indelible.integrity.rotations import open_by
from indelible.integrity.tree import check_level, check_right_edge, levels
from indelible.store.places import Place
from indelible.store.segment import SEGMENT_BLOCKS, Segment
from indelible.store.sqlite_reader import SqliteReader
from indelible.store.sqlite_sealing import Sealer
from indelible.tlog import Checkpoint, VerifierKey


def seal_trail(
    reader: SqliteReader,
    keys: Sequence[VerifierKey],
    place: Place,
    place_name: str,
    *,
    before: Timestamp,
    witnessed_size: int | None = None,
    only_full: bool = True,
    most_blocks: int = SEGMENT_BLOCKS,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
) -> Iterator[Segment]:
    """Seal what was received before that time and is under a checkpoint that one of the trail's
    `keys` signed, the newest first.

    With `witnessed_size` no more than so many entries. Gives each segment when it is done. The tree
    down to the hash of each 256 entries must lead to the signed root, and each entry to its tree:
    else `VerificationError` is raised, and all stays where it was. See `Sealer.seal` for the rest.
    """
    state = reader.state()
    if state.checkpoint is None:
        return
    signed = _open(state.checkpoint, reader.origin, keys)
    for level in range(1, levels(signed.size)):
        for _ in check_level(reader, signed.size, level):
            pass
    check_right_edge(reader, signed.size, signed.root)
    limit = min(int(signed.size), reader.count_received_before(before))
    if witnessed_size is not None:
        limit = min(limit, witnessed_size)
    sealer = Sealer(reader.path, place, place_name, clock=lambda: format_time(clock()))
    yield from sealer.seal(limit, only_full=only_full, most_blocks=most_blocks)


def _open(note: bytes, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        return open_by(note, origin, keys).checkpoint
    except VerificationError as error:
        raise CheckpointError(
            0, f"expected a checkpoint signed by {keys[0].name}: {error}"
        ) from None

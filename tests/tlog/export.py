"""A trail written out as the directory of c2sp.org/tlog-tiles, for other programs to check."""

from collections.abc import Sequence
from pathlib import Path

from indelible.tlog import (
    FULL_WIDTH,
    Checkpoint,
    RightEdge,
    SigningKey,
    bundle_path,
    encode_bundle,
    leaf_hash,
    sign_checkpoint,
    tile_path,
)


def write_export(directory: Path, entries: Sequence[bytes], signer: SigningKey) -> None:
    """Write `checkpoint`, every tile and every entry bundle of the trail that has these entries.

    The key's name is the trail's origin.
    """
    growth = RightEdge().append([leaf_hash(entry) for entry in entries])
    for tile, row in growth.tiles:
        _write(directory / tile_path(tile), row)
    for start in range(0, len(entries), FULL_WIDTH):
        bundled = entries[start : start + FULL_WIDTH]
        path = bundle_path(start // FULL_WIDTH, len(bundled))
        _write(directory / path, encode_bundle(bundled))
    checkpoint = Checkpoint(origin=signer.name, size=growth.edge.size, root=growth.edge.root)
    _write(directory / "checkpoint", sign_checkpoint(checkpoint, signer))


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)

"""A trail as others see it: what its last checkpoint covers, and not a byte more.

Entries that were sequenced and are under no signed checkpoint yet aren't shown to anybody: a reader
could neither check them nor hold us to them.
"""

from __future__ import annotations

from indelible.integrity.faults import MissingEntryError
from indelible.integrity.resources import (
    Kind,
    NotPublishedError,
    Resource,
    encode_bodies,
    format_path,
)
from indelible.integrity.rotations import SigningKeys, open_by, rotations_in
from indelible.integrity.tree import width_in_tree
from indelible.store.protocol import TrailReader
from indelible.tlog import (
    FULL_WIDTH,
    Checkpoint,
    Tile,
    UnknownKeyError,
    VerifierKey,
    encode_bundle,
    format_rotations,
    open_checkpoint,
    read_exact,
)


class PublishedTree:
    """The trail under one signed checkpoint; it may have grown since."""

    def __init__(self, reader: TrailReader, note: bytes, checkpoint: Checkpoint) -> None:
        self._reader = reader
        self.note = note
        """The signed checkpoint, byte for byte."""
        self.checkpoint = checkpoint

    def read_tile(self, tile: Tile) -> bytes:
        """The hashes of the tile, or of its first `tile.width`: a `tlog.TileReader`."""
        self._check(Resource(Kind.TILE, tile))
        return read_exact(self._reader, tile)

    def read(self, resource: Resource) -> bytes:
        """The bytes of what is under the checkpoint, also where it is wider there by now.

        Raises `NotPublishedError` for what isn't, and what the store raises for a damaged trail.
        """
        kind, tile = resource
        if kind is Kind.TILE:
            return self.read_tile(tile)
        self._check(resource)
        first = tile.n * FULL_WIDTH
        entries = list(self._reader.committed(first, first + tile.width - 1))
        if len(entries) != tile.width:
            raise MissingEntryError(
                first + len(entries), f"the checkpoint covers {self.checkpoint.size} entries"
            )
        if kind is Kind.HEADS:
            return encode_bundle([entry.head for entry in entries])
        return encode_bodies([(entry.salt, entry.body) for entry in entries])

    def rotations(self) -> bytes:
        """The rotations under the checkpoint, as they are served; empty where there are none."""
        covered = self.checkpoint.size
        return format_rotations(
            [note for index, note in rotations_in(self._reader) if index < covered]
        )

    def _check(self, resource: Resource) -> None:
        kind, tile = resource
        size = self.checkpoint.size
        if tile.width > width_in_tree(tile, size):
            raise NotPublishedError(
                f"expected {kind.value} of the tree of size {size}, came {format_path(resource)}"
            )


class PublishedTrail:
    """A trail that goes on; threads may share it."""

    def __init__(self, reader: TrailReader) -> None:
        self._reader = reader
        self._last: PublishedTree | None = None

    @property
    def key(self) -> VerifierKey:
        """The newest public key that the trail says it is signed with."""
        return VerifierKey.parse(self._reader.vkey)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The newest, and those before it."""
        keys = SigningKeys(self.key)
        keys.add_all(rotations_in(self._reader), self._reader.size)
        return (keys.newest, *keys.earlier)

    @property
    def origin(self) -> str:
        return self._reader.origin

    def current(self) -> PublishedTree:
        """The trail under its last checkpoint.

        Raises `NotPublishedError` before the first one, and `VerificationError` where it isn't one
        by the trail's key: what can't be checked isn't passed on.
        """
        note = self._reader.state().checkpoint
        if note is None:
            raise NotPublishedError("expected a signed checkpoint, the trail has none yet")
        last = self._last
        if last is None or last.note != note:
            try:
                opened = open_checkpoint(note, origin=self.origin, log_key=self.key)
            except UnknownKeyError:
                # A rotation that isn't signed yet: the checkpoint is by the key before.
                opened = open_by(note, self.origin, self.keys)
            last = self._last = PublishedTree(self._reader, note, opened.checkpoint)
        return last

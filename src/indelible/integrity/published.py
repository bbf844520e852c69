"""A trail as others see it: what its last checkpoint covers, and not a byte more.

Entries that were sequenced and are under no signed checkpoint yet aren't shown to anybody: a reader
could neither check them nor hold us to them.

Each witness's last cosigned checkpoint is shown beside: a trail that grows has a newer checkpoint
than any witness saw. What they cosigned of the last one itself stands under that, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from indelible.errors import VerificationError
from indelible.integrity.faults import MissingEntryError
from indelible.integrity.resources import (
    Kind,
    NotPublishedError,
    Resource,
    cosigned_path,
    encode_bodies,
    format_path,
)
from indelible.integrity.rotations import keys_in, open_by
from indelible.integrity.tree import width_in_tree
from indelible.store.entry import NO_SALT
from indelible.store.protocol import TrailReader, WitnessRow
from indelible.tlog import (
    FULL_WIDTH,
    Checkpoint,
    OpenedCheckpoint,
    Tile,
    UnknownKeyError,
    VerifierKey,
    add_signatures,
    encode_bundle,
    format_note,
    format_rotations,
    parse_note,
    read_exact,
)

_log = logging.getLogger(__name__)


class PublishedTree:
    """The trail under one signed checkpoint; it may have grown since."""

    def __init__(
        self,
        reader: TrailReader,
        note: bytes,
        checkpoint: Checkpoint,
        cosigned: Mapping[str, bytes],
    ) -> None:
        self._reader = reader
        self.note = note
        """The signed checkpoint, with the cosignatures that there are over it."""
        self.checkpoint = checkpoint
        self.cosigned = cosigned
        """By its path, the last checkpoint that a witness cosigned: none is of more entries."""
        self._rotations: bytes | None = None

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
        return encode_bodies([(entry.salt or NO_SALT, entry.body) for entry in entries])

    def rotations(self) -> bytes:
        """The rotations under the checkpoint that led to the trail's key, as they are served; empty
        where there are none."""
        if self._rotations is None:
            notes = keys_in(self._reader).notes(self.checkpoint.size)
            self._rotations = format_rotations(notes)
        return self._rotations

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
        # One value, so that no thread takes the tree of one state for that of another.
        self._last: tuple[bytes, tuple[WitnessRow, ...], PublishedTree] | None = None

    @property
    def key(self) -> VerifierKey:
        """The newest public key that the trail says it is signed with."""
        return VerifierKey.parse(self._reader.vkey)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The newest, and those before it."""
        keys = keys_in(self._reader)
        return (keys.newest, *keys.earlier)

    @property
    def origin(self) -> str:
        return self._reader.origin

    def current(self) -> PublishedTree:
        """The trail under its last checkpoint.

        Raises `NotPublishedError` before the first one, and `VerificationError` where it isn't one
        by the trail's key: what can't be checked isn't passed on.
        """
        # Before the checkpoint, so that none is of more entries than it.
        rows = self._reader.witnesses()
        note = self._reader.state().checkpoint
        if note is None:
            raise NotPublishedError("expected a signed checkpoint, the trail has none yet")
        last = self._last
        if last is None or last[:2] != (note, rows):
            last = self._last = (note, rows, self._tree(note, rows))
        return last[2]

    def _tree(self, note: bytes, rows: tuple[WitnessRow, ...]) -> PublishedTree:
        opened = self._open(note)
        cosigned = self._checked(rows)
        merged = parse_note(note)
        for each in map(parse_note, cosigned.values()):
            if each.text == merged.text:
                merged = add_signatures(merged, each.signatures)
        return PublishedTree(self._reader, format_note(merged), opened.checkpoint, cosigned)

    def _open(self, note: bytes, *witness_keys: VerifierKey) -> OpenedCheckpoint:
        try:
            return open_by(note, self.origin, [self.key], witness_keys)
        except UnknownKeyError:
            # It may be from before a rotation, or that isn't signed yet.
            return open_by(note, self.origin, self.keys, witness_keys)

    def _checked(self, rows: tuple[WitnessRow, ...]) -> dict[str, bytes]:
        """By path, those that are cosigned as they say. One that isn't is missed by readers, and
        holds nothing else up.
        """
        found = {}
        for row in rows:
            if row.note is None:
                continue
            try:
                witness = VerifierKey.parse(row.vkey)
                opened = self._open(row.note, witness)
            except VerificationError as error:
                _log.error("a cosignature that is kept isn't one: %s", error)
                continue
            if opened.cosignatures:
                found[cosigned_path(witness)] = row.note
        return found

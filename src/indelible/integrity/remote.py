"""`verify --url`: a trail on another machine, whose every byte is doubted.

Needs the trail's public key, from whom one trusts, and no database driver. In this order: the
checkpoint's signature; the tree's right edge; its upper tiles; that the tree continues the one seen
before, and those that witnesses cosigned; then each bundle of heads against its tile and that tile
against the tree, and, with a token, each body against its head. The first fault raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from indelible.errors import EventError, VerificationError
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.integrity.assurance import Tree, Witnessed, check_cosignatures, require
from indelible.integrity.faults import (
    CheckpointError,
    CosignatureError,
    EntryMismatchError,
    HeadMismatchError,
    MissingEntryError,
    RollbackError,
    StrayEntryError,
    TileMismatchError,
    TrailFaultError,
    UnauthorisedActError,
)
from indelible.integrity.fetching import Fetcher, OversizedAnswerError, UnreachableTrailError
from indelible.integrity.resources import (
    CHECKPOINT_PATH,
    ROTATIONS_PATH,
    Kind,
    MalformedBodiesError,
    Resource,
    cosigned_path,
    format_path,
    most_bytes,
    parse_bodies,
)
from indelible.integrity.retention_ledger import RetentionLedger, Retentions
from indelible.integrity.rotations import KeyLine, SigningKeys
from indelible.integrity.seen import UNWITNESSED, Progress, Seen, check_seen
from indelible.integrity.tree import check_level, check_right_edge, first_entry, levels, split_row
from indelible.store.entry import format_head, format_stem
from indelible.store.protocol import WitnessRow
from indelible.tlog import (
    FULL_WIDTH,
    HASH_BYTES,
    MAX_NOTE_BYTES,
    MAX_ROTATIONS_BYTES,
    Checkpoint,
    Hash,
    MalformedBundleError,
    Size,
    Tile,
    TrustPolicy,
    VerifierKey,
    leaf_hash,
    open_checkpoint,
    opened_rotations,
    parse_bundle,
    parse_checkpoint,
    parse_note,
    parse_rotations,
    tile_of_tree,
)

T = TypeVar("T")


class RemoteVerification(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified from afar, and what that is worth.

    `since` is the size from which on entries were hashed again: 0 for all of them. Without
    `with_bodies` only heads were: what happened isn't known, only that nothing of it changed. Of
    bodies that retention dropped who may authorise that isn't known here (`Retentions.unchecked`).
    """

    origin: str
    size: int
    root: bytes
    vkey: str
    since: int
    with_bodies: bool
    retentions: Retentions = Retentions()
    assurance: str = UNWITNESSED
    witnessed: Witnessed | None = None

    @property
    def seen(self) -> Seen:
        return Seen(origin=self.origin, size=self.size, root=self.root, vkey=self.vkey)


def verify_remote(
    fetcher: Fetcher,
    key: VerifierKey,
    *,
    seen: Seen | None = None,
    only_new: bool = False,
    with_bodies: bool = False,
    trust: TrustPolicy | None = None,
    now: int | None = None,
    max_age_s: int | None = None,
    progress: Progress = lambda done, of: None,
) -> RemoteVerification:
    """Return only if what is served is what `key` signed, whole, and grown from `seen`.

    From `key`, and from the one that signed what was seen, the rotations that are served must lead
    to a key that signed the checkpoint. Of rotations that are held back, only bodies tell.
    `only_new` hashes the entries behind `seen` alone. Holds one bundle at a time. `trust`, `now`
    and `max_age_s` are those of `verifier.verify_trail`. Raises a `TrailFaultError` or another
    `VerificationError` for what doesn't hold, and `UnreachableTrailError` where that can't be told.
    """
    trail = _RemoteTrail(fetcher)
    # Before the checkpoint, which then is of no fewer entries than any of them.
    rows = trail.cosigned(trust) if trust is not None else []
    note, signed, line = trail.checkpoint(key, seen)
    size = signed.size
    if seen is not None and size < seen.size:
        raise RollbackError(last_seen=seen.size, offered=int(size))
    since = seen.size if seen is not None and only_new else 0
    check_right_edge(trail, size, signed.root)
    for level in reversed(range(1, levels(size))):
        for _ in check_level(trail, size, level, since):
            pass
    tiles = _ProvenTiles(trail, size)
    if seen is not None:
        check_seen(tiles, origin=signed.origin, size=size, root=signed.root, seen=seen)
    line.check_tree(tiles, size, signed.root)
    following = SigningKeys(line.newest)
    witnessed = None
    if trust is not None:
        rows += _cosigned_itself(note, trust)
        newest, *earlier = line.keys
        tree = Tree(newest, signed.origin, size, signed.root, tiles, tuple(earlier))
        cosigned = check_cosignatures(rows, trust, tree)
        at = int(time.time()) if now is None else now
        witnessed = require(cosigned, trust, tree, now=at, max_age_s=max_age_s)
    retention = RetentionLedger(None, origin=signed.origin)
    for tile, row in check_level(trail, size, 0, since):
        heads = trail.heads(tile, row)
        if with_bodies:
            for index, event in _check_bodies(tile, heads, trail.bodies(tile)):
                if event is None and since:
                    raise UnauthorisedActError(
                        index, "its body is gone; who allowed that, reading all entries tells"
                    )
                if event is None:
                    retention.drop(index)
                    continue
                following.add(index, event)
                if not since:
                    retention.add(index, event)
        progress(first_entry(tile) + tile.width, int(size))
    if following.newest != line.newest:
        raise CheckpointError(
            0,
            f"expected a checkpoint signed by {following.newest}, which the entries say has taken "
            f"over from {line.newest}: that one signs nothing more",
        )
    return RemoteVerification(
        origin=signed.origin,
        size=int(size),
        root=signed.root,
        vkey=str(line.newest),
        since=since,
        with_bodies=with_bodies,
        retentions=retention.finish(lambda block: _hash_of(tiles, block, size)),
        assurance=UNWITNESSED if witnessed is None else str(witnessed),
        witnessed=witnessed,
    )


class _RemoteTrail:
    """Tiles, heads and bodies of exactly the length that the tree's size asks for."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._has_bodies = False

    def cosigned(self, trust: TrustPolicy) -> list[WitnessRow]:
        """What is said to be the last that each witness of `trust` cosigned, unchecked."""
        rows = []
        for key in trust.witness_keys:
            try:
                note = self._fetcher.fetch(cosigned_path(key), max_bytes=MAX_NOTE_BYTES)
            except OversizedAnswerError as error:
                raise CosignatureError(0, f"said to be cosigned by {key}: {error}") from None
            if note is not None:
                rows.append(WitnessRow(str(key), Size(0), 0, note))
        return rows

    def checkpoint(self, key: VerifierKey, seen: Seen | None) -> tuple[bytes, Checkpoint, KeyLine]:
        """The signed note, what it says, and the keys from `key` to the one that signed it."""
        keys = SigningKeys(key, None if seen is None else VerifierKey.parse(seen.vkey))
        try:
            note = self._fetcher.fetch(CHECKPOINT_PATH, max_bytes=MAX_NOTE_BYTES)
            if note is not None:
                # Behind the checkpoint, so that none that it covers is missing.
                served = self._fetcher.fetch(ROTATIONS_PATH, max_bytes=MAX_ROTATIONS_BYTES)
                size = parse_checkpoint(parse_note(note).text).size
                opened = opened_rotations(parse_rotations(served or b""), origin=key.name)
                # One that came since is about a tree as large, or larger.
                covered = [raw for raw, rotation in opened if rotation.size < size]
                keys.add_all(enumerate(covered), len(covered))
                signed = open_checkpoint(note, origin=key.name, log_key=keys.newest)
                return note, signed.checkpoint, keys.line
        except CheckpointError:
            raise
        except VerificationError as error:
            raise CheckpointError(
                0, f"expected a checkpoint signed by {key.name}: {error}"
            ) from None
        raise UnreachableTrailError(
            "expected a checkpoint at this URL, there is none: is it a trail's?"
        )

    def read_tile(self, tile: Tile) -> bytes:
        """A `tlog.TileReader`, not proven yet."""

        def parse(raw: bytes, width: int) -> bytes:
            if len(raw) != width * HASH_BYTES:
                raise TileMismatchError(
                    first_entry(tile),
                    f"tile {tile.level}/{tile.n}: expected {width * HASH_BYTES} bytes, "
                    f"came {len(raw)}",
                )
            return raw[: tile.width * HASH_BYTES]

        return self._read(Resource(Kind.TILE, tile), parse, TileMismatchError)

    def heads(self, tile: Tile, row: bytes) -> list[bytes]:
        """The heads whose leaves `row` has, the proven hashes of `tile`."""

        def parse(raw: bytes, width: int) -> list[bytes]:
            try:
                heads = parse_bundle(raw, width)[: tile.width]
            except MalformedBundleError as error:
                raise _first_fault(tile, raw, row, error) from None
            if (place := _first_difference(heads, row)) is not None:
                raise EntryMismatchError(
                    first_entry(tile) + place, "the head isn't what was committed to"
                )
            return heads

        return self._read(Resource(Kind.HEADS, tile), parse, MissingEntryError)

    def bodies(self, tile: Tile) -> list[tuple[bytes, bytes]]:
        """Salts and bodies, not held against their heads yet.

        Raises `UnreachableTrailError` where there never were any.
        """

        def parse(raw: bytes, width: int) -> list[tuple[bytes, bytes]]:
            try:
                return parse_bodies(raw, width)[: tile.width]
            except MalformedBodiesError as error:
                raise EntryMismatchError(first_entry(tile), str(error)) from None

        try:
            bodies = self._read(Resource(Kind.BODIES, tile), parse, MissingEntryError)
        except MissingEntryError:
            if self._has_bodies:
                raise
            raise UnreachableTrailError(
                "expected bodies at this URL, there are none: are they served here?"
            ) from None
        self._has_bodies = True
        return bodies

    def _read(
        self,
        resource: Resource,
        parse: Callable[[bytes, int], T],
        missing: type[TileMismatchError] | type[MissingEntryError],
    ) -> T:
        """A partial one that is gone is the beginning of a full one by now."""
        first = first_entry(resource.tile)
        full = resource._replace(tile=Tile(resource.tile.level, resource.tile.n))
        for each in dict.fromkeys((resource, full)):
            path = format_path(each)
            try:
                raw = self._fetcher.fetch(
                    path, max_bytes=most_bytes(each), with_token=each.kind is Kind.BODIES
                )
                if raw is not None:
                    return parse(raw, each.tile.width)
            except OversizedAnswerError as error:
                raise TileMismatchError(first, str(error)) from None
        raise missing(first, f"expected {format_path(resource)}, which the checkpoint covers")


class _ProvenTiles:
    """A `tlog.TileReader` of a tree whose upper tiles are proven."""

    def __init__(self, trail: _RemoteTrail, size: Size) -> None:
        self._trail = trail
        self._size = size

    def read_tile(self, tile: Tile) -> bytes:
        """Proven: one that was changed is named, and isn't taken for another history."""
        if tile.level > 0:
            return self._trail.read_tile(tile)
        _, row = next(check_level(self._trail, self._size, 0, first_entry(tile)))
        return row[: tile.width * HASH_BYTES]


def _cosigned_itself(note: bytes, trust: TrustPolicy) -> list[WitnessRow]:
    """What stands under the checkpoint in the names of the policy's witnesses."""
    claimed = {(each.name, each.key_id) for each in parse_note(note).signatures}
    return [
        WitnessRow(str(key), Size(0), 0, note)
        for key in trust.witness_keys
        if (key.name, key.key_id) in claimed
    ]


def _first_difference(heads: list[bytes], row: bytes) -> int | None:
    """The place of the first head that isn't the leaf there, as far as there are both."""
    for place, (head, leaf) in enumerate(zip(heads, split_row(row), strict=False)):
        if leaf_hash(head) != leaf:
            return place
    return None


def _first_fault(
    tile: Tile, raw: bytes, row: bytes, error: MalformedBundleError
) -> TrailFaultError:
    """What is wrong with a bundle of a wrong length: one taken out shows where it was."""
    heads: list[bytes] = []
    at = 0
    while at + 2 <= len(raw) and len(heads) < tile.width:
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            break
        heads.append(raw[at + 2 : end])
        at = end
    if (place := _first_difference(heads, row)) is not None:
        return EntryMismatchError(
            first_entry(tile) + place, f"the head isn't what was committed to; {error}"
        )
    kind = StrayEntryError if len(heads) == tile.width else MissingEntryError
    return kind(first_entry(tile) + len(heads), str(error))


def _hash_of(tiles: _ProvenTiles, block: int, size: Size) -> Hash:
    """What the tree says of a whole block."""
    above, at = divmod(block, FULL_WIDTH)
    row = tiles.read_tile(tile_of_tree(1, above, size))
    return Hash(row[at * HASH_BYTES : (at + 1) * HASH_BYTES])


def _check_bodies(
    tile: Tile, heads: list[bytes], bodies: list[tuple[bytes, bytes]]
) -> Iterator[tuple[int, Event | None]]:
    """Index and event of each, once it was held against its head; None where the body is gone."""
    for place, (head, (salt, body)) in enumerate(zip(heads, bodies, strict=True)):
        index = first_entry(tile) + place
        if not body:
            yield index, None
            continue
        commitment = format_head(b"", salt, body)
        if not head.endswith(commitment):
            raise EntryMismatchError(index, "body or salt isn't what the head commits to")
        try:
            event = decode_event(body)
        except EventError as error:
            raise HeadMismatchError(index, f"the body is no event: {error}") from None
        if head != format_stem(event.producer, event.kind) + commitment:
            raise HeadMismatchError(index, "head and body tell of different events")
        yield index, event

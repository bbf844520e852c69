"""`verify`: everything stored is hashed again, derived again, and held against the signed root.

In this order, so that the first thing that is wrong can be named: the checkpoint's signature; the
tiles, from the root down; each entry against its leaf; then what is derived from the entries
(batches, positions, index, notices). The first fault raises; nothing is repaired.

Where an earlier verification left word of itself, that can be gone on from: the tree must begin
with the one that it found, and the entries behind that are read, with what is derived from them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from indelible.errors import EventError, VerificationError
from indelible.events.codec import decode_event, format_time
from indelible.events.model import Event
from indelible.integrity.act_check import ActCheck
from indelible.integrity.acts import Acts
from indelible.integrity.anchors import Anchor, AnchorFinding, Looked, check_looked, look_at, row_of
from indelible.integrity.assurance import Tree, Witnessed, check_cosignatures, require
from indelible.integrity.authorisations import Authorisers
from indelible.integrity.derived import Derived
from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    HeadMismatchError,
    MissingEntryError,
    StrayEntryError,
    TileMismatchError,
    UncheckpointedError,
)
from indelible.integrity.producers import ProducerCheck, Reread
from indelible.integrity.retention_ledger import Retentions
from indelible.integrity.rotations import SigningKeys, rotations_in
from indelible.integrity.seen import UNWITNESSED, Progress, Seen, check_seen
from indelible.integrity.tree import (
    check_level,
    check_right_edge,
    first_entry,
    levels,
    width_in_tree,
)
from indelible.integrity.verified import Earlier, Signed, Verified
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.entry import Dropped, format_stem, leaf_of, parse_head
from indelible.store.keystore import Keystore
from indelible.store.sqlite_audit import BlockRow, SqliteAudit, TrailRow, audit_trail
from indelible.store.sqlite_reader import SqliteReader
from indelible.tlog import (
    FULL_WIDTH,
    HASH_BYTES,
    TILE_HEIGHT,
    Hash,
    Tile,
    TrustPolicy,
    VerifierKey,
    open_checkpoint,
    parse_checkpoint,
    parse_note,
    root_of,
    tile_of_tree,
)

_SIGNING_S: Final = 1.0
"""At most so long there are entries that aren't signed yet, as long as the signer answers."""
_LOOK_S: Final = 0.02
_KEPT_BLOCKS: Final = 32
"""So many stay at hand: processes that wrote at the same time have entries in the same ones."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified, and what that is worth.

    `checkpoint` is the signed note. Entries from index `since` on were read: 0 for all of them;
    those before it were taken as an `earlier` verification found them, and so was what is derived
    from them: `batches` counts those that were compared. `witnessed` is None without a trust
    policy, or where no witness of it cosigned anything. `anchors` are what each of the anchors that
    were asked is worth.
    """

    origin: str
    size: int
    root: bytes
    vkey: str
    checkpoint: str
    since: int
    earlier: Earlier | None = None
    batches: int
    sources: int
    quarantined: int
    unacknowledged: int
    signed: Signed
    acts: Acts = Acts()
    retentions: Retentions = Retentions()
    assurance: str = UNWITNESSED
    witnessed: Witnessed | None = None
    anchors: tuple[AnchorFinding, ...] = ()

    @property
    def seen(self) -> Seen:
        return Seen(origin=self.origin, size=self.size, root=self.root, vkey=self.vkey)


def verify_trail(
    path: Path,
    key: VerifierKey,
    *,
    seen: Seen | None = None,
    earlier: Verified | None = None,
    on_verified: Callable[[Verified], None] = lambda verified: None,
    with_index: bool = True,
    trust: TrustPolicy | None = None,
    now: int | None = None,
    max_age_s: int | None = None,
    enrolment: VerifierKey | None = None,
    anchors: Sequence[Anchor] = (),
    authorisers: Authorisers | None = None,
    keystore: Keystore | None = None,
    progress: Progress = lambda done, of: None,
) -> Verification:
    """Return only if the trail at `path` is what `key` signed, whole, and grown from `seen`.

    Where entries of the trail lead on from `key`, and from the key that was `seen`, by rotations,
    the newest must have signed it; `Verification.vkey` is that.

    With what an `earlier` verification left, only entries behind it are read, and what is derived
    from them: an edit before it isn't found. All is read all the same where that one was told
    another `enrolment` key. `on_verified` is given what the next verification can go on from.

    `with_index=False` checks the proof only. `enrolment` is the key that enrols the processes whose
    signatures count; without it any does. Under `trust` each cosignature of its witnesses is
    checked, and where it asks for a quorum there must be one, with `max_age_s` no older than that
    at the POSIX second `now`. Each of `anchors` is read back, and held against the trail.
    Erasures and holds must be signed by `authorisers`, and keys be there or gone in `keystore` as
    the entries say, where these are given and all entries are read.

    Raises a `TrailFaultError`, or another `VerificationError` for bytes that can't be decoded, a
    tlog that `trust` doesn't list, and an anchor that lost what it took.
    """
    moment = time.time_ns() // 1_000 if now is None else now * 1_000_000
    if earlier is not None and (not with_index or earlier.signed.enrolment != _text(enrolment)):
        earlier = None
    since = 0 if earlier is None else earlier.what.size
    # Before the entries, and again behind them: who is erased or enrolled meanwhile isn't missed.
    tokens = None if keystore is None else keystore.tokens()
    looked = _look_at_anchors(path, anchors)
    with _between_batches(path) as audit:
        trail = audit.trail()
        before = seen
        if before is None and earlier is not None and earlier.origin == key.name:
            before = earlier.seen
        keys = SigningKeys(key, None if before is None else VerifierKey.parse(before.vkey))
        if since or not with_index or trust or anchors or not keys.have_signed(trail.checkpoint):
            # Not all entries are read below, or not before something has to be believed.
            with contextlib.closing(SqliteReader(path)) as reader:
                keys.add_all(rotations_in(reader), trail.size)
        _check_checkpoint(trail, keys.newest)
        derived = Derived(audit, trail, earlier) if with_index else None
        first = 0 if derived is None else derived.first
        sealed = _check_segments(audit, int(trail.size))
        _check_tiles(audit, trail, first, sealed)
        for one in (seen, None if earlier is None else earlier.seen):
            if one is not None:
                check_seen(audit, origin=trail.origin, size=trail.size, root=trail.root, seen=one)
        witnessed = None
        tree = Tree(keys.newest, trail.origin, trail.size, trail.root, audit, keys.earlier)
        if trust is not None:
            cosigned = check_cosignatures(audit.witnesses(), trust, tree)
            witnessed = require(cosigned, trust, tree, now=moment // 1_000_000, max_age_s=max_age_s)
        anchored = tuple(check_looked(each, tree) for each in looked)
        producers = ProducerCheck(
            enrolment, own=trail.source_id, earlier=earlier, reread=_rereader(audit, trail, sealed)
        )
        ledger = ActCheck(authorisers, origin=trail.origin, has_keys=tokens is not None)
        checks = producers, keys, ledger
        _check_entries(audit, trail, (first, since), sealed, derived, checks, progress)
        signed = producers.finish()
        _check_checkpoint(trail, keys.newest)
        keys.check_tree(audit, trail.size, trail.root)
        acts, retentions = Acts(), Retentions()
        if since == 0:
            retentions = ledger.finish_retention(lambda block: _hash_of(audit, block))
        if derived is not None:
            derived.finish()
            if since == 0:
                acts = ledger.finish(tokens, None if keystore is None else keystore.tokens())
            on_verified(_verified(trail, keys.newest, earlier, derived, producers, moment))
        return Verification(
            origin=trail.origin,
            size=int(trail.size),
            root=trail.root,
            vkey=str(keys.newest),
            checkpoint=(trail.checkpoint or b"").decode(),
            since=since,
            earlier=None if earlier is None else earlier.what,
            batches=0 if derived is None else derived.batches,
            sources=len(audit.sources()),
            quarantined=audit.count_quarantined(),
            unacknowledged=sum(by is None for by in audit.notices().values()),
            signed=signed,
            acts=acts,
            retentions=retentions,
            assurance=UNWITNESSED if witnessed is None else str(witnessed),
            witnessed=witnessed,
            anchors=anchored,
        )


@contextlib.contextmanager
def _between_batches(path: Path) -> Iterator[SqliteAudit]:
    """The trail at a moment when all is signed; whatever there is where none comes for so long.

    One that is in use commits its entries first, and then the checkpoint over them.
    """
    ends = time.monotonic() + _SIGNING_S
    while True:
        with audit_trail(path) as audit:
            if time.monotonic() >= ends or not _is_being_signed(audit.trail()):
                yield audit
                return
        time.sleep(_LOOK_S)


def _is_being_signed(trail: TrailRow) -> bool:
    with contextlib.suppress(VerificationError):
        if trail.checkpoint is not None:
            return parse_checkpoint(parse_note(trail.checkpoint).text).size < trail.size
    return False


def _look_at_anchors(path: Path, anchors: Sequence[Anchor]) -> list[Looked]:
    if not anchors:
        return []
    with contextlib.closing(SqliteReader(path)) as reader:
        rows = reader.anchors()
    return [look_at(anchor, row_of(rows, anchor.name)) for anchor in anchors]


def _verified(
    trail: TrailRow,
    key: VerifierKey,
    earlier: Verified | None,
    derived: Derived,
    producers: ProducerCheck,
    moment: int,
) -> Verified:
    size, at = int(trail.size), format_time(moment)
    whole = (size, at) if earlier is None else (earlier.what.whole_size, earlier.what.whole_time)
    return Verified(
        origin=trail.origin,
        root=trail.root,
        vkey=str(key),
        what=Earlier(size=size, time=at, whole_size=whole[0], whole_time=whole[1]),
        signed=producers.finish(),
        sources=derived.so_far(),
        producers=producers.so_far(),
        noticed=derived.noticed(),
    )


def _text(key: VerifierKey | None) -> str | None:
    return None if key is None else str(key)


def _check_checkpoint(trail: TrailRow, key: VerifierKey) -> None:
    if trail.checkpoint is None:
        raise CheckpointError(0, "expected a signed checkpoint, there is none")
    try:
        signed = open_checkpoint(trail.checkpoint, origin=trail.origin, log_key=key).checkpoint
    except VerificationError as error:
        raise CheckpointError(0, f"expected a checkpoint signed by {key.name}: {error}") from None
    if signed.size < trail.size:
        raise UncheckpointedError(
            signed.size,
            f"entries from here to {trail.size - 1} are under no signed checkpoint: a crash leaves "
            "that until the next start of the application or of `indelible relay`, and so does an "
            "insertion",
        )
    if signed.size > trail.size:
        raise MissingEntryError(
            trail.size, f"the trail ends here, its checkpoint covers {signed.size} entries"
        )
    if signed.root != trail.root:
        raise CheckpointError(
            0, f"expected the signed root {signed.root.hex()}, the trail has {trail.root.hex()}"
        )


def _check_segments(audit: SqliteAudit, size: int) -> int:
    """How many entries are in segments, which follow each other from the first one on."""
    sealed = 0
    for segment in audit.segments():
        blocks = segment.last + 1 - segment.first
        if segment.first != sealed or blocks <= 0 or blocks % BLOCK_ENTRIES:
            raise MissingEntryError(sealed, f"expected a segment from here on, there is {segment}")
        sealed = segment.last + 1
    if sealed > size:
        raise StrayEntryError(size, f"segments go up to entry {sealed - 1}")
    return sealed


def _check_tiles(audit: SqliteAudit, trail: TrailRow, first: int, sealed: int) -> None:
    """Every tile hashes to its place in the tile above, and the topmost to the signed root.

    Of each level from the tile on that covers the entry at `first`. Of sealed entries there are no
    tiles of level 0: their blocks are held against level 1.
    """
    size = trail.size
    for level in range(levels(size)):
        n = max(first, 0 if level else sealed) >> (TILE_HEIGHT * (level + 1))
        for found, length in audit.tiles(level, n):
            tile = Tile(level, found)
            width = width_in_tree(tile, size)
            if not width:
                raise StrayEntryError(
                    first_entry(tile), f"tile {level}/{found} is beyond the tree of size {size}"
                )
            if found != n:
                break
            if length != width * HASH_BYTES:
                raise TileMismatchError(
                    first_entry(tile), f"tile {level}/{n} has a wrong length of {length}"
                )
            n += 1
        if width_in_tree(Tile(level, n), size):
            raise TileMismatchError(first_entry(Tile(level, n)), f"tile {level}/{n} is missing")
    if sealed and next(audit.tiles(0, 0), (sealed, 0))[0] < sealed // BLOCK_ENTRIES:
        raise StrayEntryError(0, "there are tiles of level 0 of sealed entries")
    if strays := audit.count_tiles_beyond(levels(size)):
        raise StrayEntryError(size, f"{strays} tiles are of no level of the tree of size {size}")
    for level in range(levels(size)):
        for _ in check_level(audit, size, level, max(first, 0 if level else sealed)):
            pass
    check_right_edge(audit, size, trail.root)


def _check_entries(
    audit: SqliteAudit,
    trail: TrailRow,
    bounds: tuple[int, int],
    sealed: int,
    derived: Derived | None,
    checks: tuple[ProducerCheck, SigningKeys, ActCheck],
    progress: Progress,
) -> None:
    """From the first of `bounds` on; those before the second were verified before."""
    size = int(trail.size)
    start, since = bounds
    n = start // BLOCK_ENTRIES
    for block in audit.blocks(n):
        _check_block(audit, trail, block, n, sealed)
        if derived is not None:
            derived.add(block, _checked_events(block, since, *checks))
        n += 1
        progress(min(n * BLOCK_ENTRIES, size) - start, size - start)
    if n * BLOCK_ENTRIES < size:
        raise MissingEntryError(n * BLOCK_ENTRIES, f"the checkpoint covers {size} entries")


def _check_block(audit: SqliteAudit, trail: TrailRow, block: BlockRow, n: int, sealed: int) -> None:
    """It is block `n`, and has the entries that the checkpoint says; their tile is proven."""
    size = int(trail.size)
    if block.n != n:
        raise (StrayEntryError if block.n * BLOCK_ENTRIES >= size else MissingEntryError)(
            n * BLOCK_ENTRIES, f"expected block {n}, there is block {block.n} instead"
        )
    first = n * BLOCK_ENTRIES
    count = min(BLOCK_ENTRIES, size - first)
    if count <= 0:
        raise StrayEntryError(max(first, size), f"the checkpoint covers {size} entries")
    if first < sealed:
        _check_sealed(audit, block)
    else:
        _check_leaves(audit, block, tile_of_tree(0, n, trail.size))
    if len(block.bodies) > count:
        raise StrayEntryError(size, f"the checkpoint covers {size} entries")
    if len(block.bodies) < count:
        raise MissingEntryError(first + len(block.bodies), f"the checkpoint covers {size} entries")


def _rereader(audit: SqliteAudit, trail: TrailRow, sealed: int) -> Reread:
    """Gives entries that were verified before once more, proven to be those."""

    @lru_cache(_KEPT_BLOCKS)
    def bodies(n: int) -> list[bytes]:
        lowest = 1 if n * BLOCK_ENTRIES < sealed else 0
        for level in reversed(range(lowest, levels(trail.size))):
            next(check_level(audit, trail.size, level, n * BLOCK_ENTRIES), None)
        block = next(audit.blocks(n), None)
        if block is None:
            raise MissingEntryError(n * BLOCK_ENTRIES, f"block {n} is missing")
        _check_block(audit, trail, block, n, sealed)
        return block.bodies

    def reread(first: int, last: int) -> Iterator[tuple[int, bytes]]:
        for index in range(first, last + 1):
            yield index, bodies(index // BLOCK_ENTRIES)[index % BLOCK_ENTRIES]

    return reread


def _check_sealed(audit: SqliteAudit, block: BlockRow) -> None:
    """A sealed block's leaves lead to its hash in the tile of level 1, which is proven by now."""
    if root_of(list(map(leaf_of, block.stems, block.salts, block.bodies))) != _hash_of(
        audit, block.n
    ):
        raise EntryMismatchError(
            block.n * BLOCK_ENTRIES,
            f"body, salt or head of one of the {BLOCK_ENTRIES} entries from here on isn't what was "
            "committed to",
        )


def _hash_of(audit: SqliteAudit, block: int) -> Hash:
    """What the tree says of a whole block."""
    above, at = divmod(block, FULL_WIDTH)
    return Hash(audit.read_tile(Tile(1, above, at + 1))[at * HASH_BYTES :])


def _check_leaves(audit: SqliteAudit, block: BlockRow, tile: Tile) -> None:
    """Level 0 tiles and blocks have 256 entries both, and the tiles are proven by now.

    As far as there are both: an entry taken out or put in shows where it was, by its neighbours.
    """
    leaves = b"".join(map(leaf_of, block.stems, block.salts, block.bodies))
    proven = audit.read_tile(tile)
    if leaves == proven:
        return
    for at in range(0, min(len(proven), len(leaves)), HASH_BYTES):
        if leaves[at : at + HASH_BYTES] != proven[at : at + HASH_BYTES]:
            raise EntryMismatchError(
                block.n * BLOCK_ENTRIES + at // HASH_BYTES,
                "body, salt or head isn't what was committed to",
            )


def _events(block: BlockRow) -> Iterator[Event | Dropped]:
    """One by one: a block of decoded events doesn't fit a processor's cache."""
    for place, body in enumerate(block.bodies):
        index = block.n * BLOCK_ENTRIES + place
        if not body:
            yield parse_head(block.stems[place])
            continue
        try:
            event = decode_event(body)
        except EventError as error:
            raise HeadMismatchError(index, f"the body is no event: {error}") from None
        if format_stem(event.producer, event.kind) != block.stems[place]:
            raise HeadMismatchError(index, "head and body tell of different events")
        yield event


def _checked_events(
    block: BlockRow, since: int, producers: ProducerCheck, keys: SigningKeys, acts: ActCheck
) -> Iterator[Event | Dropped]:
    first = block.n * BLOCK_ENTRIES
    for place, event in enumerate(_events(block)):
        if isinstance(event, Dropped):
            if first + place >= since:
                producers.drop(event.producer)
            acts.drop(first + place)
            yield event
            continue
        keys.add(first + place, event)
        if first + place >= since:
            producers.add(first + place, event, block.bodies[place])
        if since == 0:
            acts.add(first + place, event, block.bodies[place])
        yield event

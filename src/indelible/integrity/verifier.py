"""`verify`: everything stored is hashed again, derived again, and held against the signed root.

In this order, so that the first thing that is wrong can be named: the checkpoint's signature; the
tiles, from the root down; each entry against its leaf; then what is derived from the entries
(batches, positions, index, notices). The first fault raises; nothing is repaired.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from indelible.errors import EventError, VerificationError
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.integrity.act_check import ActCheck
from indelible.integrity.acts import Acts
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
from indelible.integrity.producers import ProducerCheck, Signed
from indelible.integrity.seen import UNWITNESSED, Progress, Seen, check_seen
from indelible.integrity.tree import check_level, check_right_edge, levels
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.entry import format_stem, leaf_of
from indelible.store.keystore import Keystore
from indelible.store.sqlite_audit import BlockRow, SqliteAudit, TrailRow, audit_trail
from indelible.tlog import (
    FULL_WIDTH,
    HASH_BYTES,
    Tile,
    TrustPolicy,
    VerifierKey,
    open_checkpoint,
    tile_of_tree,
)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified, and what that is worth.

    `checkpoint` is the signed note. `since` is the size from which on entries were hashed again: 0
    for all of them. `witnessed` is None without a trust policy, or where no witness of it cosigned
    anything.
    """

    origin: str
    size: int
    root: bytes
    vkey: str
    checkpoint: str
    since: int
    batches: int
    sources: int
    quarantined: int
    unacknowledged: int
    signed: Signed
    acts: Acts = Acts()
    assurance: str = UNWITNESSED
    witnessed: Witnessed | None = None

    @property
    def seen(self) -> Seen:
        return Seen(origin=self.origin, size=self.size, root=self.root, vkey=self.vkey)


def verify_trail(
    path: Path,
    key: VerifierKey,
    *,
    seen: Seen | None = None,
    only_new: bool = False,
    with_index: bool = True,
    trust: TrustPolicy | None = None,
    now: int | None = None,
    max_age_s: int | None = None,
    enrolment: VerifierKey | None = None,
    authorisers: Authorisers | None = None,
    keystore: Keystore | None = None,
    progress: Progress = lambda done, of: None,
) -> Verification:
    """Return only if the trail at `path` is what `key` signed, whole, and grown from `seen`.

    `only_new` hashes the entries behind `seen` alone, and leaves the derived tables unchecked
    where they tell of the whole trail; `with_index=False` checks the proof only. `enrolment` is the
    key that enrols the processes whose signatures count; without it any does. Erasures and holds
    must be signed by `authorisers`, and keys be there or gone in `keystore` as the entries say,
    where these are given and all entries are hashed. Under `trust` each
    cosignature of its witnesses is checked, and where it asks for a quorum there must be one, with
    `max_age_s` no older than that at the POSIX second `now`. Raises a `TrailFaultError`, or another
    `VerificationError` for bytes that can't be decoded and a tlog that `trust` doesn't list.
    """
    # Before the entries, and again behind them: who is erased or enrolled meanwhile isn't missed.
    keys = None if keystore is None else keystore.tokens()
    with audit_trail(path) as audit:
        trail = audit.trail()
        _check_checkpoint(trail, key)
        if seen is not None:
            check_seen(audit, origin=trail.origin, size=trail.size, root=trail.root, seen=seen)
        size = int(trail.size)
        since = seen.size if seen is not None and only_new else 0
        _check_tiles(audit, trail)
        witnessed = None
        if trust is not None:
            tree = Tree(key, trail.origin, trail.size, trail.root, audit)
            cosigned = check_cosignatures(audit.witnesses(), trust, tree)
            at = int(time.time()) if now is None else now
            witnessed = require(cosigned, trust, tree, now=at, max_age_s=max_age_s)
        derived = Derived(audit, trail, since) if with_index else None
        producers = ProducerCheck(enrolment, own=trail.source_id)
        ledger = ActCheck(authorisers, origin=trail.origin, has_keys=keys is not None)
        _check_entries(audit, trail, since, derived, (producers, ledger), progress)
        acts = Acts()
        if derived is not None:
            derived.finish()
            if since == 0:
                acts = ledger.finish(keys, None if keystore is None else keystore.tokens())
        open_notices = [index for index, by in audit.notices().items() if by is None]
        return Verification(
            origin=trail.origin,
            size=size,
            root=trail.root,
            vkey=str(key),
            checkpoint=(trail.checkpoint or b"").decode(),
            since=since,
            batches=sum(1 for _ in audit.batches()),
            sources=len(audit.sources()),
            quarantined=len(audit.quarantined()),
            unacknowledged=len(open_notices),
            signed=producers.finish(),
            acts=acts,
            assurance=UNWITNESSED if witnessed is None else str(witnessed),
            witnessed=witnessed,
        )


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


def _check_tiles(audit: SqliteAudit, trail: TrailRow) -> None:
    """Every tile hashes to its place in the tile above, and the topmost to the signed root."""
    size = trail.size
    expected: dict[tuple[int, int], int] = {}
    level = 0
    while (width := size >> (8 * level)) > 0:
        for n in range(-(-width // FULL_WIDTH)):
            expected[(level, n)] = tile_of_tree(level, n, size).width * HASH_BYTES
        level += 1
    for level, n, length in audit.tiles():
        covers = n << (8 * (level + 1))
        if (level, n) not in expected:
            raise StrayEntryError(covers, f"tile {level}/{n} is beyond the tree of size {size}")
        if length != expected.pop((level, n)):
            raise TileMismatchError(covers, f"tile {level}/{n} has a wrong length of {length}")
    for level, n in expected:
        raise TileMismatchError(n << (8 * (level + 1)), f"tile {level}/{n} is missing")
    for level in range(levels(size)):
        for _ in check_level(audit, size, level):
            pass
    check_right_edge(audit, size, trail.root)


def _check_entries(
    audit: SqliteAudit,
    trail: TrailRow,
    since: int,
    derived: Derived | None,
    checks: tuple[ProducerCheck, ActCheck],
    progress: Progress,
) -> None:
    size = int(trail.size)
    n = since // BLOCK_ENTRIES
    for block in audit.blocks(n):
        if block.n != n:
            raise (StrayEntryError if block.n * BLOCK_ENTRIES >= size else MissingEntryError)(
                n * BLOCK_ENTRIES, f"expected block {n}, there is block {block.n} instead"
            )
        first = n * BLOCK_ENTRIES
        count = min(BLOCK_ENTRIES, size - first)
        if count <= 0:
            raise StrayEntryError(max(first, size), f"the checkpoint covers {size} entries")
        _check_leaves(audit, block, tile_of_tree(0, n, trail.size))
        if len(block.bodies) > count:
            raise StrayEntryError(size, f"the checkpoint covers {size} entries")
        if len(block.bodies) < count:
            raise MissingEntryError(
                first + len(block.bodies), f"the checkpoint covers {size} entries"
            )
        if derived is not None:
            derived.add(block, _checked_events(block, since, *checks))
        n += 1
        progress(first + count, size)
    if n * BLOCK_ENTRIES < size:
        raise MissingEntryError(n * BLOCK_ENTRIES, f"the checkpoint covers {size} entries")


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


def _events(block: BlockRow) -> Iterator[Event]:
    """One by one: a block of decoded events doesn't fit a processor's cache."""
    for place, body in enumerate(block.bodies):
        index = block.n * BLOCK_ENTRIES + place
        try:
            event = decode_event(body)
        except EventError as error:
            raise HeadMismatchError(index, f"the body is no event: {error}") from None
        if format_stem(event.producer, event.kind) != block.stems[place]:
            raise HeadMismatchError(index, "head and body tell of different events")
        yield event


def _checked_events(
    block: BlockRow, since: int, producers: ProducerCheck, acts: ActCheck
) -> Iterator[Event]:
    first = block.n * BLOCK_ENTRIES
    for place, event in enumerate(_events(block)):
        if first + place >= since:
            producers.add(first + place, event, block.bodies[place])
        if since == 0:
            acts.add(first + place, event, block.bodies[place])
        yield event

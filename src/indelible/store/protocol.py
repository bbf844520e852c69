"""What a store promises: what `append` makes durable, what a reader sees, what survives a crash.

Everything that a store holds is either an entry (its head, salt and body: what is committed to)
or can be derived from the entries again, and is compared with them by `indelible.integrity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from indelible.events.model import Event, Timestamp
from indelible.store.tiers import Tier
from indelible.tlog import Hash, Index, Size, Tile
from indelible.transport.delivery import Gap, Received

if TYPE_CHECKING:
    # It has a keystore open, which whoever only verifies needs not.
    from indelible.store.names import Names


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry as questions read it.

    `body` is the event's bytes, `received` the time of the batch that it came in. `doubtful`:
    the claimed time is after receipt, before its producer's epoch, or before an earlier time of
    the same producer; then the event belongs to a window that holds its claimed *or* its
    received time, as possible.
    """

    index: Index
    body: bytes
    received: Timestamp
    doubtful: bool


class CommittedEntry(NamedTuple):
    """An entry as it is committed to: `head` is a leaf, and holds the hash of the other two."""

    head: bytes
    salt: bytes
    body: bytes


class Batch(msgspec.Struct, frozen=True):
    """Entries `first` to `last` were received at `time`; `last` is their `batch.sequenced`."""

    first: Index
    last: Index
    time: Timestamp


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a trail holds of one producer's run.

    `received` has the positions held; what is missing between them may still come, except for
    `lost`, which was reported as gone. `received_at` is when the last of them came. Complete up
    to: `received.last_time`, as long as `missing` is empty.
    """

    producer_id: str
    epoch: int
    received: Received
    received_at: Timestamp
    lost: tuple[tuple[int, int], ...] = ()

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """Inclusive ranges of positions below the highest that neither came nor were reported."""
        return _holes(self.received.ranges, self.lost)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A `system` entry that asks for a person's eye until one acknowledges it."""

    index: Index
    time: Timestamp
    action: str
    message: str
    acknowledged: Index | None = None
    """The entry of the acknowledgement."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that was no event: its bytes as they came, and what was wrong with them."""

    index: Index
    """Of the `event.quarantined` entry, which holds the SHA-256 of `bodies`."""
    producer_id: str
    epoch: int
    seq: int
    bodies: tuple[bytes, ...]
    reason: str


class NewEntry(NamedTuple):
    """One entry on its way into the store.

    `stem` is the head without its commitment (`indelible.store.entry`), `terms` are the hashes
    under which the index finds it, `time` is the claimed one.
    """

    stem: bytes
    salt: bytes
    body: bytes
    time: Timestamp
    doubtful: bool
    terms: Sequence[int]


class Span(msgspec.Struct, frozen=True):
    """Positions `first_seq`, +1, ... of a source stand at indexes `first_index`, +1, ..."""

    producer_id: str
    epoch: int
    first_seq: int
    first_index: Index
    count: int


class SourceUpdate(NamedTuple):
    """All that a store keeps of one source after a batch that brought something of it.

    `new` are the ranges that the batch added. `latest` is the greatest claimed time that wasn't
    doubtful, against which the next event's is held.
    """

    producer_id: str
    epoch: int
    new: Sequence[tuple[int, int]]
    last_time: Timestamp
    latest: Timestamp


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """One batch, numbered: everything that becomes durable together."""

    first: Index
    time: Timestamp
    entries: Sequence[NewEntry]
    tiles: Sequence[tuple[Tile, bytes]]
    size: Size
    root: Hash
    spans: Sequence[Span]
    sources: Sequence[SourceUpdate]
    conflicts: Sequence[tuple[str, int, int, Index]] = ()
    """(producer, epoch, seq, index) of other bytes at a position that was held already."""
    quarantined: Sequence[Quarantined] = ()
    gaps: Sequence[tuple[Gap, Index]] = ()
    notices: Sequence[Notice] = ()
    acknowledged: Sequence[tuple[Index, Index]] = ()
    """(notice, acknowledging entry)."""
    vkey: str | None = None
    """The trail's key from here on, where it is rotated."""


class TrailState(msgspec.Struct, frozen=True):
    """How far the trail has come: `size` and `root` are *pending* until `checkpoint` covers them.

    `checkpoint` is the last signed note, or None before the first.
    """

    size: Size
    root: Hash
    checkpoint: bytes | None


class WitnessRow(NamedTuple):
    """What a witness said when it was asked to cosign; `vkey` is its key.

    `note` is the last checkpoint that it cosigned, with the trail's signature and its own, of
    `size` entries at the POSIX second `time`; None before the first. `fault` is why it didn't when
    it was last asked, "" where it did; it `contradicts` when it knows a larger or another tree.
    Nothing of it may be believed before the signatures are checked.
    """

    vkey: str
    size: Size
    time: int
    note: bytes | None
    fault: str = ""
    contradicts: bool = False


class AnchorRow(NamedTuple):
    """What the anchor called `name` in the configuration said when it was last asked.

    `note` is the last checkpoint that it took, of `size` entries, and `receipt` what it answered at
    the POSIX second `time`; None before the first. `outside` where somebody else's hands hold what
    can be checked afterwards. `fault` is why it took none when it was last tried, "" where it did;
    it `contradicts` when it has a larger or another tree. Nothing of it may be believed unchecked.
    """

    name: str
    size: Size
    time: int
    note: bytes | None
    receipt: bytes
    outside: bool
    fault: str = ""
    contradicts: bool = False


class Lease(msgspec.Struct, frozen=True):
    """The right to append, until another epoch is taken. Only the store can tell if it holds."""

    epoch: int
    holder: str


class TrailReader(Protocol):
    """Reading a trail: from any thread and process, while it grows.

    Every call, and every step of an iterator, reads one consistent snapshot in a transaction that
    ends before anything is handed out, so that a slow reader holds nothing up. Iterators cover
    the entries that were there when they started, hold a bounded number of them, and may be
    abandoned. Raises `StoreBusyError` when the file stays locked for too long, and, where entries
    are sealed that are needed, `SegmentUnreachableError` and `SegmentDamagedError`: never is one
    left out.
    """

    @property
    def origin(self) -> str:
        """The trail's name, as its checkpoints state it."""

    @property
    def vkey(self) -> str:
        """The newest public key that the trail says it is signed with. A verifier pins its own."""

    @property
    def source_id(self) -> str:
        """The producer id of the trail's own `system` entries."""

    def state(self) -> TrailState:
        """Size, root and checkpoint, of one moment."""

    @property
    def size(self) -> Size:
        """How many entries are sequenced."""

    def search(
        self,
        any_of: Sequence[bytes],
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        newest_first: bool = False,
        known: Set[int] = frozenset(),
    ) -> Iterator[StoredEntry]:
        """Every entry that may have one of these terms (`indelible.store.terms`) in the window.

        Never misses one whose claimed or received time is in [since, until); gives some that
        aren't, and some that share only a term's hash: check the body. Each entry comes once, by
        index. Without terms: every entry that may be in the window. Leaves out those that stand at
        `known` indexes, which the caller has, without reading them.
        """

    def entries(self, first: int, last: int) -> Iterator[StoredEntry]:
        """The entries `first` to `last` inclusive, as far as they exist and have their bodies."""

    def committed(self, first: int, last: int) -> Iterator[CommittedEntry]:
        """Heads, salts and bodies from `first` to `last` inclusive, as far as they exist; salt and
        body are empty where retention dropped them."""

    def entry(self, index: int) -> StoredEntry:
        """The entry at `index`; raises `NoSuchEntryError`, and `BodyDroppedError`."""

    def head(self, index: int) -> bytes:
        """The head at `index`, whose hash is the leaf; raises `NoSuchEntryError`."""

    def salt(self, index: int) -> bytes:
        """The salt of the body at `index`; raises `NoSuchEntryError`, and `BodyDroppedError`."""

    def index_of(self, event_id: str) -> Index | None:
        """Where the event (or part) with this id stands; the first where its bytes conflict."""

    def opened(self, event: Event) -> Event:
        """`event` with its sealed values opened, and names in the place of tokens, as far as the
        keys for that are at hand here."""

    @property
    def names(self) -> Names | None:
        """What puts them there, for who looks at parts of events; None where there are none."""

    def sources(self) -> Iterator[Source]:
        """Every source, by producer and epoch."""

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """The batches from the one that holds `first` on, in order."""

    def notices(self, *, unacknowledged_only: bool = False) -> Iterator[Notice]:
        """What was noticed, in order."""

    def witnesses(self) -> tuple[WitnessRow, ...]:
        """What each witness that was ever asked said, by key."""

    def anchors(self) -> tuple[AnchorRow, ...]:
        """What each anchor that was ever asked said, by name."""

    def tiers(self) -> tuple[Tier, ...]:
        """Where what is kept, oldest first; the last is the hot one."""

    def quarantined(self) -> Iterator[Quarantined]:
        """The deliveries set aside, in order."""

    def read_tile(self, tile: Tile) -> bytes:
        """The first hashes of that tile: a `tlog.TileReader`, to build proofs from."""


class TrailStore(TrailReader, Protocol):
    """A trail that one sequencer at a time appends to.

    Each method that writes is one transaction, durable when it returns and absent when it raises
    (`StoreBusyError`, `StoreFullError`, `StoreReadOnlyError`), also after loss of power. A crash
    leaves all of it or nothing.
    """

    def acquire_lease(self, holder: str, *, now: int, lease_s: float) -> Lease | None:
        """Take the lease when nobody holds it, or its holder wasn't heard of for `lease_s`.

        `now` is in microseconds. None: somebody else holds it. Clocks that disagree can take it
        from a living holder; that one's next append then raises `DeposedError`.
        """

    def renew_lease(self, lease: Lease, *, now: int) -> None:
        """Say that the holder lives; raises `DeposedError` when the lease was taken."""

    def release_lease(self, lease: Lease) -> None:
        """Let another take it at once; nothing happens when it was taken already."""

    def append(self, lease: Lease, batch: Append, *, now: int) -> None:
        """Make the batch durable: entries, tiles, index, positions, pending size and root.

        Raises `DeposedError` when the lease was taken (checked in the same transaction), and
        `StoreConflictError` when the trail doesn't end at `batch.first`.
        """

    def store_checkpoint(self, lease: Lease, note: bytes, size: Size, *, now: int) -> None:
        """Keep the signed checkpoint of `size`; raises `DeposedError`."""

    def store_cosignature(self, vkey: str, note: bytes, size: Size, time: int) -> None:
        """Keep the checkpoint of `size` that this witness cosigned, unless a later one is kept.

        Needs no lease: who was deposed meanwhile still has a true cosignature.
        """

    def store_witness_fault(self, vkey: str, fault: str, *, contradicts: bool) -> None:
        """Keep why this witness didn't cosign; its last cosignature stays."""

    def store_anchored(self, row: AnchorRow) -> None:
        """Keep what this anchor took and answered, without a fault, unless a later one is kept.

        Needs no lease: what it has, it has.
        """

    def store_anchor_fault(self, name: str, fault: str, *, contradicts: bool) -> None:
        """Keep why this anchor took nothing; what it took before stays."""

    def received(self, producer_id: str, epoch: int) -> Received:
        """The positions held of this source."""

    def latest(self, producer_id: str, epoch: int) -> Timestamp | None:
        """`SourceUpdate.latest` of this source."""

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> list[tuple[bytes, ...]]:
        """Every delivery kept of this position (its parts), conflicting and quarantined too."""

    def last_epoch(self, producer_id: str) -> int:
        """The highest epoch that this producer had; 0 for none."""

    def last_position(self, producer_id: str, epoch: int) -> int:
        """The highest position of this source at which something was delivered; 0 for none."""

    def lost(self, producer_id: str, epoch: int) -> tuple[tuple[int, int], ...]:
        """The ranges reported as gaps of this source."""


def _holes(
    held: Sequence[tuple[int, int]], lost: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    holes = []
    expected = 1
    for first, last in sorted([*held, *lost]):
        if first > expected:
            holes.append((expected, first - 1))
        expected = max(expected, last + 1)
    return tuple(holes)

"""The sequencer: numbers what is delivered, without gaps, and signs where the trail has come to.

One works on a trail at a time, held by a lease. It commits twice: entries, tiles, index, positions
and the *pending* root in one transaction that also checks the lease; then the signed checkpoint. A
crash between the two leaves a root that the next start signs: Ed25519 gives the same bytes. While
the signer is away entries are numbered all the same, and signed when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from indelible.errors import ConfigurationError, DeliveryError, StoreBusyError, VerificationError
from indelible.events.codec import format_time
from indelible.events.model import Producer, Timestamp
from indelible.integrity.faults import SignerAwayError, SignerRefusedError
from indelible.integrity.key_ring import CheckpointSigner, KeyRing
from indelible.integrity.numbering import Numbering
from indelible.integrity.rotations import rotation_remark
from indelible.store.protocol import Lease, TrailStore
from indelible.store.ranges import RangeSet
from indelible.tlog import (
    Checkpoint,
    Index,
    RightEdge,
    SigningKey,
    VerifierKey,
    successors,
)
from indelible.transport.delivery import Delivery, Gap, Received, Remark, Void

_log = logging.getLogger(__name__)

UNSIGNED: Final = "trail.unsigned"
_RETRY_S: Final = 0.5
_AGAIN_S: Final = 5.0
"""How often an idle trail is signed once more: a key may have been rotated, the signer be gone."""


class Sequencer:
    """Implements `indelible.transport.delivery.Sink`: see there for what it promises.

    Safe for threads. `clock` gives microseconds since 1970. `on_checkpoint` is called whenever a
    checkpoint was stored, and must return at once.
    """

    def __init__(
        self,
        store: TrailStore,
        lease: Lease,
        signer: SigningKey | CheckpointSigner,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        on_checkpoint: Callable[[], None] = lambda: None,
        on_refusal: Callable[[SignerRefusedError], None] = lambda error: None,
        on_signed: Callable[[], None] = lambda: None,
    ) -> None:
        """Signs a root that a crash left pending, and writes down that a key was rotated.

        Raises `DeposedError`, and `VerificationError` when the trail's right edge doesn't lead to
        its root: nothing may be appended to a trail that was tampered with. Of those is
        `SignerRefusedError`, which comes later, too: then `on_refusal` is called, from whatever
        thread delivers. `on_signed` is called the first time that something was signed. Raises
        `ConfigurationError` for another trail's key.
        """
        self._store = store
        self._lease = lease
        self._signer = KeyRing([signer]) if isinstance(signer, SigningKey) else signer
        self._clock = clock
        self._on_checkpoint = on_checkpoint
        self._on_refusal = on_refusal
        self._on_signed: Callable[[], None] | None = on_signed
        self._refusal: VerificationError | None = None
        self._vkey = store.vkey
        self._signed = store.state().checkpoint
        self._is_pending = True
        self._is_away = False
        self._sign_at = self._again_at = 0.0
        self._sequencing = threading.Lock()
        with self._sequencing:
            self._known = _Known(store, clock())
            self._sign_pending()

    def deliver(
        self,
        batch: Sequence[Delivery],
        *,
        gaps: Sequence[Gap] = (),
        voids: Sequence[Void] = (),
        remarks: Sequence[Remark] = (),
    ) -> None:
        def fill(numbering: Numbering) -> None:
            numbering.add_deliveries(batch)
            for gap in gaps:
                known = RangeSet(self._store.lost(gap.producer_id, gap.epoch))
                if gap.first not in known or gap.last not in known:
                    numbering.add_gap(gap)
            for void in voids:
                numbering.add_void(void)
            for remark in remarks:
                numbering.add_own(remark.action, remark.message, **remark.details)

        with self._sequencing:
            self._commit(fill)

    def received(self, producer_id: str, epoch: int) -> Received:
        return self._store.received(producer_id, epoch)

    def refuse(self, why: VerificationError) -> None:
        """Sign nothing from now on: each delivery raises `why`, and stays where it is."""
        self._refusal = why

    def renew(self) -> None:
        """Say that this sequencer lives; sign what couldn't be before, and now and then again.

        Raises `DeposedError`, and `SignerRefusedError`.
        """
        self._store.renew_lease(self._lease, now=self._clock())
        with self._sequencing:
            is_due = self._is_pending or time.monotonic() >= self._again_at
            if is_due and self._refusal is None:
                self._sign_pending()

    # -- below, `_sequencing` is held -----------------------------------------------------------

    def _commit(self, fill: Callable[[Numbering], object]) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._append(fill)
        if self._is_pending:
            self._sign_pending()

    def _append(self, fill: Callable[[Numbering], object], *, vkey: str | None = None) -> None:
        """Make what `fill` adds durable, and pending."""
        known = self._known
        numbering = Numbering(known, first=Index(known.edge.size), now=format_time(self._clock()))
        try:
            fill(numbering)
            if numbering.is_empty:
                return
            numbering.finish()
            entries, leaves = numbering.entries()
            growth = known.edge.append(leaves)
            append = numbering.as_append(entries, growth, vkey=vkey)
            self._store.append(self._lease, append, now=self._clock())
        except BaseException:
            # Perhaps it was committed all the same: believe only what is there.
            self._known = _Known(self._store, self._clock())
            raise
        known.edge = growth.edge
        self._is_pending = True

    def _sign_pending(self) -> None:
        """Have what is pending signed, and kept. Where the signer is away that is noticed, once,
        and tried again later."""
        began = time.monotonic()
        if began < self._sign_at:
            return
        try:
            note = self._sign()
            if str(self._signer.verifier_key) != self._vkey:
                self._add_rotations()
                note = self._sign()
        except SignerRefusedError as error:
            # Unless another took over meanwhile, and had more signed.
            self._store.renew_lease(self._lease, now=self._clock())
            self._refusal = error
            self._on_refusal(error)
            raise
        except SignerAwayError as error:
            # One that hangs holds up each batch that asks: the longer it does, the rarer.
            now = time.monotonic()
            self._sign_at = now + max(_RETRY_S, 4 * (now - began))
            if not self._is_away:
                self._is_away = True
                self._say_away(error)
            return
        self._is_away = False
        self._again_at = time.monotonic() + _AGAIN_S
        if note != self._signed:
            size = self._known.edge.size
            self._store.store_checkpoint(self._lease, note, size, now=self._clock())
            self._signed = note
            self._on_checkpoint()
        self._is_pending = False
        on_signed, self._on_signed = self._on_signed, None
        if on_signed is not None:
            on_signed()

    def _say_away(self, error: DeliveryError) -> None:
        _log.warning("not signed, trying again: %s", error)
        message = f"from here on nothing is signed until it can be: {error}"
        self._append(lambda numbering: numbering.add_own(UNSIGNED, message))

    def _sign(self) -> bytes:
        edge = self._known.edge
        checkpoint = Checkpoint(origin=self._store.origin, size=edge.size, root=edge.root)
        return self._signer.sign(checkpoint, self._store)

    def _add_rotations(self) -> None:
        """Write down each rotation that the trail doesn't know yet."""
        newest = self._signer.verifier_key
        found = successors(
            VerifierKey.parse(self._vkey), self._signer.rotations, origin=self._store.origin
        )
        if not found or found[-1][1].new != newest:
            raise ConfigurationError(
                f"expected the trail's key {self._vkey}, or one rotated from it, came {newest}: "
                "nothing is signed with it"
            )

        def fill(numbering: Numbering) -> None:
            for note, rotation in found:
                remark = rotation_remark(note, rotation)
                numbering.add_own(remark.action, remark.message, **remark.details)

        self._append(fill, vkey=str(newest))
        self._vkey = str(newest)


def add_first_entry(store: TrailStore, signer: CheckpointSigner, first: Remark) -> None:
    """Number and sign `first` as entry 0 of an empty trail that nobody uses yet."""
    lease = store.acquire_lease("init", now=time.time_ns() // 1_000, lease_s=0)
    if lease is None:
        raise StoreBusyError("expected a new trail, another process holds its lease")
    Sequencer(store, lease, signer).deliver([], remarks=[first])
    store.release_lease(lease)


class _Known:
    """What the sequencer knows of the trail, so as not to ask for every batch."""

    def __init__(self, store: TrailStore, now: int) -> None:
        self._store = store
        self._sources: dict[tuple[str, int], _Held] = {}
        # A run of its own each time, so that its positions are never used twice.
        self._own_epoch = max(now, store.last_epoch(store.source_id) + 1)
        self._own_seq = 0
        state = store.state()
        self.edge = RightEdge.restore(store, state.size, state.root)

    def held(self, producer_id: str, epoch: int) -> _Held:
        key = (producer_id, epoch)
        found = self._sources.get(key)
        if found is None:
            found = self._sources[key] = _Held(self._store.received(*key), self._store.latest(*key))
        return found

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> list[tuple[bytes, ...]]:
        return self._store.bodies_at(producer_id, epoch, seq)

    def next_own(self) -> Producer:
        self._own_seq += 1
        return Producer(self._store.source_id, self._own_epoch, self._own_seq)


class _Held:
    """What the trail holds of one source."""

    def __init__(self, received: Received, latest: Timestamp | None) -> None:
        self.ranges = RangeSet(received.ranges)
        self.last = received.last
        self.last_time = received.last_time
        self.latest = latest

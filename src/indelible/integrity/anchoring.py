"""Has a trail's checkpoints anchored while it is led, beside the sequencer and never in its way.

Each anchor is asked by itself, in a thread of its own, for the newest checkpoint: that which a
quorum cosigned, where the trust policy asks for one. One that is slow or fails holds up no other.
"""

from __future__ import annotations

import functools
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from indelible.errors import DeliveryError, IndelibleError, VerificationError
from indelible.integrity.anchors import Anchor, check_looked, look_at, row_of
from indelible.integrity.asking import Answers, Asked
from indelible.integrity.assurance import Tree, cosigned_note
from indelible.integrity.faults import CONTRADICTED
from indelible.integrity.rotations import open_by
from indelible.integrity.witness_client import SignedCheckpoint
from indelible.policy.anchors import AnchorSettings
from indelible.store.protocol import AnchorRow, TrailStore
from indelible.tlog import TrustPolicy, VerifierKey

_log = logging.getLogger(__name__)

_LOOK_S: Final = 0.5
_FINISH_LOOK_S: Final = 0.01
_RETRY_MAX_S: Final = 300.0
_GRACE_S: Final = 1.0
"""Beyond the deadline that an anchor keeps by itself."""


class Trusted(NamedTuple):
    """By what a checkpoint of the trail is told: its keys, the newest first, and the policy of its
    witnesses."""

    keys: Callable[[], tuple[VerifierKey, ...]]
    policy: TrustPolicy | None


class Anchoring:
    """One trail and its anchors. `start` and `stop` around the time in which this process leads.

    What an anchor has that contradicts this trail is a `notice`, once, and that anchor gets nothing
    until it no longer does. A checkpoint that no quorum cosigned within `cosigning_s` is anchored
    without. `clock` gives POSIX seconds.
    """

    def __init__(
        self,
        store: TrailStore,
        trusted: Trusted,
        anchors: Sequence[tuple[Anchor, AnchorSettings]],
        *,
        notice: Callable[[str, str], None] = lambda action, message: None,
        cosigning_s: float = 60.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._trusted = trusted
        self._notice = notice
        self._cosigning_s = cosigning_s
        self._monotonic = monotonic
        self._jitter = jitter
        self._answers: Answers[_Asked, AnchorRow] = Answers()
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._thread: threading.Thread | None = None
        self._clock = clock
        self._asked = [_Asked(anchor, settings) for anchor, settings in anchors]

    def start(self) -> None:
        """Ask in a thread from now on."""
        self._stopping.clear()
        self._begun.clear()
        self._thread = threading.Thread(target=self._run, name="indelible-anchoring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; what is on its way is left to itself."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        self._answers.wake()
        if thread is not None:
            thread.join()

    def finish(self, timeout_s: float) -> None:
        """Wait so long for every anchor that is due to have taken what is stored now, or failed."""
        ends = self._monotonic() + timeout_s
        while self._monotonic() < ends and self._thread is not None and self._thread.is_alive():
            now = self._monotonic()
            if self._begun.is_set() and not any(
                each.is_asked or self._due(each, now) for each in self._asked
            ):
                return
            time.sleep(_FINISH_LOOK_S)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._begun.is_set():
                    self._begin()
                now = self._monotonic()
                for each in self._asked:
                    signed = self._due(each, now)
                    if signed is not None:
                        ask = functools.partial(self._ask, each.anchor, signed)
                        late_at = now + each.deadline_s + _GRACE_S
                        self._answers.ask(each, ask, late_at, name="anchor")
                self._take_answers(self._until_next())
                continue
            except VerificationError:
                _log.critical("the stored checkpoint doesn't verify", exc_info=True)
            except IndelibleError as error:
                _log.warning("anchors not asked: %s", error)
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("asking the anchors")
            self._stopping.wait(_LOOK_S)

    def _begin(self) -> None:
        """Who is due when: another process may have led, and had something anchored."""
        rows, now = self._store.anchors(), self._clock()
        for each in self._asked:
            each.wait(self._monotonic() + each.due_in(row_of(rows, each.anchor.name), now))
        self._begun.set()

    def _due(self, each: _Asked, now: float) -> SignedCheckpoint | None:
        """What this anchor is to be given now; None where it isn't due, or has it already."""
        if each.due_at > now:
            return None
        row = row_of(self._store.anchors(), each.anchor.name)
        known = 0 if row is None else row.size
        newest = newest_signed(self._store, self._trusted)
        if newest is None or newest.checkpoint.size <= known:
            each.waits_since = now
            return None
        if self._trusted.policy is None or self._trusted.policy.quorum is None:
            return newest
        cosigned = newest_cosigned(self._store, self._trusted)
        if cosigned is not None and cosigned.checkpoint.size > known:
            return cosigned
        # Witnesses that are away don't stop the clock.
        return newest if now - each.waits_since >= self._cosigning_s else None

    def _ask(self, anchor: Anchor, signed: SignedCheckpoint) -> AnchorRow:
        return anchor_now(anchor, signed, self._store, self._trusted.keys())

    def _until_next(self) -> float:
        """Seconds until somebody is late, becomes due, or may find something newer."""
        now = self._monotonic()
        next_at = [at for each in self._asked for at in (each.due_at, each.late_at) if at > now]
        return min([_LOOK_S, *(at - now for at in next_at)])

    def _take_answers(self, timeout_s: float) -> None:
        """Keep each answer that has come, and that none has; wait so long for the first."""
        for answer in self._answers.take(timeout_s):
            self._keep(answer.asked, answer.result)
        now = self._monotonic()
        for each in self._asked:
            if each.late_at <= now:
                self._keep(each, DeliveryError(f"no answer within {each.deadline_s:g} s"))

    def _keep(self, each: _Asked, result: AnchorRow | IndelibleError) -> None:
        now = self._monotonic()
        name = each.anchor.name
        if isinstance(result, AnchorRow):
            # Kept before it counts: what can't be kept is given again.
            self._store.store_anchored(result)
            each.succeeded(now)
            return
        each.failed(now, self._jitter())
        contradicts = isinstance(result, VerificationError)
        if contradicts and not self._is_known_to_contradict(name):
            self._notice(CONTRADICTED, f"anchor {name} contradicts {self._store.origin}: {result}")
        self._store.store_anchor_fault(name, str(result), contradicts=contradicts)
        _log.warning("not anchored by %s: %s", name, result)

    def _is_known_to_contradict(self, name: str) -> bool:
        return any(row.name == name and row.contradicts for row in self._store.anchors())


def newest_signed(store: TrailStore, trusted: Trusted) -> SignedCheckpoint | None:
    """The stored checkpoint; None before the first, and for the empty trail.

    Raises `VerificationError` where it isn't by a key of the trail's.
    """
    note = store.state().checkpoint
    return None if note is None else _signed(note, store, trusted)


def newest_cosigned(store: TrailStore, trusted: Trusted) -> SignedCheckpoint | None:
    """The largest checkpoint that a quorum cosigned alike; None where there is none."""
    if trusted.policy is None or trusted.policy.quorum is None:
        return None
    found = cosigned_note(store.witnesses(), trusted.policy)
    return None if found is None else _signed(found[0], store, trusted)


def _signed(note: bytes, store: TrailStore, trusted: Trusted) -> SignedCheckpoint | None:
    opened = open_by(note, store.origin, trusted.keys())
    return SignedCheckpoint(opened.checkpoint, note) if opened.checkpoint.size else None


def anchor_now(
    anchor: Anchor, signed: SignedCheckpoint, store: TrailStore, keys: tuple[VerifierKey, ...]
) -> AnchorRow:
    """Have the anchor take this checkpoint, unless what it has contradicts the trail.

    Returns what is to be stored. Raises `DeliveryError`, and `VerificationError` where it has a
    checkpoint by the trail's key that the trail doesn't continue, or no longer what it took.
    """
    last = row_of(store.anchors(), anchor.name)
    looked = look_at(anchor, last, whole=False)
    state = store.state()  # behind what the anchor has, and so not smaller
    newest, *earlier = keys
    tree = Tree(newest, store.origin, state.size, state.root, store, tuple(earlier))
    finding = check_looked(looked, tree)
    if finding.fault:
        raise DeliveryError(finding.fault)
    receipt = anchor.keep(signed.note, signed.checkpoint, last)
    return AnchorRow(
        anchor.name,
        signed.checkpoint.size,
        receipt.time,
        signed.note,
        receipt.answer,
        receipt.outside,
    )


class _Asked(Asked):
    """What is remembered of one anchor."""

    def __init__(self, anchor: Anchor, settings: AnchorSettings) -> None:
        super().__init__()
        self.anchor = anchor
        self.deadline_s = settings.deadline_s
        self.waits_since = math.inf
        """Since when a newer checkpoint was there, uncosigned."""
        self._every_s = settings.every_s
        self._not_before = math.inf

    @property
    def due_at(self) -> float:
        """When it is to be asked; not while it is being asked."""
        return self._not_before if self.is_free else math.inf

    def due_in(self, row: AnchorRow | None, now: float) -> float:
        """Seconds until it may be asked again; a clock that was set back doesn't make it longer."""
        if row is None:
            return 0.0
        return min(max(0.0, row.time + self._every_s - now), self._every_s)

    def succeeded(self, now: float) -> None:
        self.succeed()
        self.wait(now + self._every_s)

    def failed(self, now: float, jitter: float) -> None:
        self.wait(now + self.fail(_RETRY_MAX_S, jitter))

    def wait(self, not_before: float) -> None:
        """It is to be let alone so long, whatever it was asked."""
        self.end()
        self._not_before = self.waits_since = not_before

"""The leader: of all processes that use a trail, the one that relays into its sequencer.

Each process has one of these; the lease says whose turn it is. When the holder dies, another takes
over within `lease_s`; one that slept meanwhile finds itself deposed, and waits its turn again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from indelible.errors import DeliveryError, DeposedError, IndelibleError, VerificationError
from indelible.forking import FORK_WAITS_S, hold_while_forking
from indelible.integrity.faults import ContradictedError
from indelible.integrity.key_ring import CheckpointSigner
from indelible.integrity.sequencer import Sequencer
from indelible.policy.model import RelaySettings
from indelible.store.protocol import Lease, TrailStore
from indelible.transport.relay import Relay
from indelible.transport.source import SourceFinder

if TYPE_CHECKING:
    from indelible.integrity.anchoring import Anchoring
    from indelible.integrity.witnessing import Witnessing

_log = logging.getLogger(__name__)

LEASE_S: Final = 5.0
_BEAT_S: Final = 1.0


class Leader:
    """Waits for the lease, then relays, until `stop`.

    `finders` give the sources; only the holder looks at them. `witnessing` is asked before
    anything is signed, and has what is signed cosigned; `anchoring` has it anchored. `on_refusal`
    is told, from a thread, that the signer refuses, `on_signed` that it has signed, once each time
    that this process takes the lead. `clock` gives microseconds.
    """

    def __init__(
        self,
        store: TrailStore,
        signer: CheckpointSigner,
        finders: Sequence[SourceFinder],
        settings: RelaySettings,
        *,
        holder: str,
        lease_s: float = LEASE_S,
        witnessing: Witnessing | None = None,
        anchoring: Anchoring | None = None,
        on_refusal: Callable[[ContradictedError], None] = lambda error: None,
        on_signed: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._store = store
        self._signer = signer
        self._on_refusal = on_refusal
        self._on_signed = on_signed
        self._finders = finders
        self._settings = settings
        self._holder = holder
        self._lease_s = lease_s
        self._witnessing = witnessing
        self._anchoring = anchoring
        self._refusal: ContradictedError | None = None
        self._clock = clock
        self._working = threading.Lock()
        hold_while_forking(self, self._working, wait_s=FORK_WAITS_S)
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._led: tuple[Lease, Sequencer, Relay] | None = None
        self._pid = os.getpid()
        self._deposed = threading.Event()

    @property
    def _leading(self) -> tuple[Lease, Sequencer, Relay] | None:
        """The lease, sequencer and relay of this process; a forked child has neither thread."""
        return self._led if self._pid == os.getpid() else None

    @property
    def is_leading(self) -> bool:
        """Whether this process relays now."""
        return self._leading is not None

    @property
    def sequencer(self) -> Sequencer | None:
        """The sequencer while this process leads."""
        leading = self._leading
        return leading[1] if leading else None

    @property
    def refusal(self) -> ContradictedError | None:
        """Why this process signs nothing though it could: a witness or the signer knows another
        tree."""
        return self._refusal

    def start(self) -> None:
        """Take the lease at once if it is free, else when it becomes so.

        Where witnesses are to be asked first, that is done in the thread: nobody waits for them.
        """
        if self._thread is None:
            if self._witnessing is None:
                try:
                    self._try_to_lead()
                except DeliveryError:
                    _log.warning("lease not taken yet, trying again")
                except ContradictedError as error:
                    _log.critical("nothing is signed: %s", error)
            self._thread = threading.Thread(target=self._run, name="indelible-leader", daemon=True)
            self._thread.start()

    def awaiting_witnesses(self) -> contextlib.AbstractContextManager[None]:
        """While it is entered, witnesses that this process asks are asked without a pause."""
        return contextlib.nullcontext() if self._witnessing is None else self._witnessing.awaited()

    def flush(self, timeout_s: float) -> bool:
        """Whether this process leads and has carried everything captured before the call.

        Raises `DeliveryError` where it leads and can't within `timeout_s`.
        """
        leading = self._leading
        if leading is None:
            return False
        try:
            leading[2].flush(timeout_s)
        except DeposedError:
            return False
        return True

    def stop(self, linger_s: float = 0.0) -> None:
        """End after the batch under way and let another take over at once.

        Waits up to `linger_s` for witnesses to cosign what was signed last, and for anchors.
        """
        if self._leading is not None:
            ends = time.monotonic() + linger_s
            for others in (self._witnessing, self._anchoring):
                if others is not None:
                    with contextlib.suppress(IndelibleError):
                        others.finish(max(0.0, ends - time.monotonic()))
        self._is_stopping.set()
        self._deposed.set()
        if self._witnessing is not None:
            self._witnessing.close()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()
            self._thread = None
        self._stop_leading()

    def _run(self) -> None:
        pause_s = _BEAT_S if self._witnessing is None else 0.0
        while not self._is_stopping.is_set():
            self._deposed.wait(pause_s)
            pause_s = _BEAT_S
            try:
                with self._working:
                    self._work()
            except DeposedError:
                self._stop_leading()
            except ContradictedError as error:
                _log.critical("nothing is signed: %s", error)
                self._is_stopping.wait(self._lease_s)
            except VerificationError:
                _log.critical("the trail doesn't verify: nothing is appended", exc_info=True)
                self._is_stopping.wait(self._lease_s)
            except IndelibleError as error:
                _log.warning("not leading, trying again", extra={"error": type(error).__name__})
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("the leader's thread")

    def _work(self) -> None:
        if self._deposed.is_set():
            self._stop_leading()
            self._deposed.clear()
        elif self._leading is not None:
            self._leading[1].renew()
        else:
            self._try_to_lead()

    def _try_to_lead(self) -> None:
        lease = self._store.acquire_lease(self._holder, now=self._clock(), lease_s=self._lease_s)
        if lease is None:
            return
        witnessing = self._witnessing
        try:
            if witnessing is not None:
                witnessing.check(lambda: self._store.renew_lease(lease, now=self._clock()))
            sequencer = Sequencer(
                self._store,
                lease,
                self._signer,
                clock=self._clock,
                on_checkpoint=witnessing.wake if witnessing is not None else lambda: None,
                on_refusal=self._refused,
                on_signed=self._on_signed,
            )
        except BaseException as error:
            if isinstance(error, ContradictedError):
                self._refusal = error
            with contextlib.suppress(DeliveryError):
                self._store.release_lease(lease)
            raise
        self._refusal = None
        relay = Relay(
            self._finders,
            sequencer,
            self._settings,
            on_deposed=self._deposed.set,
            clock=self._clock,
        )
        self._led = (lease, sequencer, relay)
        if witnessing is not None:
            witnessing.start(self._contradicted)
        if self._anchoring is not None:
            self._anchoring.start()
        relay.start()

    def _contradicted(self, error: ContradictedError) -> None:
        """From the witnesses' thread: sign nothing more, then step down."""
        self._refusal = error
        leading = self._leading
        if leading is not None:
            leading[1].refuse(error)
        self._deposed.set()

    def _refused(self, error: ContradictedError) -> None:
        """From whatever thread delivers: the sequencer signs nothing more; step down."""
        self._refusal = error
        self._deposed.set()
        with contextlib.suppress(DeliveryError):
            self._on_refusal(error)

    def _stop_leading(self) -> None:
        leading, self._led = self._leading, None
        if leading is not None:
            if self._witnessing is not None:
                self._witnessing.stop()
            if self._anchoring is not None:
                self._anchoring.stop()
            leading[2].stop()
            try:
                self._store.release_lease(leading[0])
            except DeliveryError:
                _log.warning("lease not released, it runs out by itself")

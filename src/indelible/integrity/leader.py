"""The leader: of all processes that use a trail, the one that relays into its sequencer.

Each process has one of these; the lease says whose turn it is. When the holder dies, another takes
over within `lease_s`; one that slept meanwhile finds itself deposed, and waits its turn again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from indelible.errors import DeliveryError, DeposedError, IndelibleError, VerificationError
from indelible.integrity.sequencer import Sequencer
from indelible.policy.model import RelaySettings
from indelible.store.protocol import Lease, TrailStore
from indelible.tlog import SigningKey
from indelible.transport.relay import Relay
from indelible.transport.source import SourceFinder

_log = logging.getLogger(__name__)

LEASE_S: Final = 5.0
_BEAT_S: Final = 1.0


class Leader:
    """Waits for the lease, then relays, until `stop`.

    `finders` give the sources; only the holder looks at them. `clock` gives microseconds.
    """

    def __init__(
        self,
        store: TrailStore,
        key: SigningKey,
        finders: Sequence[SourceFinder],
        settings: RelaySettings,
        *,
        holder: str,
        lease_s: float = LEASE_S,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._store = store
        self._key = key
        self._finders = finders
        self._settings = settings
        self._holder = holder
        self._lease_s = lease_s
        self._clock = clock
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

    def start(self) -> None:
        """Take the lease at once if it is free, else when it becomes so."""
        if self._thread is None:
            try:
                self._try_to_lead()
            except DeliveryError:
                _log.warning("lease not taken yet, trying again")
            self._thread = threading.Thread(target=self._run, name="indelible-leader", daemon=True)
            self._thread.start()

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

    def stop(self) -> None:
        """End after the batch under way and let another take over at once."""
        self._is_stopping.set()
        self._deposed.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()
            self._thread = None
        self._stop_leading()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._deposed.wait(_BEAT_S)
            try:
                if self._deposed.is_set():
                    self._stop_leading()
                    self._deposed.clear()
                elif self._leading is not None:
                    self._leading[1].renew()
                else:
                    self._try_to_lead()
            except DeposedError:
                self._stop_leading()
            except VerificationError:
                _log.critical("the trail doesn't verify: nothing is appended", exc_info=True)
                self._is_stopping.wait(self._lease_s)
            except IndelibleError as error:
                _log.warning("not leading, trying again", extra={"error": type(error).__name__})
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("the leader's thread")

    def _try_to_lead(self) -> None:
        lease = self._store.acquire_lease(self._holder, now=self._clock(), lease_s=self._lease_s)
        if lease is None:
            return
        sequencer = Sequencer(self._store, lease, self._key, clock=self._clock)
        relay = Relay(
            self._finders,
            sequencer,
            self._settings,
            on_deposed=self._deposed.set,
            clock=self._clock,
        )
        self._led = (lease, sequencer, relay)
        relay.start()

    def _stop_leading(self) -> None:
        leading, self._led = self._leading, None
        if leading is not None:
            leading[2].stop()
            try:
                self._store.release_lease(leading[0])
            except DeliveryError:
                _log.warning("lease not released, it runs out by itself")

"""A process's journal: the append-only file that its reads and explicit events are written to.

SIGKILL loses nothing that `append` returned for, loss of power nothing that `sync` returned for.
A relay (any process's) reads the files through `indelible.transport.journal_files`.

Whoever can write the directory can forge events that weren't delivered yet, or remove them: it
belongs to the application's account alone (0700, files 0600).
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from indelible.capture.sealing import NO_SEALING, Leaving, Sealing
from indelible.errors import DeliveryError, KeystoreError
from indelible.events.codec import (
    MAX_EVENT_BYTES,
    encode_draft,
    format_time,
    header_format,
    seal_parts,
)
from indelible.events.model import Event, Producer
from indelible.events.values import Value
from indelible.transport.journal_frames import (
    FrameKind,
    format_event_frame,
    format_frame,
    format_whole_event_frame,
)
from indelible.transport.journal_writing import (
    MAX_FILE_BYTES,
    FileCalls,
    ProducerFiles,
    make_private_directory,
)
from indelible.transport.producer_signing import HEARTBEAT_S, SIGN_S, ProducerSigner

_log = logging.getLogger(__name__)

_SURELY_FITS: Final = MAX_EVENT_BYTES - 1_024
_GROUPED_S: Final = 0.01
_RETRY_S: Final = 1.0

_Timed = tuple[int, bytes]
"""Microseconds since 1970, and a draft."""


def real_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def random_producer() -> str:
    """16 hex characters that no other producer has."""
    return secrets.token_hex(8)


class Journal:
    """Implements `indelible.capture.host.Journal`: see there for what its methods promise.

    One object may be used by all threads. Its first event makes the file, so a process that
    records nothing leaves none. In a forked child the same object goes on as a producer of its own
    with a file of its own; what the parent had buffered stays the parent's.

    `clock` gives microseconds since 1970. It is read under the lock that also gives the sequence
    number, so both rise together; where the clock is set back the times stay what it said, and an
    entry `journal.clock_set_back` precedes them.

    A full disk fails the append, not the journal: it goes on when there is room. A file that
    somebody removed is written again from what we hold (seen within a second), with an entry
    `journal.file_removed`.
    """

    _files: ProducerFiles
    _writing: threading.Lock
    _buffering: threading.Lock
    _sync_changed: threading.Condition
    _is_syncing: bool
    _has_buffered: threading.Event
    _is_ending: threading.Event
    _writer: threading.Thread | None
    _signing: threading.Thread | None
    _buffered: deque[_Timed]

    def __init__(
        self,
        directory: Path,
        *,
        service: str = "",
        buffer_events: int = 10_000,
        max_file_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], int] = real_clock,
        new_producer: Callable[[], str] = random_producer,
        new_signer: Callable[[str, int], ProducerSigner] | None = None,
        sign_s: float = SIGN_S,
        heartbeat_s: float = HEARTBEAT_S,
        calls: FileCalls | None = None,
        sealing: Sealing = NO_SEALING,
        actor_sealing: Sealing = NO_SEALING,
        names: Sealing = NO_SEALING,
    ) -> None:
        """`actor_sealing` seals for whoever acts, and isn't held up by who reads many rows. `names`
        conceals those of persons.
        `new_signer` makes what signs for a producer and its epoch; without it nothing is signed.

        Raises `ConfigurationError` where `directory` can't be made, is open to others, or isn't
        ours to write to."""
        self.sealing = sealing
        self.actor_sealing = actor_sealing
        self._leaving = Leaving(actor_sealing, names, may_mask=True)
        self._directory = directory
        self._service = service
        self._buffer_events = buffer_events
        self._max_file_bytes = max_file_bytes
        self._clock = clock
        self._new_producer = new_producer
        self._new_signer = new_signer
        self._sign_s = sign_s
        self._heartbeat_s = heartbeat_s
        self._calls = calls or FileCalls()
        self._closing = False
        self._closed = False
        make_private_directory(directory)
        self._begin()
        # Handlers can't be taken back, so ours must not keep a journal alive.
        begin_in_child = weakref.WeakMethod(self._begin_in_child)
        os.register_at_fork(after_in_child=lambda: (begin_in_child() or _nothing)())
        atexit.register(self.close)

    @property
    def producer_id(self) -> str:
        """This process's name in the ids of its events."""
        return self._producer_id

    @property
    def epoch(self) -> int:
        """When this process began its journal, in microseconds since 1970."""
        return self._epoch

    @property
    def last_seq(self) -> int:
        """The number of the last event written; 0 before the first."""
        return self._files.seq

    @property
    def path(self) -> Path:
        """The file that is written to now, or the next one to be made."""
        return self._files.path

    def append(self, draft: bytes, *, is_repeated: bool = False) -> str:
        """Write the event; its id. Raises `DeliveryError`, and then the event isn't written.

        One that repeats what entries say `is_repeated`: it has tokens already.
        """
        if not is_repeated:
            draft = self.concealed(draft)
        if len(draft) > _SURELY_FITS:
            self._check_size(draft)
        with self._writing:
            with self._buffering:
                # In one step, so that no buffered event is dated before one written earlier.
                now = self._clock()
                waiting = self._take_buffered(now) if self._buffered or self._dropped else ()
            if waiting:
                self._write_waiting(waiting)
            seq = self._write_event(now, draft)
        return f"{self._id_before_seq}{seq}"

    def concealed(self, draft: bytes) -> bytes:
        """The draft as it is written: with tokens for names of persons, that are in the keystore
        when this returns. Raises `DeliveryError`."""
        try:
            return self._leaving.draft(draft)
        except KeystoreError as error:
            raise DeliveryError(f"names of persons can't be made tokens: {error}") from None

    def append_later(self, draft: bytes) -> None:
        """Hand the event to the writing thread; dropped and counted where the buffer is full."""
        draft = self.concealed(draft)
        if len(draft) > _SURELY_FITS:
            self._check_size(draft)
        with self._buffering:
            if self._closing:
                raise _closed_error()
            if len(self._buffered) >= self._buffer_events:
                self._dropped += 1
                return
            self._buffered.append((self._clock(), draft))
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_out_buffered, name="indelible-journal", daemon=True
                )
                self._writer.start()
        if not self._has_buffered.is_set():
            self._has_buffered.set()

    def sync(self) -> None:
        """Everything appended before, buffered events too, is on disk; one `fdatasync` for all
        concurrent callers.

        Raises `DeliveryError`; then the events are in the file, but may not survive loss of power,
        and every later `sync` tries to save them too.
        """
        with self._writing:
            self._write_buffered()
            wanted = self._files.seq
        with self._sync_changed:
            while self._is_syncing and self._files.synced_seq < wanted:
                self._sync_changed.wait()
            if self._files.synced_seq >= wanted:
                return
            self._is_syncing = True
        try:
            with self._writing:
                pending = self._files.begin_sync()
            if pending is not None:
                failed = pending.run(self._calls)
                with self._writing:
                    self._files.end_sync(pending, failed)
        finally:
            with self._sync_changed:
                self._is_syncing = False
                self._sync_changed.notify_all()

    def close(self) -> None:
        """Write out what is buffered, mark the end and sync; the journal takes no more events.

        Never raises: what couldn't be written is logged as a count. Closing again does nothing.
        """
        atexit.unregister(self.close)
        with self._buffering:
            if self._closing:
                return
            self._closing = True
            threads = [self._writer, self._signing]
        self._has_buffered.set()
        self._is_ending.set()
        for thread in threads:
            if thread is not None:
                thread.join()
        with self._writing:
            try:
                self._write_buffered()
                if self._files.seq:
                    if self._signer is not None:
                        self._sign(self._signer, is_end=True)
                    self._files.make_ready()
                    end = format_frame(FrameKind.CLOSED, self._files.seq, b"")
                    self._files.write(end, counted=0)
                    self._files.sync()
            except (DeliveryError, OSError):
                _log.exception("journal not closed in order: %d events lost", len(self._buffered))
            self._closed = True
            self._files.let_go()

    # -- a life of its own for each process ---------------------------------------------------

    def _make_locks(self) -> None:
        self._writing = threading.Lock()
        self._buffering = threading.Lock()
        self._sync_changed = threading.Condition()

    def _begin(self) -> None:
        self._make_locks()
        self._is_syncing = False
        self._has_buffered = threading.Event()
        self._is_ending = threading.Event()
        self._writer = None
        self._signing = None
        self._buffered = deque()
        self._dropped = 0
        self._producer_id = self._new_producer()
        self._epoch = self._clock()
        self._id_before_seq = f"{self._producer_id}.{self._epoch}."
        self._files = ProducerFiles(
            self._directory,
            self._producer_id,
            self._epoch,
            self._service,
            self._calls,
            self._max_file_bytes,
            self._heartbeat_s if self._new_signer else 0.0,
        )
        self._signer = self._new_signer and self._new_signer(self._producer_id, self._epoch)
        self._is_stating = False
        self._last_time = 0
        self._second = -1
        self._header_format = b""

    def _begin_in_child(self) -> None:
        if self._closed:
            self._make_locks()
            return
        self._files.let_go_in_child()
        self._begin()

    # -- events; below, `_writing` is held ----------------------------------------------------

    def _take_buffered(self, now: int) -> tuple[_Timed, ...]:
        """What is buffered, and the count of what was dropped; `_buffering` is held too."""
        waiting = tuple(self._buffered)
        self._buffered.clear()
        if self._dropped:
            waiting += ((now, _system_draft("journal.dropped", count=self._dropped)),)
            self._dropped = 0
        return waiting

    def _write_buffered(self) -> None:
        with self._buffering:
            waiting = self._take_buffered(self._clock())
        if waiting:
            self._write_waiting(waiting)

    def _write_waiting(self, waiting: tuple[_Timed, ...]) -> None:
        """Write them, or put those not written back where they were and raise."""
        written = 0
        try:
            for micros, draft in waiting:
                self._write_event(micros, draft)
                written += 1
        except DeliveryError:
            with self._buffering:
                self._buffered.extendleft(reversed(waiting[written:]))
            raise

    def _write_event(self, now: int, draft: bytes) -> int:
        """Seal and write one event, after what the journal itself has to say; its seq."""
        second, micros = divmod(now, 1_000_000)
        files, signer = self._files, self._signer
        if signer is not None and signer.unwritten is not None:
            self._write_statement(signer, now)
        if second != self._second or not files.is_ready:
            self._prepare(now)
        if now < self._last_time:
            before = self._last_time
            self._last_time = now
            self._write_own(
                now, "journal.clock_set_back", before=format_time(before), after=format_time(now)
            )
        seq = files.seq + 1
        if len(draft) <= _SURELY_FITS:
            header = self._header_format % (seq, micros, seq)
            rest = memoryview(draft)[1:]
            files.write(format_whole_event_frame(seq, header, rest))
            if signer is not None:
                signer.add(header, rest)
        else:
            producer = Producer(self._producer_id, self._epoch, seq)
            bodies = seal_parts(draft, format_time(now), producer)
            files.write(format_event_frame(seq, bodies))
            if signer is not None:
                for body in bodies:
                    signer.add(body)
        self._last_time = now
        return seq

    def _prepare(self, now: int) -> None:
        """Once a second, and whenever there is no file with room."""
        if self._closed:
            raise _closed_error()
        self._second = now // 1_000_000
        second_text = format_time(self._second * 1_000_000)[:20]
        self._header_format = header_format(self._producer_id, self._epoch, second_text)
        if not self._files.make_ready():
            self._write_own(now, "journal.file_removed", number=self._files.number - 1)
        if self._signer is not None and not self._signer.has_begun:
            self._begin_signing(now, self._signer)

    def _write_own(self, now: int, action: str, **details: Value) -> None:
        self._write_event(now, _system_draft(action, **details))

    def _check_size(self, draft: bytes) -> None:
        # A dry run, before the event has a place in the sequence or others wait behind it.
        seal_parts(draft, format_time(0), Producer(self._producer_id, self._epoch, 2**63))

    # -- what is signed -------------------------------------------------------------------------

    def _begin_signing(self, now: int, signer: ProducerSigner) -> None:
        signer.has_begun = True
        try:
            self._write_event(now, signer.began())
        except DeliveryError:
            signer.has_begun = False
            raise
        self._signing = threading.Thread(
            target=self._sign_now_and_then, args=(signer,), name="indelible-signing", daemon=True
        )
        try:
            self._signing.start()
        except RuntimeError:  # the interpreter ends: `close` signs what there is
            self._signing = None

    def _sign(self, signer: ProducerSigner, *, is_end: bool = False) -> None:
        now = self._clock()
        self._write_statement(signer, now)
        signer.state(self._files.seq, is_end=is_end)
        self._write_statement(signer, now)

    def _write_statement(self, signer: ProducerSigner, now: int) -> None:
        """Nothing but the journal's own entries comes between a statement and its last event."""
        if signer.unwritten is None or self._is_stating:
            return
        self._is_stating = True
        try:
            self._write_event(now, signer.unwritten)
            signer.unwritten = None
        finally:
            self._is_stating = False

    def _sign_now_and_then(self, signer: ProducerSigner) -> None:
        since_last_s = 0.0
        while not self._is_ending.wait(self._sign_s):
            since_last_s += self._sign_s
            try:
                with self._writing:
                    # The last statement is an event, too, which alone needs no other yet.
                    is_new = self._files.seq > signer.stated_through + 1
                    if is_new or since_last_s >= self._heartbeat_s:
                        self._sign(signer)
                        since_last_s = 0.0
            except DeliveryError:
                _log.warning("the journal's events not signed, trying again")
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("the journal's signing thread")

    # -- the writing thread -------------------------------------------------------------------

    def _write_out_buffered(self) -> None:
        while not self._closing:
            self._has_buffered.wait()
            time.sleep(_GROUPED_S)
            self._has_buffered.clear()
            try:
                with self._writing:
                    self._write_buffered()
            except DeliveryError:
                # They wait in the buffer, where newer ones find less room and are counted.
                _log.warning("journal not written, trying again")
                time.sleep(_RETRY_S)
                self._has_buffered.set()
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("the journal's writing thread")


def _nothing() -> None:
    return None


def _closed_error() -> DeliveryError:
    return DeliveryError("expected an open journal, got one that was closed")


def _system_draft(action: str, **details: Value) -> bytes:
    return encode_draft(Event(action=action, kind="system", details=details))

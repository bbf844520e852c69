"""The files that one producer's journal writes, byte by byte, and what is known of each byte.

Nothing here locks or reads a clock: `indelible.transport.journal.Journal` does, around every call.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from indelible.durable import sync_directory, take_lock
from indelible.errors import ConfigurationError, DeliveryError, StoreFullError
from indelible.transport.journal_frames import JournalHeader, format_file_start
from indelible.transport.journal_owner import this_process

_log = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 16 << 20
_OWN_FDS: Final = Path("/proc/self/fd")
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FileCalls:
    """The system calls by which a journal writes; tests put failing ones in their place."""

    write = staticmethod(os.write)
    datasync = staticmethod(os.fdatasync)
    truncate = staticmethod(os.ftruncate)


class ProducerFiles:
    """One producer's numbered files, of which only the newest is written to.

    `seq` is the number of the last event that is in them; `synced_seq` of the last one on disk.
    Methods raise `DeliveryError` (`StoreFullError` where there is no room) and leave everything
    that was in the files where it was.
    """

    def __init__(
        self,
        directory: Path,
        producer_id: str,
        epoch: int,
        service: str,
        calls: FileCalls,
        max_file_bytes: int,
        heartbeat_s: float = 0.0,
    ) -> None:
        self._directory = directory
        self._producer_id = producer_id
        self._epoch = epoch
        self._service = service
        self._calls = calls
        self._max_file_bytes = max_file_bytes
        self._heartbeat_s = heartbeat_s
        self._fd = -1
        self._torn = False
        self._sync_failed = False
        self._synced_size = 0
        self._seq_before = 0
        self.number = 1
        self.size = 0
        self.seq = 0
        self.synced_seq = 0

    @property
    def path(self) -> Path:
        """The file that is written to, or the next one to be made."""
        return self._directory / f"{self._producer_id}.{self._epoch}.{self.number}.journal"

    @property
    def is_ready(self) -> bool:
        """Whether there is a file with room."""
        return self._fd >= 0 and self.size < self._max_file_bytes

    def make_ready(self) -> bool:
        """Afterwards there is a file with room, in its place; False where it had been removed.

        A removed file is still held by us: all of it is written again to a new one. What had been
        delivered from it comes twice, at the same positions, and is dropped.
        """
        if self._fd < 0:
            self._open(self.seq)
        elif os.fstat(self._fd).st_nlink == 0:
            self._carry_over(0)
            return False
        elif self.size >= self._max_file_bytes:
            self._rotate()
        return True

    def write(self, frame: bytes, *, counted: int = 1) -> None:
        """Append `frame`, which takes `counted` sequence numbers, in one system call.

        Where the disk takes only a piece of it, that is cut off again, and `DeliveryError` raised.
        """
        if self._torn:
            self._cut_torn_frame()
        size = len(frame)
        written = 0
        try:
            written = self._calls.write(self._fd, frame)
            while written < size:
                written += self._calls.write(self._fd, frame[written:])
        except OSError as error:
            if written:
                self._torn = True
                self._try_to_cut_torn_frame()
            raise _delivery_error(error, self.path) from error
        self.size += size
        self.seq += counted

    def begin_sync(self) -> PendingSync | None:
        """What must be synced for everything written by now; None where it is on disk already."""
        if self._fd < 0 or self.seq == self.synced_seq:
            return None
        if self._sync_failed:
            self._carry_over(self._synced_size)
            return None
        # A copy, so that leaving this file meanwhile doesn't pull it from under the sync.
        return PendingSync(os.dup(self._fd), self.number, self.size, self.seq)

    def end_sync(self, pending: PendingSync, error: OSError | None) -> None:
        """Remember that `pending` is on disk, or save what it failed to put there."""
        if error is None:
            self.synced_seq = max(self.synced_seq, pending.seq)
            if self.number == pending.number:
                self._synced_size = pending.size
        elif self.number == pending.number:
            # After a failed sync the kernel no longer thinks these pages dirty, and the next one
            # would succeed with nothing done: write them elsewhere.
            self._sync_failed = True
            self._carry_over(self._synced_size)
        else:
            raise _delivery_error(error, self.path)

    def sync(self) -> None:
        """Everything written is on disk."""
        pending = self.begin_sync()
        if pending is not None:
            self.end_sync(pending, pending.run(self._calls))

    def let_go(self) -> None:
        """Close the file, and with it the lock that says we live."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def let_go_in_child(self) -> None:
        """Close what a forked child has of its parent's files: their lock is to go with the parent.

        Also what another thread was just making, syncing or leaving, of which no more is known here
        than its name. The relay's copies, which only read, stay.
        """
        try:
            links = list(_OWN_FDS.iterdir())
        except OSError:
            self.let_go()
            return
        self._fd = -1
        ours = f"{self._producer_id}.{self._epoch}."
        for link in links:
            with contextlib.suppress(OSError):
                fd = int(link.name)
                if link.readlink().name.startswith(ours) and _is_written_to(fd):
                    os.close(fd)

    def _open(self, seq_before: int) -> None:
        """Make the next file and hold it; its name is on disk when this returns."""
        boot, space, pid, since = this_process()
        try:
            while True:
                self._fd = _create_held(self.path)
                if self._fd >= 0:
                    break
                self.number += 1
            start = format_file_start(
                JournalHeader(
                    producer=self._producer_id,
                    epoch=self._epoch,
                    number=self.number,
                    service=self._service,
                    boot=boot,
                    pid_space=space,
                    pid=pid,
                    started=since,
                    heartbeat_s=self._heartbeat_s,
                ),
                seq_before,
            )
            if self._calls.write(self._fd, start) != len(start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._calls.datasync(self._fd)
            sync_directory(self._directory)
        except OSError as error:
            if self._fd >= 0:
                self.path.unlink(missing_ok=True)
                self.let_go()
            raise _delivery_error(error, self.path) from error
        self._seq_before = seq_before
        self._torn = self._sync_failed = False
        self.size = self._synced_size = len(start)

    def _rotate(self) -> None:
        """Go on in a next file; all of this one is on disk."""
        self.sync()
        if self.size >= self._max_file_bytes:  # else the sync failed, and carried over already
            self.let_go()
            self.number += 1
            self._open(self.seq)

    def _cut_torn_frame(self) -> None:
        try:
            self._calls.truncate(self._fd, self.size)
            self._torn = False
        except OSError:
            # Left where it is, the torn frame would make the file look damaged from there on.
            self._carry_over(self._synced_size)

    def _try_to_cut_torn_frame(self) -> None:
        try:
            self._cut_torn_frame()
        except DeliveryError:
            _log.warning("a torn frame is still in the journal; tried again before the next one")

    def _carry_over(self, start: int) -> None:
        """Copy this file's bytes from `start` to a next file, on disk, and go on there.

        Raises `DeliveryError` and goes on in this one. The copied events keep their positions.
        """
        before = (self._fd, self.number, self.size, self._synced_size, self._torn)
        held, number, size, _, _ = before
        self._fd = -1
        self.number = number + 1
        try:
            frames = _read_all(held, start, size)
            # Some of them may stand in no other file, so it says that it has them all.
            self._open(self._seq_before)
            if frames:
                self.write(frames, counted=0)
            self._calls.datasync(self._fd)
        except (OSError, DeliveryError) as error:
            if self._fd >= 0:
                self.path.unlink(missing_ok=True)
                self.let_go()
            self._fd, self.number, self.size, self._synced_size, self._torn = before
            self._sync_failed = True
            if isinstance(error, OSError):
                raise _delivery_error(error, self.path) from error
            raise
        os.close(held)
        self._synced_size = self.size
        self.synced_seq = self.seq


class PendingSync:
    """One `fdatasync` to be made without any lock held."""

    def __init__(self, fd: int, number: int, size: int, seq: int) -> None:
        self._fd = fd
        self.number = number
        self.size = size
        self.seq = seq

    def run(self, calls: FileCalls) -> OSError | None:
        """Sync, once; the error, if there was one."""
        try:
            calls.datasync(self._fd)
        except OSError as error:
            return error
        finally:
            os.close(self._fd)
        return None


def make_private_directory(directory: Path) -> None:
    """Make `directory` for its owner alone; raises `ConfigurationError` where it is open wider."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise ConfigurationError(
            f"expected a directory for journals at {directory}: {error.strerror}"
        ) from None
    if mode & 0o077:
        raise ConfigurationError(
            f"expected {directory} to be open to its owner only, got mode {mode & 0o777:o}: "
            f"chmod 700 {directory}"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(f"expected to be allowed to write to {directory}")


def _is_written_to(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def _create_held(path: Path) -> int:
    """A new file that we hold the lock of; -1 where somebody was quicker."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return -1
    # Between these two calls a relay may take the empty file for a dead process's and remove it.
    if take_lock(fd) and os.fstat(fd).st_nlink:
        return fd
    os.close(fd)
    return -1


def _read_all(fd: int, start: int, end: int) -> bytes:
    pieces = []
    while start < end:
        piece = os.pread(fd, end - start, start)
        if not piece:
            raise OSError(errno.EIO, "the file is shorter than what was written")
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def _delivery_error(error: OSError, path: Path) -> DeliveryError:
    kind = StoreFullError if error.errno in _NO_ROOM else DeliveryError
    return kind(f"expected to write to the journal {path}: {error.strerror}; make room, try again")

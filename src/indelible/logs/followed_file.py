"""A log file that grows, read on from where it was left: over rotation, truncation and restarts.

As `tail -F` does it, by looking again and again. A file is known by device and inode, and a place
in it by the bytes before: an inode that was given to another file, or a file that was cut and has
grown again, is begun anew. What that skips or brings twice, the numbers of a stream tell.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from indelible.errors import ConfigurationError

_READ_BYTES: Final = 65_536
_BEFORE_BYTES: Final = 256
_MAX_PLACES: Final = 16
_PACKED: Final = (".gz", ".xz", ".bz2", ".zst", ".lz4", ".tmp", ".swp")
_JOINTS: Final = (".", "-", "_")
_MAX_LISTINGS: Final = 20
_log = logging.getLogger(__name__)


class FilePlace(msgspec.Struct, frozen=True):
    """How far a file was read: `before` is a hash of the last bytes before `offset`, `mtime_ns`
    when the file had last been written to."""

    device: int
    inode: int
    offset: int
    before: str
    mtime_ns: int


class FollowedFile:
    """The file at `path`, the ones that were renamed away from there (`app.log.1`,
    `app.log-20261130`), and the ones that will be made there.

    A renamed file is read until nothing came for `linger_s`: its writer may have it open still.
    """

    has_end: ClassVar = False

    def __init__(
        self,
        path: Path,
        places: Sequence[FilePlace] = (),
        *,
        once: bool = False,
        linger_s: float = 1.0,
        poll_s: float = 0.2,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`places` is what `place` said of an earlier reading, the last one first to go on at;
        without, `path` is read from its beginning. With `once` reading ends at its present end.

        Raises `ConfigurationError` where it can't be read, or, with `once`, isn't there.
        """
        self._path = path
        self._once = once
        self._linger_s = linger_s
        self._poll_s = poll_s
        self._is_stopping = is_stopping
        self._left = {(place.device, place.inode): place for place in places}
        self._current: _Opened | None = None
        self._waits = False
        try:
            self._current = self._open_first(places[-1] if places else None)
        except OSError as error:
            if once or not isinstance(error, FileNotFoundError):
                raise ConfigurationError(
                    f"expected a log in {path}, got {error.strerror}"
                ) from None

    def read(self) -> Iterator[bytes]:
        """What is in it and what comes; nothing, now and then, where nothing does. Ends once
        `is_stopping`, or with `once` at the end."""
        while not self._is_stopping():
            file = self._current
            if file is None:
                if not self._open_next():
                    yield b""
                    time.sleep(self._poll_s)
                continue
            data = file.read()
            if data is None:
                _log.warning("a log was cut short: it is read from its beginning")
                is_torn = file.is_torn
                file.begin_again()
                if is_torn:
                    yield b"\n"
            elif data:
                yield data
            elif self._is_at_path(file) or not (self._once or file.quiet_s() >= self._linger_s):
                if self._once:
                    return
                yield b""
                time.sleep(self._poll_s)
            elif self._open_next():
                if file.is_torn:
                    yield b"\n"  # What it ended with is a line, whether it was whole or not.
            elif self._once:
                return
            else:
                yield b""
                time.sleep(self._poll_s)

    def place(self, unread: int) -> list[FilePlace]:
        """Where to go on, `unread` bytes before what `read` gave; renamed files that were read
        come before."""
        found = dict(self._left)
        if self._current is not None:
            found.pop(self._current.identity, None)
            found[self._current.identity] = self._current.place(unread)
        return list(found.values())[-_MAX_PLACES:]

    def close(self) -> None:
        """Let go of it."""
        if self._current is not None:
            self._current.close()

    def _open_first(self, place: FilePlace | None) -> _Opened:
        if place is None:
            return _Opened(self._path, None)
        for path, status in self._listed().items():
            if _identity(status) == (place.device, place.inode):
                opened = _Opened(path, place)
                if opened.identity == (place.device, place.inode):
                    return opened
                opened.close()  # renamed meanwhile
                return self._open_first(place)
        # It is gone, or packed. What was written to after it is read; what it still held is missed.
        return self._open_after(place.mtime_ns, None)

    def _open_next(self) -> bool:
        """Leave the current file for the one that was made after it; whether there is one."""
        before, after = self._current, 0
        if before is not None:
            place = before.place(0)
            self._left.pop(before.identity, None)
            self._left[before.identity] = place
            after = place.mtime_ns
        try:
            opened = self._open_after(after, before)
        except (OSError, ConfigurationError) as error:
            if not self._waits and not isinstance(error, FileNotFoundError):
                said = error.strerror if isinstance(error, OSError) else str(error)
                _log.warning("waiting for a log that can't be read: %s", said)
            self._waits = True
            return False
        self._waits = False
        if before is not None:
            before.close()
        self._current = opened
        return True

    def _open_after(self, mtime_ns: int, before: _Opened | None) -> _Opened:
        """The renamed file that was written to next after `mtime_ns`, or the one at `path`."""
        renamed: list[tuple[int, Path, tuple[int, int] | None]] = []
        for path, status in self._listed().items() if mtime_ns else ():
            ending = path.name.removeprefix(self._path.name)
            if ending == path.name or ending[:1] not in _JOINTS or ending.endswith(_PACKED):
                continue
            identity = _identity(status)
            left = self._left.get(identity)
            is_read = left is not None and left.offset == status.st_size
            is_current = before is not None and identity == before.identity
            if status.st_mtime_ns >= mtime_ns and not is_read and not is_current:
                renamed.append((status.st_mtime_ns, path, identity))
        _, path, wanted = min(renamed, default=(0, self._path, None))
        opened = _Opened(path, self._left.get(wanted or _identity(self._path.stat())))
        if wanted in (None, opened.identity):
            return opened
        opened.close()  # renamed meanwhile
        return self._open_after(mtime_ns, before)

    def _listed(self) -> dict[Path, os.stat_result]:
        """The files beside ours. Listed until it comes out the same twice: one that is renamed
        meanwhile may be in neither place."""
        found: dict[Path, os.stat_result] = {}
        for _ in range(_MAX_LISTINGS):
            before, found = found, {}
            for path in self._path.parent.iterdir():
                status = _status(path)
                if status is not None:
                    found[path] = status
            if {path: each.st_ino for path, each in before.items()} == {
                path: each.st_ino for path, each in found.items()
            }:
                break
        return found

    def _is_at_path(self, file: _Opened) -> bool:
        status = _status(self._path)
        return status is not None and _identity(status) == file.identity


class _Opened:
    """One file, open, at a place."""

    def __init__(self, path: Path, place: FilePlace | None) -> None:
        """Raises `OSError`, and `ConfigurationError` where it is no file."""
        # Not to wait for the writer of a pipe.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise ConfigurationError(f"expected a log in {path}, got no file")
        self.identity = _identity(status)
        self._offset = 0
        self._before = b""
        self.is_torn = False
        self._last_came = time.monotonic()
        if place is not None and self.identity == (place.device, place.inode):
            before = self._bytes_before(place.offset)
            if _hash(before) == place.before:
                self._offset, self._before = place.offset, before

    def read(self) -> bytes | None:
        """What stands next in it; None where it was cut, or isn't what was read so far."""
        found = os.pread(
            self._fd, len(self._before) + _READ_BYTES, self._offset - len(self._before)
        )
        if not found.startswith(self._before):
            return None
        data = found[len(self._before) :]
        if data:
            self._offset += len(data)
            self._before = found[-_BEFORE_BYTES:]
            self.is_torn = not data.endswith(b"\n")
            self._last_came = time.monotonic()
        return data

    def begin_again(self) -> None:
        self._offset, self._before, self.is_torn = 0, b"", False

    def quiet_s(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self._last_came

    def place(self, unread: int) -> FilePlace:
        offset = self._offset - unread
        before = _hash(self._bytes_before(offset))
        return FilePlace(*self.identity, offset, before, os.fstat(self._fd).st_mtime_ns)

    def close(self) -> None:
        os.close(self._fd)

    def _bytes_before(self, offset: int) -> bytes:
        start = max(0, offset - _BEFORE_BYTES)
        return os.pread(self._fd, offset - start, start)


def _status(path: Path) -> os.stat_result | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _hash(before: bytes) -> str:
    return hashlib.sha256(b"indelible log place v1|" + before).hexdigest()[:32]

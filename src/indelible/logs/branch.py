"""Where the application's lines go on to: stderr, a file that is rotated, or a command.

Written by a thread of its own, so that nobody who doesn't read them holds up what must be kept:
where too much waits, lines are shed and counted, and the count stands where they would have.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from indelible.errors import ConfigurationError

MAX_WAITING_BYTES: Final = 8 * 2**20
_BATCH: Final = 256
_log = logging.getLogger(__name__)


class Output(Protocol):
    """Takes whole lines, as long as it may take. Raises `OSError` where they go nowhere."""

    def write(self, lines: bytes) -> None: ...
    def close(self) -> None: ...


class Branch:
    """A bounded queue of lines before an output."""

    def __init__(self, output: Output, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._output = output
        self._max = max_waiting_bytes
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._shed = 0
        self._untold = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="indelible-tee", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Hand over a line, or shed it; never waits."""
        with self._changed:
            if self._waiting_bytes + len(line) > self._max:
                self._shed += 1
                self._untold += 1
                return
            if self._shed:
                self._add(_shed_line(self._shed))
                self._shed = 0
            self._add(line)
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits, for so long at most; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting_bytes, timeout_s)

    def take_shed(self) -> int:
        """How many lines were shed since this was last asked."""
        with self._changed:
            count, self._untold = self._untold, 0
        return count

    def close(self, timeout_s: float) -> bool:
        """Write what waits, for so long at most; whether all was."""
        with self._changed:
            if self._shed:
                self._add(_shed_line(self._shed))
                self._shed = 0
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self._untold += len(self._lines)
        return not self._thread.is_alive()

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line)

    def _run(self) -> None:
        has_failed = False
        while True:
            with self._changed:
                while not self._lines and not self._is_closing:
                    self._changed.wait()
                if not self._lines:
                    break
                batch = [self._lines.popleft() for _ in range(min(_BATCH, len(self._lines)))]
            lines = b"".join(batch)
            try:
                self._output.write(lines)
                has_failed = False
            except OSError as problem:
                if not has_failed:
                    _log.error("the application's lines go nowhere: %s", problem.strerror)
                has_failed = True
            with self._changed:
                self._waiting_bytes -= len(lines)
                if has_failed:
                    self._shed += len(batch)
                    self._untold += len(batch)
                if not self._waiting_bytes:
                    self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._output.close()


class DescriptorOutput:
    """An open descriptor, such as stderr."""

    def __init__(self, fd: int) -> None:
        """Raises `ConfigurationError` where it is closed."""
        try:
            self._fd = os.dup(fd)
        except OSError:
            raise ConfigurationError(
                f"expected descriptor {fd} for the application's lines, got a closed one: "
                "--to-file or --to-command is another way for them"
            ) from None

    def write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        os.close(self._fd)


class FileOutput:
    """A file, which is renamed to `.1`, that to `.2` and so on where it would grow too large."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Raises `ConfigurationError` where it can't be opened."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd = -1
        self._size = 0
        self._is_torn = False
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(
                f"expected to append to {path}, got {error.strerror}"
            ) from None

    def write(self, lines: bytes) -> None:
        if self._size and self._size + len(lines) > self._max_bytes:
            self._rotate()
        if self._fd < 0:
            self._open()
        view = memoryview(b"\n" + lines if self._is_torn else lines)
        self._is_torn = True  # What a full disk cuts off is a line of its own.
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]
        self._is_torn = False

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        # Opened anew by who writes next, where that fails here: never a number that is another's.
        self.close()
        self._size = 0
        self._is_torn = False
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = (
                self._path.with_name(f"{self._path.name}.{number - 1}")
                if number > 1
                else self._path
            )
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if not self._keep:
            self._path.unlink(missing_ok=True)
        self._open()


class CommandOutput:
    """A command that reads lines from its standard input; started again where it ended."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises `ConfigurationError` where it can't be started."""
        self._command = list(command)
        try:
            self._start()
        except OSError as error:
            raise ConfigurationError(
                f"expected to run {command[0]!r} for the application's lines, got {error.strerror}"
            ) from None

    def write(self, lines: bytes) -> None:
        if self._process.poll() is not None:
            self._start()
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(lines)
            pipe.flush()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603 - its owner's


def _shed_line(count: int) -> bytes:
    return b'{"v":1,"c":"U","shed":%d}\n' % count

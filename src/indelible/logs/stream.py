"""This process's stream of lines on stderr: numbered, signed, each put there by one `write`.

Lines go to a descriptor of our own, so that whoever closes, replaces or wraps `sys.stderr` changes
nothing. A forked child begins a stream of its own. What couldn't be written is counted and said
with the next line that can.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import secrets
import select
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from indelible.errors import DeliveryError
from indelible.logs.encoding import Json, ascii_json
from indelible.logs.frames import (
    MAX_LINE_BYTES,
    TRAILER_BYTES,
    LineClass,
    StreamId,
    StreamKeys,
)

WhenStuck = Literal["block", "drop", "raise"]

_MAX_BODY: Final = MAX_LINE_BYTES - TRAILER_BYTES
_PART_OVERHEAD: Final = 96
_MAX_PARTS: Final = 64
_HEARTBEAT_S: Final = 10.0


class Stuck(msgspec.Struct, frozen=True):
    """What is done where the reader of the stream takes no more: after `deadline_s` a line is
    dropped and counted, or the caller gets `DeliveryError`; with `block` they wait for ever."""

    what: WhenStuck = "block"
    deadline_s: float = 1.0


APPLICATION_STUCK: Final = Stuck("drop", 1.0)
AUDIT_STUCK: Final = Stuck("block")


class LogStream:
    """Where lines are written. Safe for threads, and after a fork."""

    _lock: threading.RLock
    _closing: threading.Event
    _is_writing: bool
    _deferred: deque[tuple[LineClass, str]]
    _keys: StreamKeys | None
    _seq: int
    _lost: int
    _has_begun: bool

    def __init__(
        self,
        fd: int,
        master: bytes | None,
        *,
        service: str = "",
        application: Stuck = APPLICATION_STUCK,
        audit: Stuck = AUDIT_STUCK,
        heartbeat_s: float = _HEARTBEAT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`fd` is duplicated. Without `master` lines are written unsigned and unnumbered."""
        self._fd = _own_descriptor(fd)
        self._master = master
        self._service = service
        self._stuck: dict[LineClass, Stuck] = {"A": audit, "L": application, "C": application}
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._begin()
        begin_in_child = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (begin_in_child() or _nothing)())
        atexit.register(self.close)

    @property
    def is_signed(self) -> bool:
        return self._master is not None

    def write(self, line_class: LineClass, body: str) -> bool:
        """Write one record: `body` is its JSON object without the closing brace. Whether it was
        written; raises `DeliveryError` only where the owner chose `raise`, or for an audit event
        that can't be written at all."""
        with self._lock:
            if self._is_writing:
                # A signal's handler or a finalizer, in the midst of another line of this thread's:
                # its line comes right behind that one.
                self._deferred.append((line_class, body))
                return True
            self._is_writing = True
            try:
                if self._has_begun and len(body) <= _MAX_BODY:  # as nearly all
                    return self._write_line(line_class, body)
                return self._write_record(line_class, body)
            finally:
                try:
                    while self._deferred:
                        self._write_record(*self._deferred.popleft())
                finally:
                    self._is_writing = False

    def close(self) -> None:
        """Say that the stream ends here. Lines that come later begin another."""
        atexit.unregister(self.close)
        with self._lock:
            if self._has_begun:
                self.write("C", _said("end"))
            self._closing.set()
            self._renew()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._is_writing = False
        self._deferred = deque()
        self._renew()

    def _renew(self) -> None:
        self._keys = None
        self._seq = 0
        self._lost = 0
        self._has_begun = False

    # -- lines; below, `_lock` is held ----------------------------------------------------------

    def _write_record(self, line_class: LineClass, body: str) -> bool:
        if not self._has_begun and self._master is not None:
            # Named now, not when the process began: a name that is older than many streams that are
            # over is taken for one of theirs.
            name = StreamId(f"{int(self._clock()):08x}{secrets.token_hex(4)}")
            self._keys = StreamKeys(self._master, name)
            self._has_begun = True
            self._write_line("C", _said("begin", pid=os.getpid(), service=self._service))
            self._start_heart()
        if len(body) <= _MAX_BODY:
            return self._write_line(line_class, body)
        return self._write_parts(line_class, body)

    def _write_line(self, line_class: LineClass, body: str) -> bool:
        if self._lost and line_class != "C":
            lost, self._lost = self._lost, 0
            if not self._write_line("C", _said("lost", lines=lost)):
                self._lost += lost
        keys = self._keys
        line = (
            f"{body}}}\n".encode() if keys is None else keys.seal(line_class, body, self._seq + 1)
        )
        if self._put(line, self._stuck[line_class]):
            self._seq += 1
            return True
        self._lost += line_class != "C"
        if line_class == "A":
            raise DeliveryError("expected an audit event on the log stream, nobody reads it")
        return False

    def _write_parts(self, line_class: LineClass, body: str) -> bool:
        """A record in several lines, each with a piece of its JSON as a string."""
        text = body + "}"
        room = (_MAX_BODY - _PART_OVERHEAD) // 2  # each quote and backslash becomes two
        pieces = [text[start : start + room] for start in range(0, len(text), room)]
        if len(pieces) > _MAX_PARTS:
            self._lost += 1
            return False
        first = self._seq + 1
        for number, piece in enumerate(pieces, 1):
            place = f"[{number},{len(pieces)},{first}]"
            head = f'{{"v":1,"c":"{line_class}","part":{place},"json":{ascii_json(piece)}'
            if not self._write_line(line_class, head):
                return False
        return True

    def _put(self, line: bytes, stuck: Stuck) -> bool:
        """One `write`; again from where it ended, where a file or terminal took less."""
        deadline = None
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:
                if deadline is None:
                    deadline = time.monotonic() + stuck.deadline_s
                left = None if stuck.what == "block" else deadline - time.monotonic()
                if left is not None and left <= 0:
                    if stuck.what == "raise":
                        raise DeliveryError(
                            f"expected the log stream to be read within {stuck.deadline_s} s"
                        ) from None
                    return False
                _wait_for_room(self._fd, left)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                return False  # a full disk, a reader that is gone
        return True

    # -- a sign of life ---------------------------------------------------------------------------

    def _start_heart(self) -> None:
        arguments = (weakref.ref(self), self._closing, self._heartbeat_s)
        threading.Thread(
            target=_beat, args=arguments, name="indelible-log-stream", daemon=True
        ).start()

    def beat(self) -> None:
        """Say that the stream is alive, and how many lines it had."""
        with self._lock:
            if self._has_begun:
                self.write("C", _said("alive", lines=self._seq))


def _beat(stream: weakref.ref[LogStream], closing: threading.Event, every_s: float) -> None:
    while not closing.wait(every_s):
        found = stream()
        if found is None:
            return
        found.beat()
        del found


def _own_descriptor(fd: int) -> int:
    """A descriptor beside `fd`, above those that a shell redirects, closed on exec.

    Of a pipe it is another opening of the same end: that can be told not to block without the
    other writers noticing, so that a reader who takes no more can't hold us for longer than was
    chosen.
    """
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    except OSError:
        # stderr was closed: what is said goes nowhere, and is counted as lost.
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _wait_for_room(fd: int, seconds: float | None) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(None if seconds is None else max(1, int(seconds * 1_000)))


def _said(what: str, **details: Json) -> str:
    """The body of what a stream says of itself."""
    return ascii_json({"v": 1, "c": "C", "is": what, **details})[:-1]


def _nothing() -> None:
    return None

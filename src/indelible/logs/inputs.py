"""Where a tee reads a stream that something else started: each says where a later tee goes on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ClassVar, Final, Protocol

from indelible.logs.followed_file import FilePlace

_READ_BYTES: Final = 65_536
_WAKE_MS: Final = 200

Place = list[FilePlace] | str | None
"""Where an input was left: files, the cursor of a journal, or nothing where it can't be found
again."""


class Input(Protocol):
    """What a tee reads: `DescriptorInput`, `FollowedFile`, `SystemdJournal`."""

    has_end: ClassVar[bool]
    """Whether no more comes of it, ever, once `read` ended."""

    def read(self) -> Iterator[bytes]:
        """What comes; nothing, now and then, where nothing does."""

    def place(self, unread: int) -> Place:
        """Where a later tee goes on: `unread` bytes before the end of what `read` gave."""


class DescriptorInput:
    """A pipe, such as standard input. What was in it when a tee ended is gone."""

    has_end: ClassVar = True

    def __init__(
        self, fd: int, *, is_over: Callable[[], bool] = lambda: False, linger_s: float = 0.0
    ) -> None:
        """Once it `is_over` it ends where nothing came for `linger_s`, too."""
        self._fd = fd
        self._is_over = is_over
        self._linger_ms = int(linger_s * 1_000)

    def read(self) -> Iterator[bytes]:
        """See `Input.read`."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            is_over = self._is_over()
            if not poll.poll(self._linger_ms if is_over else _WAKE_MS):
                if is_over:
                    return
                yield b""
                continue
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                return
            yield data

    def place(self, unread: int) -> None:
        """Nowhere."""


class Stopping:
    """Whether SIGTERM or SIGINT came."""

    def __init__(self) -> None:
        self.is_asked = False

    def __call__(self) -> bool:
        return self.is_asked

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """Take both, while inside."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.is_asked = True

        before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

"""A socket that `http.client` reads from until a moment, not for so long after each byte."""

from __future__ import annotations

import io
import socket
import time
from typing import Any, Literal


class DeadlineSocket:
    """A socket whose reads end at a moment, however often a byte trickles in."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.deadline = 0.0

    def sendall(self, content: bytes) -> None:
        self._inner.settimeout(seconds_left(self.deadline))
        self._inner.sendall(content)

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        raw = self._inner.makefile(mode, buffering=0)
        return io.BufferedReader(_DeadlineReader(self._inner, raw, self.deadline))

    def close(self) -> None:
        self._inner.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, inner: socket.socket, raw: Any, deadline: float) -> None:
        super().__init__()
        self._inner = inner
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._inner.settimeout(seconds_left(self._deadline))
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def seconds_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left

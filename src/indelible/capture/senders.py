"""Who signs contexts for a database: found out when needed, from a server that may be away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from indelible.capture.host import CaptureHost
from indelible.errors import IndelibleError, NotInstalledError
from indelible.policy.model import Server

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

_ASK_AGAIN_S: Final = 5.0
_AWAY_AGAIN_S: Final = 0.2
_AWAY_S: Final = 2.0
"""A server that is found away faster than this is asked again soon: what is written when it is
back, and before that, is nobody's. Once is no news: the application's own statement fails, too."""


class Senders(Protocol[S_co]):
    """Signs contexts for the database of an engine."""

    def sender(self) -> S_co | None:
        """None while there is no capture there, or it can't be asked."""


class DatabaseSenders(Generic[S]):
    """The sender of one database, found out when it is first needed. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server, make: Callable[[], S]) -> None:
        """`make` raises `IndelibleError` where there is none now."""
        self._trail = trail
        self._server = server
        self._make = make
        self._asking = threading.Lock()
        self._sender: S | None = None
        self._again_s = float("-inf")
        self._was_away = False
        self._has_noticed = False

    def sender(self) -> S | None:
        """See `Senders`."""
        if self._sender is None:
            with self._asking:
                if self._sender is None and time.monotonic() > self._again_s:
                    self._sender = self._ask()
        return self._sender

    def _ask(self) -> S | None:
        began_s = time.monotonic()
        pause_s = _ASK_AGAIN_S
        try:
            sender = self._make()
            # Installed from elsewhere, perhaps: who writes there sees to it that it is carried.
            self._trail.watch_server()
            return sender
        except NotInstalledError:
            self._notice("writes aren't captured: run `indelible install`")
        except IndelibleError as problem:
            if time.monotonic() - began_s < _AWAY_S:
                pause_s = _AWAY_AGAIN_S
            if pause_s == _ASK_AGAIN_S or self._was_away:
                self._notice(f"changes have no actor: {problem}")
            self._was_away = True
        self._again_s = time.monotonic() + pause_s
        return None

    def _notice(self, message: str) -> None:
        if not self._has_noticed:
            self._has_noticed = True
            self._trail.notice("capture.not_installed", message, database=str(self._server))

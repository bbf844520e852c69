"""Watching a server's database while applications run: triggers, and who holds up the outbox."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable
from typing import Final

from indelible.capture.drift import Notice
from indelible.errors import IndelibleError, NotInstalledError
from indelible.policy.model import Policy, Server
from indelible.transport.server_reader import ServerOutboxReader

_EVERY_S: Final = 1.0
_HELD_S: Final = 300.0


class ServerWatch:
    """Compares triggers with the policy whenever the catalogue has changed.

    A drift is noticed once, until it is gone, with the interval in which it came about. So is a
    transaction that has held up the outbox for five minutes. A database that can't be read now is
    looked at again later. Used from the relay's thread, on the reader's connection.
    """

    def __init__(
        self,
        server: Server,
        policy: Policy,
        reader: ServerOutboxReader,
        notice: Notice,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._server = server
        self._policy = policy
        self._reader = reader
        self._notice = notice
        self._monotonic = monotonic
        self._now = now
        self._looked = float("-inf")
        self._seen_at: str | None = None
        self._fingerprint: str | None = None
        self._known: frozenset[str] = frozenset()
        self._holder: str | None = None

    def look(self) -> None:
        """Look, at most once a second."""
        now = self._monotonic()
        if now - self._looked < _EVERY_S:
            return
        self._looked = now
        with contextlib.suppress(IndelibleError):
            self._look_for_drift()
            self._look_for_holder()

    def _look_for_drift(self) -> None:
        moment = self._now().isoformat(timespec="milliseconds")
        with self._reader.outbox() as outbox:
            fingerprint = outbox.fingerprint()
            if fingerprint != self._fingerprint:
                try:
                    found = {str(drift) for drift in outbox.check(self._policy)}
                except NotInstalledError as error:
                    found = {str(error)}
                for drift in sorted(found - self._known):
                    self._notice(
                        "capture.drift",
                        f"not captured as it should be: {drift}",
                        database=str(self._server),
                        since=self._seen_at or "before this relay began to look",
                        until=moment,
                    )
                self._known = frozenset(found)
        self._fingerprint = fingerprint
        self._seen_at = moment

    def _look_for_holder(self) -> None:
        held = self._reader.held_by()
        if held is None or held[0] < _HELD_S:
            self._holder = None
            return
        since_s, holder = held
        if holder.xid != self._holder:
            self._holder = holder.xid
            began = self._now() - dt.timedelta(seconds=since_s)
            self._notice(
                "outbox.held",
                f"changes wait for {holder}, open since {began:%Y-%m-%d %H:%M} UTC at least: "
                "nothing behind its beginning can be carried",
                database=str(self._server),
            )

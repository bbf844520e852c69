"""Watching a server's database while applications run: triggers, and who holds up the outbox."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable
from typing import Final

from indelible.capture.drift import DRIFT, Notice
from indelible.capture.host import Journal
from indelible.errors import ConfigurationError, IndelibleError, NotInstalledError
from indelible.policy.model import Policy, Server
from indelible.transport.server_reader import ServerOutboxReader

_EVERY_S: Final = 1.0
_FALL_BACK_AGAIN_S: Final = 60.0
_HELD_S: Final = 300.0


class ServerWatch:
    """Compares triggers with the policy whenever the catalogue has changed.

    A drift is noticed once, until it is gone, with the interval in which it came about. So is a
    transaction that has held up the outbox for five minutes. Where the log was lost, capture goes
    on by triggers. A database that can't be read now is
    looked at again later. Used from the relay's thread, on the reader's connection.
    """

    def __init__(
        self,
        server: Server,
        policy: Policy,
        reader: ServerOutboxReader,
        notice: Notice,
        journal: Journal,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._server = server
        self._policy = policy
        self._reader = reader
        self._notice = notice
        self._journal = journal
        self._fall_back_at = float("-inf")
        self._is_endangered = False
        self._monotonic = monotonic
        self._now = now
        self._looked = float("-inf")
        self._seen_at: str | None = None
        self._fingerprint: str | None = None
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._holder: str | None = None

    def look(self) -> None:
        """Look, at most once a second."""
        now = self._monotonic()
        if now - self._looked < _EVERY_S:
            return
        self._looked = now
        with contextlib.suppress(IndelibleError):
            if now >= self._fall_back_at:
                self._fall_back()
            self._look_at_log()
            self._look_for_drift()
            self._look_for_holder()

    def _fall_back(self) -> None:
        try:
            with self._reader.outbox() as outbox:
                if outbox.fall_back(self._policy, self._journal):
                    self._notice(
                        "capture.fell_back",
                        "the log can't be read on: writes are captured by triggers now; "
                        "`indelible install` goes back to the log",
                        database=str(self._server),
                    )
        except ConfigurationError as error:
            if self._fall_back_at < 0:
                self._notice(
                    "capture.fallback_failed",
                    f"the log can't be read on, and triggers could not be made: {error}: run "
                    "`indelible install` as the tables' owner",
                    database=str(self._server),
                )
            self._fall_back_at = self._monotonic() + _FALL_BACK_AGAIN_S

    def _look_at_log(self) -> None:
        with self._reader.outbox() as outbox:
            look = outbox.log()
        is_endangered = look is not None and look.is_endangered
        if is_endangered and not self._is_endangered:
            self._notice(
                "log.endangered",
                f"the log isn't read as fast as it is written, or a transaction is open for long: "
                f"{look}",
                database=str(self._server),
            )
        self._is_endangered = is_endangered

    def _look_for_drift(self) -> None:
        moment = self._now().isoformat(timespec="milliseconds")
        with self._reader.outbox() as outbox:
            fingerprint = outbox.fingerprint()
            if fingerprint != self._fingerprint:
                try:
                    found = {(drift.table, str(drift)) for drift in outbox.check(self._policy)}
                except NotInstalledError as error:
                    found = {("", str(error))}
                for table, drift in sorted(found - self._known):
                    self._notice(
                        DRIFT,
                        f"not captured as it should be: {drift}",
                        database=str(self._server),
                        table=table,
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

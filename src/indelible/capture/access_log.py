"""Where what one connection handed out is written, and when it is on disk (`AccessWriter`)."""

from __future__ import annotations

import contextlib
import threading
from collections import deque

from indelible.capture.access import Access
from indelible.capture.access_event import NOBODY, Who
from indelible.capture.database_reads import DatabaseReads, ScopeReads
from indelible.errors import DeliveryError
from indelible.events.context import Frame, Scope, current_frame
from indelible.policy.model import Durability


class AccessLog:
    """The accesses of one connection."""

    def __init__(self, shared: DatabaseReads) -> None:
        self._shared = shared
        self._journal = shared.host.journal
        self._conceals = bool(self._journal.sealing.personal)
        self._scope: Scope | None = None
        self._scope_reads: ScopeReads | None = None
        self._who: Who = NOBODY
        self.open_accesses: dict[Access, None] = {}
        self.abandoned: deque[Access] = deque()
        self.lock = threading.Lock()

    def reader(self) -> Who:
        """Who reads now. From here on their scope sees to it that what we hand out is written."""
        while self.abandoned:
            self.abandoned.popleft().close()
        frame = current_frame()
        who = self._who
        if who.frame is not frame:
            self._who = who = self._shared.who(frame)
            if frame is not None and frame.scope is not self._scope:
                self._scope = frame.scope
                self._scope_reads = self._shared.scope(frame.scope)
                self._scope_reads.connections[self] = None
        return who

    def flush(self, scope: Scope) -> None:
        """Write the keys of all rows handed over in `scope` so far.

        The connection may be another request's by now, which is about to be handed its own.
        """
        for access in list(self.open_accesses):
            if access.scope is scope:
                access.flush()

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        for access in list(self.open_accesses):
            access.close()
        self._shared.sync()

    def size_of(self, draft: bytes) -> int:
        """See `AccessWriter.size_of`: where it can't be told, writing fails, which says so."""
        if self._conceals:
            with contextlib.suppress(DeliveryError):
                return len(self._journal.concealed(draft))
        return len(draft)

    def kind_of(self, table: str) -> str:
        return self._shared.host.policy.table(table).kind

    def append(self, draft: bytes, durability: Durability, frame: Frame | None) -> str | None:
        """Write one event as its tables' durability asks; its id, where it has one already."""
        journal = self._journal
        try:
            if durability == "async":
                journal.append_later(draft)
                return None
            event_id = journal.append(draft)
            if durability == "strict":
                journal.sync()
                return event_id
        except DeliveryError as problem:
            if durability == "strict":
                raise
            self._shared.lost(problem)
            return None
        if frame is None:
            self._shared.must_sync = True
        elif frame.scope is self._scope and self._scope_reads is not None:
            self._scope_reads.must_sync = True
        else:
            self._shared.scope(frame.scope).must_sync = True
        return event_id

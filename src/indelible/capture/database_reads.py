"""What the reads of all connections of one database share: plans, by schema, and open scopes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from indelible.capture.access_event import NOBODY, Who, who_is
from indelible.capture.host import CaptureHost
from indelible.capture.prepare import prepare_database
from indelible.capture.schema import Schema
from indelible.capture.statements.planner import Planner
from indelible.errors import CaptureError, ConfigurationError, DeliveryError
from indelible.events.context import Frame, Scope

_log = logging.getLogger(__name__)

_MAX_SCHEMAS: Final = 16


class OpenReads(Protocol):
    """A connection that may have handed out rows whose keys aren't written yet."""

    def flush(self, scope: Scope) -> None:
        """Write those that were handed out in `scope`."""


class DatabaseReads:
    """Safe for threads."""

    def __init__(self, host: CaptureHost, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self.clock_s = clock_s
        self._planners: tuple[Planner, ...] = ()
        self._scopes: dict[Scope, ScopeReads] = {}
        self._has_lost = False
        self._prepared: set[Path] = set()
        self._last_who: Who = NOBODY
        self.must_sync = False
        """Whether what nobody read isn't on disk yet: no scope ends that sees to it."""

    def prepare(self, path: Path) -> None:
        """The database at `path` is set up for capture when this returns; once for each.

        Raises `ConfigurationError` where it can't be.
        """
        if path not in self._prepared and path.exists():
            prepare_database(path, self.host)
            self._prepared.add(path)

    def prepare_again(self, path: Path) -> None:
        """The schema was changed on purpose: see the new tables from now on, too.

        Never raises: the change is committed already. What failed is noticed.
        """
        try:
            prepare_database(path, self.host)
        except (ConfigurationError, CaptureError, DeliveryError) as problem:
            _log.error("capture could not follow a change of the schema", exc_info=problem)
            self.host.notice(
                "capture.not_installed",
                "a change of the schema could not be followed: run `indelible install`",
            )

    def planner(self, schema: Schema) -> Planner:
        """The plans made for `schema`; a database has few schemas in a process's life."""
        for planner in self._planners:
            if planner.schema == schema:
                return planner
        planner = Planner(schema, self.host.policy)
        self._planners = (planner, *self._planners[: _MAX_SCHEMAS - 1])
        return planner

    def who(self, frame: Frame | None) -> Who:
        """`frame` encoded: once for all connections that it reads from in turn."""
        who = self._last_who
        if who.frame is not frame:
            who = self._last_who = who_is(frame)
        return who

    def scope(self, scope: Scope) -> ScopeReads:
        """What ends with `scope`; the first call hangs its end on it."""
        found = self._scopes.get(scope)
        if found is None:
            found = self._scopes.setdefault(scope, ScopeReads(self, scope))
            scope.before_end(found.finish)
        return found

    def forget_scope(self, scope: Scope) -> None:
        self._scopes.pop(scope, None)

    def sync(self) -> None:
        """What nobody read is on disk when this returns. Never raises."""
        if self.must_sync:
            self.must_sync = False
            try:
                self.host.journal.sync()
            except DeliveryError as problem:
                self.lost(problem)

    def lost(self, problem: DeliveryError) -> None:
        """An access couldn't be written and its read goes on all the same."""
        _log.error("an access could not be written to the journal", exc_info=problem)
        if self._has_lost:
            return
        self._has_lost = True
        try:
            self.host.notice("capture.access_lost", "an access could not be written")
        except DeliveryError:
            _log.error("the lost access could not be noticed in the trail either")


class ScopeReads:
    """The connections that were read in one outermost `acting_as`."""

    def __init__(self, shared: DatabaseReads, scope: Scope) -> None:
        self._shared = shared
        self._scope = scope
        self.connections: dict[OpenReads, None] = {}
        self.must_sync = False

    def finish(self) -> None:
        """Write what is pending, then make everything durable before the request is answered."""
        self._shared.forget_scope(self._scope)
        for connection in list(self.connections):
            connection.flush(self._scope)
        if self.must_sync:
            self._shared.host.journal.sync()

"""What the reads of one database share, and of one connection; how a read is run.

`DatabaseReads` is shared by all connections of one database, `ConnectionReads` belongs to one.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from indelible.capture.access import Access, Parameters, widths
from indelible.capture.access_event import Who, who_is
from indelible.capture.extraction import Row
from indelible.capture.host import CaptureHost
from indelible.capture.prepare import prepare_database
from indelible.capture.schema import Schema
from indelible.capture.sqlite_schema import read_schema
from indelible.capture.statement_context import StatementContext
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import Entry, Planner, unplanned
from indelible.capture.statements.tokens import expand, runs, split_statements
from indelible.errors import CaptureError, ConfigurationError, DeliveryError
from indelible.events.context import Frame, Scope, current_frame
from indelible.policy.model import Durability

_log = logging.getLogger(__name__)

_SCHEMA_CHECK_S: Final = 5.0
_MAX_SCHEMAS: Final = 16


class Runner(Protocol):
    """One connection, as capture itself asks it: past every hook, rows as the driver has them."""

    def query(self, text: str, parameters: Parameters = ()) -> list[Row]:
        """All rows. Raises `sqlite3.Error`; changes nothing that the application can see."""

    def hold_snapshot(self) -> Callable[[], None]:
        """Let no other connection's commit be seen until what is returned is called."""

    @property
    def in_transaction(self) -> bool: ...


class DatabaseReads:
    """What the connections of one database share: plans, by schema, and open scopes."""

    def __init__(self, host: CaptureHost, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self.clock_s = clock_s
        self._planners: tuple[Planner, ...] = ()
        self._scopes: dict[Scope, _ScopeReads] = {}
        self._has_lost = False
        self._prepared: set[Path] = set()
        self._last_who: tuple[Frame | None, Who] = (None, who_is(None))

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
        last, who = self._last_who
        if last is not frame:
            who = who_is(frame)
            self._last_who = (frame, who)
        return who

    def scope(self, scope: Scope) -> _ScopeReads:
        """What ends with `scope`; the first call hangs its end on it."""
        found = self._scopes.get(scope)
        if found is None:
            found = self._scopes.setdefault(scope, _ScopeReads(self, scope))
            scope.before_end(found.finish)
        return found

    def forget_scope(self, scope: Scope) -> None:
        self._scopes.pop(scope, None)

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


class _ScopeReads:
    """The connections that were read in one outermost `acting_as`."""

    def __init__(self, shared: DatabaseReads, scope: Scope) -> None:
        self._shared = shared
        self._scope = scope
        self.connections: dict[ConnectionReads, None] = {}
        self.must_sync = False

    def finish(self) -> None:
        """Write what is pending, then make everything durable before the request is answered."""
        self._shared.forget_scope(self._scope)
        for connection in list(self.connections):
            connection.flush()
        if self.must_sync:
            self._shared.host.journal.sync()


class ConnectionReads:
    """The reads of one connection."""

    def __init__(self, shared: DatabaseReads, runner: Runner, path: Path) -> None:
        """`path` is the database's file."""
        self._shared = shared
        self._path = path
        self._wrote_schema = False
        self._runner = runner
        self._planner: Planner | None = None
        self._schema_version: object = None
        self._checked_s = 0.0
        self._is_suspect = False
        self._open: dict[Access, None] = {}
        self._must_sync = False
        self._scope: Scope | None = None
        self._scope_reads: _ScopeReads | None = None
        self.lock = threading.Lock()

    def execute(
        self,
        text: str,
        parameters: Parameters,
        run: Callable[[str], object],
        context: StatementContext,
        *,
        converted: bool = False,
        is_many: bool = False,
    ) -> Access | None:
        """Run `text` by way of `run` and record what it reads, as far as that shows already.

        What is returned must be given the rows; None where none are recorded. Errors are those
        that `text` gives without capture. `converted`: the connection converts values between
        the table and the row. Raises `DeliveryError` for tables under `strict`, and whatever
        `context` raises for a write that can't be attributed.
        """
        entry = self._entry(text, converted)
        plan = entry.plan
        try:
            if is_many or plan.verb is not Verb.READ:
                self._run_write((plan,), context, lambda: run(text), is_many=is_many)
            elif plan.is_captured:
                return self._run_read(entry, text, parameters, run, context.transaction)
            else:
                run(text)
        except sqlite3.Error as error:
            ours = context.explain(error)
            if ours is None:
                raise
            raise ours from error
        return None

    def execute_script(
        self, script: str, run: Callable[[], object], context: StatementContext
    ) -> None:
        """Run several statements whose rows go nowhere; what its writes read is recorded."""
        plans = [self._entry(text, False).plan for text in split_statements(script)]
        writes = [plan for plan in plans if plan.verb is not Verb.READ]
        try:
            self._run_write(writes, context, run)
        except sqlite3.Error as error:
            ours = context.explain(error)
            if ours is None:
                raise
            raise ours from error

    def _run_write(
        self,
        plans: Sequence[Plan],
        context: StatementContext,
        run: Callable[[], object],
        *,
        is_many: bool = False,
    ) -> None:
        """Run something that may write, as whoever acts now.

        A write that took values from other tables' rows is an access to rows we can't name.
        """
        frame = current_frame()
        reading = [
            Access(self, plan, "", (), frame, context.transaction) for plan in plans if plan.targets
        ]
        for access in reading:
            access.announce()
        context.enter(frame, is_many=is_many)
        try:
            run()
        finally:
            context.leave()
        if any(plan.verb is Verb.SCHEMA for plan in plans):
            self._wrote_schema = True
            self.schema_changed()
        for access in reading:
            access.hand_over((), exhausted=True)

    def _entry(self, text: str, converted: bool) -> Entry:
        """What is to be done with `text` on the schema as it is now."""
        now = self._shared.clock_s()
        planner = self._planner
        if planner is None or self._is_suspect or now - self._checked_s > _SCHEMA_CHECK_S:
            try:
                planner = self._check_schema(now)
            except sqlite3.Error:
                # Locked for too long, or closed: then the statement will say so itself.
                return unplanned(text)
        return planner.entry(text, converted=converted)

    def schema_changed(self) -> None:
        """Something ran after which what we know of the schema may be wrong."""
        self._planner = None
        self._is_suspect = True

    def _run_read(
        self,
        entry: Entry,
        text: str,
        parameters: Parameters,
        execute: Callable[[str], object],
        transaction: str | None,
    ) -> Access:
        frame = current_frame()
        plan = entry.plan if entry.is_trusted else self._settle(entry, text, parameters)
        access = Access(self, plan, text, parameters, frame, transaction)
        if plan.durability == "strict":
            access.announce()
        if frame is not None and frame.scope is not self._scope:
            self._join(frame.scope)
        release = None
        if plan.companions:
            release = self._fetch_companions(access, plan, text, parameters)
        try:
            if plan.text is None:
                execute(text)
            else:
                self._run_rewritten(access, entry, plan, text, parameters, execute)
        finally:
            if release is not None:
                release()
        self._open[access] = None
        return access

    def _join(self, scope: Scope) -> None:
        """From here on `scope` sees to it that what this connection hands out is written."""
        reads = self._shared.scope(scope)
        reads.connections[self] = None
        self._scope, self._scope_reads = scope, reads

    def read_unseen(self, how: str, table: str | None = None) -> None:
        """Rows are about to be handed out in a way that shows none of them: backup, blob.

        `how` stands for the statement; `table` is the one read, None for all.
        """
        planner = self._planner or self._check_schema(self._shared.clock_s())
        plan = planner.unseen(how, table)
        if plan.targets:
            access = Access(self, plan, "", (), current_frame(), None)
            access.announce()
            access.hand_over((), exhausted=True)

    def closed(self, access: Access) -> None:
        self._open.pop(access, None)

    def flush(self) -> None:
        """Write the keys of all rows handed over so far."""
        for access in list(self._open):
            access.flush()

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        for access in list(self._open):
            access.close()
        if self._wrote_schema and not self._runner.in_transaction:
            self._wrote_schema = False
            self._shared.prepare_again(self._path)
        if self._must_sync:
            self._must_sync = False
            try:
                self._shared.host.journal.sync()
            except DeliveryError as problem:
                self._shared.lost(problem)

    def who(self, frame: Frame | None) -> Who:
        return self._shared.who(frame)

    def kind_of(self, table: str) -> str:
        return self._shared.host.policy.table(table).kind

    def append(self, draft: bytes, durability: Durability, frame: Frame | None) -> str | None:
        """Write one event as its tables' durability asks; its id, where it has one already."""
        journal = self._shared.host.journal
        if durability == "async":
            journal.append_later(draft)
            return None
        try:
            event_id = journal.append(draft)
            if durability == "strict":
                journal.sync()
        except DeliveryError as problem:
            if durability == "strict":
                raise
            self._shared.lost(problem)
            return None
        if durability == "request":
            if frame is None:
                self._must_sync = True
            elif frame.scope is self._scope and self._scope_reads is not None:
                self._scope_reads.must_sync = True
            else:
                self._shared.scope(frame.scope).must_sync = True
        return event_id

    def _check_schema(self, now: float) -> Planner:
        version = self._runner.query("PRAGMA main.schema_version")[0][0]
        # A change may yet be rolled back: look each time until its transaction is over.
        self._is_suspect = self._is_suspect and self._runner.in_transaction
        self._checked_s = now
        if self._planner is None or version != self._schema_version:
            self._planner = self._shared.planner(read_schema(self._runner.query))
            self._schema_version = version
        return self._planner

    def _settle(self, entry: Entry, text: str, parameters: Parameters) -> Plan:
        """The plan to follow now. A rewritten text is one only once the database prepared it."""
        while not entry.is_trusted:
            plan = entry.plan
            if self._is_refused(text, parameters):
                return plan  # the original fails by itself: its own error is what must be seen
            try:
                changed = self._query_plan(_rewritten(plan, text), parameters)
            except sqlite3.Error:
                entry.give_up(plan)
                continue
            if plan.fragile and changed != self._query_plan(text, parameters):
                entry.give_up(plan)
                continue
            entry.trust(plan)
        return entry.plan

    def _run_rewritten(
        self,
        access: Access,
        entry: Entry,
        plan: Plan,
        text: str,
        parameters: Parameters,
        execute: Callable[[str], object],
    ) -> None:
        if not entry.is_trusted:
            access.ran_original("the statement could not be prepared")
            execute(text)
            return
        rewritten = _rewritten(plan, text) if plan.has_runs else plan.text or ""
        try:
            execute(rewritten)
        except sqlite3.Error as problem:
            # Only where the database wouldn't even prepare it, or an array of keys grew too
            # large, is the fault ours; anything else the original would have raised as well,
            # and running it again could repeat what its functions did.
            is_ours = isinstance(problem, sqlite3.DataError) or (
                self._is_refused(rewritten, parameters) and not self._is_refused(text, parameters)
            )
            if not is_ours:
                raise
        else:
            return
        entry.give_up(plan)
        self.schema_changed()
        access.ran_original("the database refused the hidden columns")
        execute(text)

    def _fetch_companions(
        self, access: Access, plan: Plan, text: str, parameters: Parameters
    ) -> Callable[[], None] | None:
        """Fetch the keys; what is returned lets go of the snapshot that the statement shares."""
        originals = runs(text)
        release = None
        try:
            if not self._runner.in_transaction:
                release = self._runner.hold_snapshot()
            for companion in plan.companions:
                chosen = parameters
                if companion.parameters is not None and not isinstance(parameters, Mapping):
                    chosen = _chosen(plan, text, parameters, companion.parameters)
                own = expand(companion.text, [originals[run] for run in companion.runs])
                access.companion_rows.append(self._runner.query(own, chosen))
        except sqlite3.Error:
            # The statement's own error, if it has one, is still to come.
            access.give_up_keys("the query for its keys failed")
        return release

    def _query_plan(self, text: str, parameters: Parameters) -> list[str]:
        """How the database would go about it; whether an index covers all makes no difference."""
        rows = self._runner.query(f"EXPLAIN QUERY PLAN {text}", parameters)
        return [_text(row[3]).replace("COVERING ", "") for row in rows]

    def _is_refused(self, text: str, parameters: Parameters) -> bool:
        try:
            self._query_plan(text, parameters)
        except sqlite3.Error:
            return True
        return False


def _text(detail: object) -> str:
    return detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)


def _rewritten(plan: Plan, text: str) -> str:
    return expand(plan.text or "", runs(text))


def _chosen(
    plan: Plan, text: str, parameters: Sequence[object], ordinals: Sequence[int]
) -> list[object]:
    """The values that belong to these placeholders."""
    starts = [0]
    for width in widths(plan, text):
        starts.append(starts[-1] + width)
    return [
        value for ordinal in ordinals for value in parameters[starts[ordinal] : starts[ordinal + 1]]
    ]

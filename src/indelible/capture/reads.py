"""How the reads of one connection are run, and where what they handed over is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from indelible.capture.access import Access
from indelible.capture.access_log import AccessLog
from indelible.capture.database_reads import DatabaseReads
from indelible.capture.rewriting import Rewriting, Runner
from indelible.capture.sqlite_schema import read_schema
from indelible.capture.statement_context import StatementContext
from indelible.capture.statement_parameters import Parameters
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import Entry, Planner, unplanned
from indelible.capture.statements.tokens import split_statements
from indelible.events.context import current_frame

_SCHEMA_CHECK_S: Final = 5.0


class ConnectionReads:
    """The reads of one connection."""

    def __init__(self, shared: DatabaseReads, runner: Runner, path: Path) -> None:
        """`path` is the database's file."""
        self._shared = shared
        self._path = path
        self._wrote_schema = False
        self._runner = runner
        self._rewriting = Rewriting(runner)
        self._clock_s = shared.clock_s
        self._planner: Planner | None = None
        self._schema_version: object = None
        self._check_again_s = 0.0
        self._is_suspect = False
        self._log = AccessLog(shared)

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
            if plan.verb is Verb.READ and not is_many:
                if plan.is_captured:
                    return self._run_read(
                        entry, text, parameters, run, context.transaction, converted=converted
                    )
                run(text)
            else:
                self._run_write((plan,), context, lambda: run(text), is_many=is_many)
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
            Access(self._log, plan, "", (), self._shared.who(frame), context.transaction)
            for plan in plans
            if plan.targets
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
        planner = self._planner
        if planner is None or self._is_suspect or self._clock_s() > self._check_again_s:
            try:
                planner = self._check_schema()
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
        *,
        converted: bool,
    ) -> Access:
        let_go = None
        if entry.plan.inlines_views:
            entry, let_go = self._on_the_schema_now(entry, text, converted)
        try:
            return self._run_planned(entry, text, parameters, execute, transaction)
        finally:
            if let_go is not None:
                let_go()

    def _on_the_schema_now(
        self, entry: Entry, text: str, converted: bool
    ) -> tuple[Entry, Callable[[], None] | None]:
        """What is to be done with `text` in the snapshot that it will see: this one, until what
        is returned is called. Another connection may have changed a view just now."""
        let_go = None
        try:
            if not self._runner.in_transaction:
                let_go = self._runner.hold_snapshot()
            version = self._runner.query("PRAGMA main.schema_version")[0][0]
            if version != self._schema_version:
                entry = self._check_schema().entry(text, converted=converted)
        except sqlite3.Error:
            entry = unplanned(text)
        return entry, let_go

    def _run_planned(
        self,
        entry: Entry,
        text: str,
        parameters: Parameters,
        execute: Callable[[str], object],
        transaction: str | None,
    ) -> Access:
        rewriting = self._rewriting
        plan = entry.plan
        if not entry.is_trusted:
            plan = rewriting.settle(entry, text, parameters)
        access = Access(self._log, plan, text, parameters, self._log.reader(), transaction)
        if plan.durability == "strict":
            access.announce()
        release = None
        if plan.companions:
            release = rewriting.fetch_companions(access, text, parameters)
        try:
            if plan.text is None:
                execute(text)
            else:
                rewriting.run(access, entry, text, parameters, execute)
        finally:
            if entry.plan is not plan:  # given up
                self.schema_changed()
            if release is not None:
                release()
        self._log.open_accesses[access] = None
        return access

    def read_unseen(self, how: str, table: str | None = None) -> None:
        """Rows are about to be handed out in a way that shows none of them: backup, blob.

        `how` stands for the statement; `table` is the one read, None for all.
        """
        planner = self._planner or self._check_schema()
        plan = planner.unseen(how, table)
        if plan.targets:
            access = Access(self._log, plan, "", (), self._shared.who(current_frame()), None)
            access.announce()
            access.hand_over((), exhausted=True)

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        self._log.check_in()
        if self._wrote_schema and not self._runner.in_transaction:
            self._wrote_schema = False
            self._shared.prepare_again(self._path)

    def _check_schema(self) -> Planner:
        now = self._clock_s()
        version = self._runner.query("PRAGMA main.schema_version")[0][0]
        # A change may yet be rolled back: look each time until its transaction is over.
        self._is_suspect = self._is_suspect and self._runner.in_transaction
        self._check_again_s = now + _SCHEMA_CHECK_S
        if self._planner is None or version != self._schema_version:
            self._planner = self._shared.planner(read_schema(self._runner.query))
            self._schema_version = version
        return self._planner

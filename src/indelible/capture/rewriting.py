"""How a statement is run with what its plan adds to it, so that nothing of it can go wrong.

A rewritten text is trusted only once the database prepared it, and given up for the next best
plan where it doesn't hold. The statement's own errors are always those of its own text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Protocol

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.statement_parameters import Parameters, chosen_parameters, run_widths
from indelible.capture.statements.plan import Plan
from indelible.capture.statements.planner import Entry
from indelible.capture.statements.tokens import IN_LISTS, expand


class Runner(Protocol):
    """One connection, as capture itself asks it: past every hook, rows as the driver has them."""

    def query(self, text: str, parameters: Parameters = ()) -> list[Row]:
        """All rows. Raises `sqlite3.Error`; changes nothing that the application can see."""

    def hold_snapshot(self) -> Callable[[], None]:
        """Let no other connection's commit be seen until what is returned is called."""

    @property
    def in_transaction(self) -> bool: ...


class Rewriting:
    """What statements become on one connection."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def settle(self, entry: Entry, text: str, parameters: Parameters) -> Plan:
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

    def run(
        self,
        access: Access,
        entry: Entry,
        text: str,
        parameters: Parameters,
        execute: Callable[[str], object],
    ) -> None:
        """Run the text of `access`'s plan in place of `text`; where that is refused, `text`."""
        if not entry.is_trusted:
            access.ran_original("the statement could not be prepared")
            execute(text)
            return
        plan = access.plan
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
        access.ran_original("the database refused the hidden columns")
        execute(text)

    def fetch_companions(
        self, access: Access, text: str, parameters: Parameters
    ) -> Callable[[], None] | None:
        """Fetch the keys; what is returned lets go of the snapshot that the statement shares."""
        plan = access.plan
        originals = IN_LISTS.runs(text)
        found: list[list[Row]] = []
        release = None
        try:
            if not self._runner.in_transaction:
                release = self._runner.hold_snapshot()
            for companion in plan.companions:
                chosen = parameters
                if plan.goes_by_place and not isinstance(parameters, Mapping):
                    chosen = chosen_parameters(
                        plan, run_widths(text), parameters, companion.parameters
                    )
                own = expand(companion.text, [originals[run] for run in companion.runs])
                found.append(self._runner.query(own, chosen))
        except sqlite3.Error:
            # The statement's own error, if it has one, is still to come.
            access.give_up_keys("the query for its keys failed")
        else:
            access.companion_rows = found
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
    return expand(plan.text or "", IN_LISTS.runs(text))

"""Reads on MariaDB: which rows of which tables a statement handed out.

A temporary table hides another of its name and stands in no catalogue, and `USE` changes what a
bare name means: behind a text that may do either, a connection's reads are told by statement. A
rewritten text is trusted once the server explained it; where it fails, the statement's own runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from indelible.capture.access import Access
from indelible.capture.access_log import AccessLog
from indelible.capture.mariadb.connecting import number_of
from indelible.capture.mariadb.schema import named_sql
from indelible.capture.mariadb.server_reads import ServerReads
from indelible.capture.mariadb.tokens import IN_LISTS
from indelible.capture.mariadb.verbs import may_be_query
from indelible.capture.mariadb.wires import Wire
from indelible.capture.statement_parameters import Parameters, by_name
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import Entry
from indelible.capture.trying import repeated, rewritten, settle

_BY_STATEMENT: Final = "its rows were handed out in a way that isn't seen"
_UNSETTLED: Final = "a session in which names may mean other tables"
_REFUSED: Final = "the database refused the hidden columns"
_UNTRIED: Final = "the statement could not be tried"
_OTHERWISE: Final = "the server goes another way with hidden columns"
_LOCKS: Final = re.compile(r"\b(?:UPDATE|SHARE|LOCK)\b", re.IGNORECASE)
_ENDS_MORE: Final = {1021, 1041, 1053, 1160, 1161, 1205, 1213, 1317, 1927, 1969, 3024}
"""Of what no text is to blame for, or what ended the transaction: deadlocks, time-outs, KILL."""
_OF_A_CLIENT: Final = range(2_000, 3_000)
_OF_A_QUERY: Final = re.compile(r"<(\w+?)[0-9,]+>")
_SORTING: Final = ("filesort", "temporary", "join buffer", "ordered scan")


class ConnectionReads:
    """The reads of one connection. Used as that is: by one at a time."""

    def __init__(self, server: ServerReads, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._log = AccessLog(server.shared)
        self._is_settled: bool | None = None
        """Whether a bare name is a table's of our database; None while that wasn't asked."""

    def run(
        self,
        text: str,
        parameters: Parameters | None,
        run: Callable[[str, Any], object],
        transaction: str | None,
        *,
        is_seen: bool = True,
    ) -> Access | None:
        """Run `text`, or what its plan makes of it, by way of `run`; `parameters` as it has them.

        What is returned must be given the rows; None where none are recorded, as of a statement
        whose rows go past us (`is_seen`). Errors are those of `text`. Raises `DeliveryError` for
        tables under `strict`.
        """
        server = self._server
        if server.unsettles(text):
            self._is_settled = False
        if not is_seen or not may_be_query(text):
            run(text, parameters)
            self._record(text, transaction)
            return None
        entry: Entry | None
        entry = server.entry(text)
        plan = entry.plan
        if (
            any(target.coverage != "statement" for target in plan.targets)
            and not self._has_settled_names()
        ):
            entry, plan = None, server.by_statement(text, _UNSETTLED)
        if not plan.is_captured:
            run(text, parameters)
            self._ran(plan)
            return None
        is_known = entry is not None and entry.is_trusted
        if entry is not None and not is_known:
            plan = self._settle(entry, text, parameters)
        named = by_name(parameters)
        access = Access(self._log, plan, text, named, self._log.reader(), transaction)
        access.announce()
        if entry is None or plan.text is None:
            run(text, parameters)
        elif not entry.is_trusted:
            access.ran_original(_UNTRIED)
            run(text, parameters)
        elif is_known and plan.fragile and not self._goes_the_same_way(plan, text, parameters):
            access.ran_original(_OTHERWISE)
            run(text, parameters)
        else:
            self._run_rewritten(access, entry, text, parameters, run)
        self._ran(plan)
        self._log.open_accesses[access] = None
        return access

    def schema_changed(self) -> None:
        """What ran shows that the schema isn't the one that we know."""
        self._server.look_again()

    def names_changed(self) -> None:
        """Bare names may mean other tables from now on: that is to be asked."""
        if self._is_settled:
            self._is_settled = None

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        self._log.check_in()

    def _record(self, text: str, transaction: str | None) -> None:
        """`text` ran, whose rows we don't see: by statement."""
        plan = self._server.by_statement(text, _BY_STATEMENT)
        self._ran(plan)
        if plan.is_captured:
            access = Access(self._log, plan, "", (), self._log.reader(), transaction)
            access.hand_over((), exhausted=True)

    def _ran(self, plan: Plan) -> None:
        if plan.verb is Verb.SCHEMA:
            self._server.schema_changed()

    def _has_settled_names(self) -> bool:
        if self._is_settled is None:
            try:
                (row,) = self._wire.query(named_sql("catalog.sql")["session_database"])
            except Exception:
                # The statement that comes next fails, and says why.
                if self._wire.is_broken:
                    raise
                return False
            self._is_settled = row["name"] == self._server.database
        return self._is_settled

    def _settle(self, entry: Entry, text: str, parameters: Parameters | None) -> Plan:
        """The plan to follow now: `trying.settle`. What locks rows is never rewritten: which it
        locks may hang on the columns that it asks for."""
        while entry.plan.text is not None and _LOCKS.search(text) is not None:
            entry.give_up(entry.plan)
        prefix = entry.plan.prefix
        return settle(
            entry,
            text,
            parameters,
            IN_LISTS,
            lambda own, values: self._explain(own, values, prefix),
        )

    def _goes_the_same_way(self, plan: Plan, text: str, parameters: Parameters | None) -> bool:
        """Asked each time: it may hang on the values, that of a LIMIT above all."""
        own = self._explain(text, parameters, plan.prefix)
        return own is not None and own == self._explain(
            rewritten(plan, text, IN_LISTS),
            repeated(plan, text, parameters, IN_LISTS),
            plan.prefix,
        )

    def _explain(
        self, text: str, parameters: Parameters | None, prefix: str
    ) -> list[object] | None:
        """How the server would go about it, but for tables of ours; None where it wouldn't."""
        try:
            rows = self._wire.query(f"EXPLAIN {text}", parameters)
            return [
                # Whether an index covers all makes no difference. Rows that are sorted stand in an
                # order that hangs on how wide they are, so no such plan is like another.
                object()
                if any(word in (row["Extra"] or "") for word in _SORTING)
                else (
                    _OF_A_QUERY.sub(r"\1", row["table"] or ""),
                    *(row[name] for name in ("type", "key", "key_len", "ref")),
                )
                for row in rows
                if not (row["table"] or "").startswith(prefix) and not _is_of_a_stamp(row)
            ]
        except Exception:
            # The statement is still to come, and fails by itself if that is why.
            if self._wire.is_broken:
                raise
            return None

    def _run_rewritten(
        self,
        access: Access,
        entry: Entry,
        text: str,
        parameters: Parameters | None,
        run: Callable[[str, Any], object],
    ) -> None:
        plan = access.plan
        try:
            run(rewritten(plan, text, IN_LISTS), repeated(plan, text, parameters, IN_LISTS))
        except Exception as error:
            number = number_of(error)
            if not number or number in _ENDS_MORE or number in _OF_A_CLIENT:
                raise
        else:
            return
        # It called nothing that has effects, and an error of a query ends nothing here.
        access.ran_original(_REFUSED)
        run(text, parameters)
        # Trusted, and refused now: the schema changed, or what may be read of it.
        entry.give_up(plan)
        self._server.look_again()


def _is_of_a_stamp(row: dict[str, Any]) -> bool:
    """Whether it is how the version of a view is asked for (`Dialect.stamp`)."""
    return row["table"] == "VIEWS" and "Open_frm_only" in (row["Extra"] or "")

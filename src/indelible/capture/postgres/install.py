"""Set up capture of writes in PostgreSQL, keep it true after migrations, take it away."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.capture.host import Journal
from indelible.capture.installing import draft_installed
from indelible.capture.outbox_layout import encode_layout
from indelible.capture.postgres.baseline import Baseline
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.installed import (
    FORMAT,
    check_installed,
    has_log,
    look_at_log,
    read_installed,
)
from indelible.capture.postgres.locking import lock_target, locked
from indelible.capture.postgres.log import LogDrain
from indelible.capture.postgres.log_install import (
    begin_log,
    check_server,
    end_log,
    put_published,
    set_up_statements,
    slot_statement,
)
from indelible.capture.postgres.names import quote_name
from indelible.capture.postgres.plan import (
    InstallPlan,
    TableWork,
    identity_back,
    is_ours,
    plan_install,
    uses_log,
)
from indelible.capture.postgres.schema import PostgresSchema, named_sql, read_schema
from indelible.capture.postgres.triggers import function_name
from indelible.capture.servers import Drift, InstallReport, Progress, Uninstalled
from indelible.errors import CaptureError
from indelible.policy.model import Policy, Server

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_PATIENCE_S: Final = 60.0
_SETTING_UP: Final = (
    "create_schema",
    "create_meta",
    "create_layouts",
    "create_captured",
    "create_outbox",
    "create_nests",
    "create_stray",
    "create_altered",
    "create_record",
)


def install(
    server: Server,
    policy: Policy,
    *,
    journal: Journal,
    progress: Progress | None = None,
    dry_run: bool = False,
    patience_s: float = _PATIENCE_S,
    clock_ns: Callable[[], int] = time.time_ns,
    rng: Callable[[int], str] = secrets.token_hex,
) -> InstallReport:
    """Capture every write to the database from now on, and say what was there before.

    Needs no superuser: the owner of the tables, with CREATE on the database. Each table is locked
    by itself, for as long as its triggers take; a lock that isn't there at once is given up and
    asked for again, up to `patience_s`, so that the application goes on. Then its rows, as they
    were under that lock, go to `journal`. What interrupts leaves the rest for the next run. Safe
    to run again: nothing happens where nothing changed.

    Raises `ConfigurationError` (rights, a policy that the schema can't follow, a table that is
    never free) and `DeliveryError` (the server doesn't answer).
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(server_errors(server))
        connection = stack.enter_context(contextlib.closing(connect(server)))
        if not dry_run:
            # Whatever the log has yet to tell of what was set up before.
            LogDrain(connection).drain()
        installed = read_installed(connection)
        is_first = not installed.meta
        meta = dict(installed.meta)
        setting_up: list[str] = []
        if is_first:
            meta = {
                "format": str(FORMAT),
                "incarnation": rng(8),
                "epoch": str(clock_ns() // 1_000),
            }
            setting_up = [_sql(name) for name in _SETTING_UP]
        schema = read_schema(connection)
        begins_log = uses_log(server.profile) and (
            installed.is_lost or not uses_log(installed.profile)
        )
        if begins_log:
            check_server(connection, server, meta["incarnation"])
        plan = plan_install(schema, policy, installed, server.profile)
        open_to = _open_to(connection, server)
        if not is_first or uses_log(server.profile):
            setting_up += set_up_statements(connection, installed, server.profile)
        slot = [slot_statement(meta["incarnation"])] if begins_log else []
        statements = (*setting_up, *_rights(server), *slot, *_statements(plan))
        report = InstallReport(
            incarnation=meta["incarnation"],
            is_first=is_first,
            statements=statements,
            drifts=(*plan.drifts, *open_to),
            unseen=plan.unseen,
            tables=plan.tables,
        )
        if dry_run:
            return report
        if uses_log(server.profile):
            meta["profile"] = server.profile
        _set_up(connection, server, setting_up, meta if meta != installed.meta else {})
        if begins_log:
            begin_log(connection, meta["incarnation"])
        installer = _Installer(server, connection, policy, journal, progress, patience_s, schema)
        installer.remove(plan)
        for work in plan.works:
            installer.table(work, meta["incarnation"])
        if not uses_log(server.profile) and has_log(connection):
            end_log(connection, meta["incarnation"])
        report = msgspec.structs.replace(
            report,
            statements=statements if is_first or plan.works or plan.drops or open_to else (),
            masters=masters_on(connection, server),
            baseline_tables=tuple(installer.tables),
            baseline_rows=installer.rows,
        )
        if report.changed:
            journal.append(draft_installed(report.incarnation, report.tables, policy))
        return report


def check(server: Server, policy: Policy) -> list[Drift]:
    """Where the triggers that are there don't see what the policy wants seen; reads only.

    An empty list is what `install` leaves. Raises `NotInstalledError` where it never ran.
    """
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        return check_on(connection, server, policy)


def check_on(connection: Connection, server: Server, policy: Policy) -> list[Drift]:
    """`check` over a connection of ours."""
    check_installed(connection)
    installed = read_installed(connection)
    plan = plan_install(read_schema(connection), policy, installed, server.profile)
    log = look_at_log(connection)
    lost = [Drift("indelible.log", str(log))] if log is not None and not log.is_whole else []
    return [*lost, *plan.drifts, *_open_to(connection, server)]


def uninstall(
    server: Server, *, delivered_through: int = 0, force: bool = False, patience_s: float = 60.0
) -> Uninstalled:
    """Take triggers, functions and the outbox away: the database is what it was.

    Raises `CaptureError` and changes nothing where outbox rows above `delivered_through` wait to
    be delivered, unless `force`; `NotInstalledError` where there is nothing to take away.
    """
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection)
        log = LogDrain(connection)
        log.drain()
        waiting = _waiting(connection, delivered_through)
        if waiting and not force:
            raise CaptureError(
                f"expected every outbox row to be delivered, {waiting} wait: run "
                "`indelible relay` first, or discard them with --force"
            )
        schema = read_schema(connection)
        installed = read_installed(connection)
        for relation in schema.relations.values():
            drops = [
                f"DROP TRIGGER {quote_name(one.name)} ON {relation.quoted}"
                for one in schema.triggers
                if one.relation == relation.oid and is_ours(one)
            ]
            before = installed.identities.get(relation.oid)
            if before is not None:
                if relation.is_listed:
                    drops.append(f"ALTER PUBLICATION indelible DROP TABLE ONLY {relation.quoted}")
                drops += identity_back(relation, before)
            if drops:
                mode = "SHARE ROW EXCLUSIVE" if before is None else "ACCESS EXCLUSIVE"
                with locked(connection, f"ONLY {relation.quoted}", patience_s, mode) as cursor:
                    for statement in drops:
                        cursor.execute(statement)
        log.drain()
        if has_log(connection):
            end_log(connection, installed.meta["incarnation"])
        with connection.transaction(), connection.cursor() as cursor:
            # Rows that came until the last trigger was gone.
            waiting = _waiting(connection, delivered_through)
            if waiting and not force:
                raise CaptureError(
                    f"{waiting} rows came while triggers were taken away: carry them, and run "
                    "this again"
                )
            for name, function in schema.functions.items():
                if name.startswith("write_"):
                    cursor.execute(f"DROP FUNCTION indelible.{quote_name(function.name)}()")
            for statement in (
                "DROP FUNCTION indelible.record(bytea, text)",
                "DROP FUNCTION indelible.stray(oid)",
                "DROP FUNCTION indelible.altered(oid, text[])",
                "DROP TABLE indelible.captured, indelible.layouts, indelible.meta, "
                "indelible.outbox",
                "DROP SCHEMA indelible",
            ):
                cursor.execute(statement)
        return Uninstalled(waiting)


def incarnation_of(server: Server) -> str:
    """Raises `NotInstalledError`."""
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection)
        return read_installed(connection).meta["incarnation"]


def sender_for(server: Server, context_key: bytes) -> ContextSender:
    """Signs contexts for the server's database. Raises `NotInstalledError`."""
    return ContextSender(context_key, incarnation_of(server), to_log=server.profile == "log")


def relay_rights(server: Server, role: str = "indelible_relay") -> tuple[str, ...]:
    """What a relay needs whose role isn't the owner's: nothing of the application's."""
    name = quote_name(role)
    of_log = (
        f"ALTER ROLE {name} REPLICATION",
        f"GRANT INSERT ON indelible.outbox TO {name}",
        f"GRANT UPDATE ON indelible.log TO {name}",
        f"GRANT INSERT, DELETE ON indelible.log_counts TO {name}",
    )
    return (
        *(of_log if uses_log(server.profile) else ()),
        f"GRANT USAGE ON SCHEMA indelible TO {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA indelible TO {name}",
        f"GRANT DELETE ON indelible.outbox TO {name}",
        f"GRANT SELECT ON SEQUENCE indelible.outbox_id_seq TO {name}",
    )


class _Installer:
    """Does the work of a plan, a table at a time."""

    def __init__(
        self,
        server: Server,
        connection: Connection,
        policy: Policy,
        journal: Journal,
        progress: Progress | None,
        patience_s: float,
        schema: PostgresSchema,
    ) -> None:
        self._schema = schema
        self._server = server
        self._connection = connection
        self._policy = policy
        self._journal = journal
        self._progress = progress
        self._patience_s = patience_s
        self.rows = 0
        self.tables: list[str] = []

    def remove(self, plan: InstallPlan) -> None:
        """What isn't captured any more."""
        for statement in plan.drops:
            if statement.startswith(("DROP FUNCTION", "ALTER PUBLICATION")):
                self._connection.execute(statement)
                continue
            table, mode = statement.rpartition(" ON ")[2], "SHARE ROW EXCLUSIVE"
            if statement.startswith("ALTER TABLE "):
                table, mode = _altered_table(statement), "ACCESS EXCLUSIVE"
            with locked(self._connection, f"ONLY {table}", self._patience_s, mode) as cursor:
                cursor.execute(statement)
        if plan.gone:
            self._connection.execute(_sql("forget_captured"), (list(plan.gone),))
            if has_log(self._connection):
                forgotten = named_sql("log.sql")["forget_published"]
                self._connection.execute(forgotten, (list(plan.gone),))

    def table(self, work: TableWork, incarnation: str) -> None:
        """Triggers, and rows as they were when these were made."""
        with contextlib.closing(connect(self._server)) as other:
            target = lock_target(work.root)
            with locked(self._connection, target, self._patience_s, work.mode) as cursor:
                # What it tells of the table until now stands before the baseline.
                LogDrain(other).drain()
                for statement in (*work.drops, *work.creates):
                    cursor.execute(statement)
                if work.is_new_layout:
                    text = encode_layout(work.layout)
                    cursor.execute(_sql("put_layout"), (work.number, text))
                self._write_down(cursor, work)
                # Its snapshot is fixed while nobody else writes; the rows are read later.
                baseline = Baseline(other, incarnation) if work.is_due else None
            if baseline is None:
                return
            written = self._write(baseline, work)
            # The trail must hold the baseline before the database says that it does.
            self._journal.sync()
            self._connection.execute(_sql("put_baseline"), (baseline.position, work.root.oid))
            self.rows += written
            self.tables.append(work.layout.table)

    def _write(self, baseline: Baseline, work: TableWork) -> int:
        schema, name = read_schema(self._connection), work.layout.table
        done = 0
        try:
            total = baseline.estimate(schema, work.root)
            for count in baseline.write(
                schema, work.root, work.layout, self._policy, self._journal
            ):
                done += count
                if self._progress is not None:
                    self._progress(name, done, max(done, total))
        finally:
            baseline.close()
        return done

    def _write_down(self, cursor: Any, work: TableWork) -> None:
        cursor.execute(
            "DELETE FROM indelible.captured WHERE root = %s AND NOT relation = ANY (%s)",
            (work.root.oid, [each.relation.oid for each in work.captured]),
        )
        _close_functions(cursor, [one.function.name for one in work.captured if one.function])
        for each in work.captured:
            oid = each.relation.oid
            if uses_log(self._server.profile) and each.relation.is_readable:
                put_published(cursor, self._schema, each, self._policy)
            cursor.execute(_sql("seen"), (oid, function_name(each.relation), oid))
            seen = " ".join(sorted(row[0] for row in cursor.fetchall()))
            cursor.execute(
                _sql("put_captured"),
                (each.relation.oid, each.relation.display, work.root.oid, work.number, seen),
            )


def _set_up(
    connection: Connection, server: Server, setting_up: Sequence[str], meta: dict[str, str]
) -> None:
    """The schema, and who may do what in it."""
    with connection.transaction(), connection.cursor() as cursor:
        for statement in setting_up:
            cursor.execute(statement)
        for key, value in meta.items():
            cursor.execute(_sql("put_meta"), (key, value))
        # Default privileges of the owner's may have opened what is new.
        cursor.execute(_sql("open_to"), (["SELECT", "DELETE", "USAGE"], [*server.roles]))
        grantees = {row[1] for row in cursor.fetchall()}
        for statement in _closing(sorted(grantees)):
            cursor.execute(statement)
        _close_functions(cursor, ["stray", "altered"])
        for statement in _rights(server):
            cursor.execute(statement)


def _closing(grantees: Sequence[str]) -> Iterator[str]:
    for grantee in grantees:
        name = "PUBLIC" if grantee == "PUBLIC" else quote_name(grantee)
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA indelible FROM {name}"
        yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA indelible FROM {name}"


def _close_functions(cursor: Any, names: Sequence[str]) -> None:
    """Leave these to their owner alone; touches none that are."""
    cursor.execute(_sql("functions_open_to"), ([*names],))
    for function, grantee in cursor.fetchall():
        name = "PUBLIC" if grantee is None else quote_name(grantee)
        cursor.execute(f"REVOKE ALL ON FUNCTION {function} FROM {name}")


def _rights(server: Server) -> list[str]:
    found = []
    for role in server.roles:
        name = quote_name(role)
        found += [
            f"GRANT USAGE ON SCHEMA indelible TO {name}",
            f"GRANT EXECUTE ON FUNCTION indelible.record(bytea, text) TO {name}",
        ]
    return found


def _statements(plan: InstallPlan) -> list[str]:
    found = list(plan.drops)
    for work in plan.works:
        found += [*work.drops, *work.creates]
    return found


def _open_to(connection: Connection, server: Server) -> list[Drift]:
    """Who could touch what is ours."""
    may = ["SELECT", "DELETE", "USAGE", *(["INSERT", "UPDATE"] if has_log(connection) else [])]
    with connection.cursor() as cursor:
        rows = cursor.execute(_sql("open_to"), (may, [*server.roles])).fetchall()
    return [Drift(f"indelible.{name}", f"open to {role}") for name, role in rows]


def masters_on(connection: Connection, server: Server) -> tuple[str, ...]:
    """Those of the application's roles that own captured tables, or may become who does: they can
    take the triggers away, which is noticed and not prevented."""
    with connection.cursor() as cursor:
        rows = cursor.execute(_sql("masters"), ([*server.roles],)).fetchall()
    return tuple(row[0] for row in rows)


def _altered_table(statement: str) -> str:
    """The table of `ALTER TABLE table REPLICA IDENTITY …`."""
    return statement.removeprefix("ALTER TABLE ").rpartition(" REPLICA IDENTITY ")[0]


def _waiting(connection: Connection, delivered_through: int) -> int:
    with connection.cursor() as cursor:
        row = cursor.execute(_sql("waiting"), (delivered_through,)).fetchone()
    return int(row[0]) if row is not None else 0


def _sql(name: str) -> str:
    return named_sql("outbox.sql").get(name) or named_sql("catalog.sql")[name]

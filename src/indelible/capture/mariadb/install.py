"""Set up capture of writes in MariaDB or MySQL, keep it true after migrations, take it away."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from indelible.capture.host import Journal
from indelible.capture.installing import draft_installed
from indelible.capture.mariadb.baseline import Baseline
from indelible.capture.mariadb.connecting import (
    Connection,
    connect,
    database_of,
    load_driver,
    server_errors,
)
from indelible.capture.mariadb.installed import (
    FORMAT,
    OutboxSql,
    check_installed,
    read_installed,
)
from indelible.capture.mariadb.locking import locked
from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.outbox import newest_id
from indelible.capture.mariadb.plan import InstallPlan, TableWork, plan_install, seen_text
from indelible.capture.mariadb.schema import fetch, named_sql, read_schema
from indelible.capture.outbox_layout import encode_layout
from indelible.capture.servers import Drift, InstallReport, Progress, Uninstalled
from indelible.errors import CaptureError, ConfigurationError, NotInstalledError
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.events.values import Value
from indelible.policy.model import Policy, Server

_PATIENCE_S: Final = 60.0
_ESCAPED: Final = re.compile(r"[`\\]")
_LONG_S: Final = 24 * 3_600.0
_SETTING_UP: Final = (
    "create_schema",
    "create_meta",
    "create_layouts",
    "create_captured",
    "create_begun",
    "create_outbox",
    "drop_record",
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

    Needs an account that stays, as triggers run with its rights: SELECT, TRIGGER and LOCK TABLES
    on the database, all rights on the schema of ours, PROCESS. Each table is locked by itself, for
    as long as its triggers take; a lock that isn't there within a second is given up and asked for
    again, up to `patience_s`. Then its rows, as they were under that lock, go to `journal`. What
    interrupts leaves the rest for the next run. Safe to run again: nothing happens where nothing
    changed.

    Raises `ConfigurationError` (rights, a policy that the schema can't follow, a table that is
    never free) and `DeliveryError` (the server doesn't answer).
    """
    database = database_of(server)
    sql = OutboxSql(database)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server_errors(server))
        connection = stack.enter_context(contextlib.closing(connect(server)))
        _check_server(connection)
        installed = read_installed(connection, sql)
        is_first = not installed.meta
        meta = dict(installed.meta) or {
            "format": str(FORMAT),
            "incarnation": rng(8),
            "epoch": str(clock_ns() // 1_000),
        }
        setting_up = [sql[name] for name in _SETTING_UP] if is_first else []
        plan = plan_install(read_schema(connection, database), policy, installed)
        statements = (*setting_up, *_rights(server, sql), *plan.statements)
        report = InstallReport(
            incarnation=meta["incarnation"],
            is_first=is_first,
            statements=statements,
            drifts=(*plan.drifts, *(() if is_first else _altered(connection, sql))),
            unseen=plan.unseen,
            tables=plan.tables,
        )
        if dry_run:
            return report
        with connection.cursor() as cursor:
            for statement in setting_up:
                cursor.execute(statement)
            if is_first:
                # All at once, and last: until then it was never begun.
                cursor.execute(
                    sql["put_meta"], (meta["format"], meta["incarnation"], meta["epoch"])
                )
            for statement in _rights(server, sql):
                cursor.execute(statement)
        installer = _Installer(server, connection, sql, policy, journal, progress, patience_s)
        installer.remove(plan)
        for work in plan.works:
            installer.table(work, meta["incarnation"])
        report = msgspec.structs.replace(
            report,
            statements=statements if is_first or plan.statements else (),
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
    sql = OutboxSql(database_of(server))
    check_installed(connection, sql)
    installed = read_installed(connection, sql)
    schema = read_schema(connection, database_of(server))
    return [*plan_install(schema, policy, installed).drifts, *_altered(connection, sql)]


def uninstall(
    server: Server,
    *,
    delivered_through: int = 0,
    force: bool = False,
    patience_s: float = _PATIENCE_S,
) -> Uninstalled:
    """Take triggers and the schema of ours away: the database is what it was.

    Raises `CaptureError` and changes nothing where outbox rows above `delivered_through` wait to
    be delivered, unless `force`; `NotInstalledError` where there is nothing to take away.
    """
    database = database_of(server)
    sql = OutboxSql(database)
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection, sql)
        waiting = _waiting(connection, sql, delivered_through)
        if waiting and not force:
            raise CaptureError(
                f"expected every outbox row to be delivered, {waiting} wait: run "
                "`indelible relay` first, or discard them with --force"
            )
        _drop_triggers(connection, database, patience_s)
        # Rows that came until the last trigger was gone.
        waiting = _waiting(connection, sql, delivered_through)
        if waiting and not force:
            raise CaptureError(
                f"{waiting} rows came while triggers were taken away: carry them, and run this "
                "again"
            )
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quote_name(sql.schema)}")
        return Uninstalled(waiting)


def suspend(server: Server, *, journal: Journal, patience_s: float = _PATIENCE_S) -> None:
    """Take only the triggers away, for a migration: they fail where a column of theirs is gone.

    That is an entry of the trail. Nothing is captured until `install` runs again; it then
    writes a baseline of every table, as nobody saw what changed in between.
    """
    database = database_of(server)
    sql = OutboxSql(database)
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection, sql)
        meta = read_installed(connection, sql).meta
        details: dict[str, Value] = {
            "incarnation": meta["incarnation"],
            "newest": newest_id(connection, sql),
        }
        journal.append(
            encode_draft(Event(action="capture.suspended", kind="system", details=details))
        )
        journal.sync()
        _drop_triggers(connection, database, patience_s)


def _drop_triggers(connection: Connection, database: str, patience_s: float) -> None:
    drops: dict[str, list[str]] = {}
    for one in read_schema(connection, database).triggers:
        if one.is_ours:
            drop = f"DROP TRIGGER {quote_name(database)}.{quote_name(one.name)}"
            drops.setdefault(one.table, []).append(drop)
    for table, statements in drops.items():
        quoted = f"{quote_name(database)}.{quote_name(table)}"
        with locked(connection, [quoted], patience_s), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def incarnation_of(server: Server) -> str:
    """Raises `NotInstalledError`."""
    sql = OutboxSql(database_of(server))
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection, sql)
        found = read_installed(connection, sql).meta.get("incarnation")
        if found is None:
            raise NotInstalledError(
                "expected a database whose set-up was finished: run `indelible install`"
            )
        return found


def relay_rights(server: Server, account: str = "'indelible_relay'@'%'") -> tuple[str, ...]:
    """What a relay needs whose account isn't the one that installed: nothing of the
    application's."""
    sql = OutboxSql(database_of(server))
    schema = quote_name(sql.schema)
    return (
        f"GRANT PROCESS ON *.* TO {account}",
        f"GRANT SELECT ON {schema}.* TO {account}",
        f"GRANT DELETE ON {schema}.outbox TO {account}",
        f"GRANT INSERT, DELETE ON {schema}.begun TO {account}",
        f"GRANT SELECT, TRIGGER ON {quote_name(database_of(server))}.* TO {account}",
    )


def masters_on(connection: Connection, server: Server) -> tuple[str, ...]:
    """Those of the application's accounts that can take the triggers away or touch the outbox,
    which is noticed and not prevented; `unasked_on` are those that aren't known."""
    database = database_of(server)
    schema = OutboxSql(database).schema
    return tuple(
        role
        for role in server.roles
        if any(_is_masterly(grant, database, schema) for grant in _grants(connection, role) or ())
    )


def unasked_on(connection: Connection, server: Server) -> tuple[str, ...]:
    """Those of the application's accounts whose rights ours may not read."""
    return tuple(role for role in server.roles if _grants(connection, role) is None)


def _grants(connection: Connection, role: str) -> list[str] | None:
    try:
        rows = fetch(connection, f"SHOW GRANTS FOR {account_of(role)}")
    except load_driver().Error:
        return None
    return [row[0].upper() for row in rows]


def _is_masterly(grant: str, database: str, schema: str) -> bool:
    what, _, rest = grant.partition(" ON ")
    where = _ESCAPED.sub("", rest.partition(" TO ")[0]).partition(".")[0]
    may_drop = where in ("*", database.upper()) and {"TRIGGER", "DROP", "ALTER"}
    may_touch = where in ("*", schema.upper()) and {"INSERT", "UPDATE", "DELETE", "DROP"}
    rights = (may_drop or set()) | (may_touch or set())
    return bool(rights) and any(right in what for right in ("ALL PRIVILEGES", *rights))


def account_of(role: str) -> str:
    """An account as SQL writes it: `app` is `'app'@'%'`, `app@10.0.0.1` that one."""
    name, _, host = role.partition("@")
    user, at = (part.replace("\\", "\\\\").replace("'", "''") for part in (name, host or "%"))
    return f"'{user}'@'{at}'"


class _Installer:
    """Does the work of a plan, a table at a time."""

    def __init__(
        self,
        server: Server,
        connection: Connection,
        sql: OutboxSql,
        policy: Policy,
        journal: Journal,
        progress: Progress | None,
        patience_s: float,
    ) -> None:
        self._server = server
        self._database = database_of(server)
        self._connection = connection
        self._sql = sql
        self._policy = policy
        self._journal = journal
        self._progress = progress
        self._patience_s = patience_s
        self.rows = 0
        self.tables: list[str] = []

    def remove(self, plan: InstallPlan) -> None:
        """What isn't captured any more."""
        with self._connection.cursor() as cursor:
            for table, statements in plan.drops.items():
                with locked(self._connection, [self._quoted(table)], self._patience_s):
                    for statement in statements:
                        cursor.execute(statement)
            for name in plan.gone:
                cursor.execute(self._sql["forget_captured"], (name,))

    def table(self, work: TableWork, incarnation: str) -> None:
        """Triggers, and rows as they were when these were made."""
        with self._connection.cursor() as cursor:
            # Before the first row that names it.
            cursor.execute(self._sql["put_layout"], (work.number, encode_layout(work.layout)))
            cursor.execute(self._sql["put_captured"], (work.table, work.number, "", None))
            with locked(self._connection, [self._quoted(work.table)], self._patience_s):
                for statement in (*work.drops, *work.creates):
                    cursor.execute(statement)
                # Its snapshot is fixed while nobody else writes; the rows, which are many, perhaps,
                # are read later, one after the other.
                other = connect(self._server, statement_s=_LONG_S)
                baseline = Baseline(other, self._sql, incarnation)
            seen = seen_text(read_schema(self._connection, self._database), work.table)
            cursor.execute(self._sql["put_captured"], (work.table, work.number, seen, None))
            written = self._write(baseline, work)
            # The trail must hold the baseline before the database says that it does.
            self._journal.sync()
            cursor.execute(self._sql["put_baseline"], (baseline.position, work.table))
        self.rows += written
        self.tables.append(work.table)

    def _write(self, baseline: Baseline, work: TableWork) -> int:
        schema = read_schema(self._connection, self._database)
        done = 0
        try:
            total = schema.rows.get(work.table.lower(), 0)
            for count in baseline.write(schema, work.layout, self._policy, self._journal):
                done += count
                if self._progress is not None:
                    self._progress(work.table, done, max(done, total))
        finally:
            baseline.close()
        return done

    def _quoted(self, table: str) -> str:
        return f"{quote_name(self._database)}.{quote_name(table)}"


def _check_server(connection: Connection) -> None:
    """Raise `ConfigurationError` where the outbox's order or its triggers couldn't be relied on."""
    ((log_bin, format_),) = fetch(connection, named_sql("catalog.sql")["binary_log"])
    if log_bin and format_ == "STATEMENT":
        raise ConfigurationError(
            "expected binlog_format ROW or MIXED, found STATEMENT: what triggers write isn't safe "
            "to replicate in it"
        )
    with contextlib.suppress(load_driver().Error):  # MySQL has neither this table nor Galera
        found = fetch(connection, named_sql("catalog.sql")["galera"])
        if found and found[0][0] == "ON":
            raise ConfigurationError(
                "expected a server by itself, found a Galera cluster: its ids don't rise in the "
                "order in which things happen"
            )


def _altered(connection: Connection, sql: OutboxSql) -> list[Drift]:
    """Whether the procedure of ours is as it was made."""
    for name, body, security in fetch(connection, sql["routines"], (sql.schema,)):
        is_whole = bool(body) and _words(sql["create_record"]).endswith(_words(body))
        if name == "record" and security == "DEFINER" and is_whole:
            return []
    return [Drift(f"{sql.schema}.record", "replaced or missing: uninstall and install")]


def _words(text: str) -> str:
    return " ".join(re.sub(r"--[^\n]*\n", " ", text).split())


def _rights(server: Server, sql: OutboxSql) -> tuple[str, ...]:
    record = f"PROCEDURE {quote_name(sql.schema)}.record"
    return tuple(f"GRANT EXECUTE ON {record} TO {account_of(role)}" for role in server.roles)


def _waiting(connection: Connection, sql: OutboxSql, delivered_through: int) -> int:
    ((waiting,),) = fetch(connection, sql["waiting"], (delivered_through,))
    return int(waiting)

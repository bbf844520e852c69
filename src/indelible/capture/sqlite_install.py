"""Set up capture of writes in an SQLite database, keep it true after migrations, take it away."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from indelible.capture.host import Journal
from indelible.capture.installing import draft_installed
from indelible.capture.schema import Unseen
from indelible.capture.sqlite_baseline import Progress, write_baseline
from indelible.capture.sqlite_context import FORMAT
from indelible.capture.sqlite_names import META, NOTES, OUTBOX, is_ours, quote_name
from indelible.capture.sqlite_outbox import outbox_state, read_meta
from indelible.capture.sqlite_plan import (
    BASELINE_DUE,
    Drift,
    Installed,
    InstallPlan,
    baseline_key,
    plan_install,
)
from indelible.capture.sqlite_schema import named_sql, plain_cursor, read_schema_of
from indelible.errors import CaptureError, ConfigurationError, NotInstalledError
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.policy.model import Policy

Database = sqlite3.Connection | str | Path
_TIMEOUT_S: Final = 10.0


class InstallReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` did, or with `dry_run` would do.

    `drifts` are the tables that had changed since the last time; `statements` is the SQL;
    `unseen` names what no trigger sees. `baseline_rows` were written to the trail.
    """

    incarnation: str
    is_first: bool
    statements: tuple[str, ...]
    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    tables: tuple[str, ...]
    baseline_tables: tuple[str, ...] = ()
    baseline_rows: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything had to be done."""
        return bool(self.statements or self.drifts or self.baseline_tables)


def install(
    database: Database,
    policy: Policy,
    *,
    journal: Journal,
    progress: Progress | None = None,
    dry_run: bool = False,
    clock_ns: Callable[[], int] = time.time_ns,
    rng: Callable[[int], str] = secrets.token_hex,
) -> InstallReport:
    """Capture every write to `database` from now on, and say what was there before.

    Outbox and triggers come in one transaction: all or none. Then each table's rows go to
    `journal` as `table.baseline` events; what interrupts that leaves the rest due for the next
    run. Safe to run again: nothing happens where nothing changed, and after a migration just
    what it made necessary. `database` is a path, or a connection without an open transaction
    on which no `WriteContext` is attached.

    Raises `ConfigurationError` (no such file, read-only, locked, a policy that the schema can't
    follow) and leaves the database as it was.
    """
    with _opened(database, is_read_only=dry_run) as connection:
        with _transaction(connection, "BEGIN" if dry_run else "BEGIN IMMEDIATE") as cursor:
            installed = _read_installed(connection)
            plan = _plan(connection, policy, installed)
            meta = dict(plan.meta)
            is_first = not installed.meta
            if is_first:
                meta["format"] = str(FORMAT)
                meta["incarnation"] = rng(8)
                meta["epoch"] = str(clock_ns() // 1_000)
                setting_up = [
                    named_sql()[name] for name in ("create_meta", "create_outbox", "create_notes")
                ]
            else:
                setting_up = []
            statements = (*setting_up, *plan.statements)
            if not dry_run:
                for statement in statements:
                    _run(cursor, statement)
                _write_meta(cursor, meta)
        report = InstallReport(
            incarnation=meta.get("incarnation") or installed.meta.get("incarnation", ""),
            is_first=is_first,
            statements=statements,
            drifts=plan.drifts,
            unseen=plan.unseen,
            tables=tuple(layout.table for layout in plan.layouts.values()),
        )
        if dry_run:
            return report
        report = _with_baseline(connection, policy, plan, report, journal, progress)
        if report.changed:
            journal.append(draft_installed(report.incarnation, report.tables, policy))
        return report


def check(database: Database, policy: Policy) -> list[Drift]:
    """Where the triggers that are there don't see what the policy wants seen; reads only.

    An empty list is what `install` leaves. Raises `NotInstalledError` where it never ran.
    """
    with _opened(database, is_read_only=True) as connection:
        installed = _read_installed(connection)
        if not installed.meta:
            raise NotInstalledError(
                "expected Indelible's tables in this database, found none: `indelible install`"
            )
        return list(_plan(connection, policy, installed).drifts)


class Uninstalled(msgspec.Struct, frozen=True):
    """How many waiting rows went, and whether an empty `sqlite_sequence` of ours stays."""

    discarded: int
    leaves_sequence: bool


def uninstall(
    database: Database, *, delivered_through: int = 0, force: bool = False
) -> Uninstalled:
    """Take triggers, outbox and all else of ours away.

    The application's schema and rows are what they were, byte for byte, but for an empty
    `sqlite_sequence` where the application has no AUTOINCREMENT itself: SQLite made it for the
    outbox and drops it only in a VACUUM (to cut it out of a writable schema would leave its page
    allocated and used by nothing). Raises `CaptureError` and changes nothing where outbox rows
    above `delivered_through` wait to be delivered, unless `force`.
    """
    with _opened(database) as connection, _transaction(connection, "BEGIN IMMEDIATE") as cursor:
        if not _read_installed(connection).meta:
            raise NotInstalledError("expected Indelible's tables in this database, found none")
        ((waiting,),) = cursor.execute(named_sql()["waiting"], (delivered_through,)).fetchall()
        if waiting and not force:
            raise CaptureError(
                f"expected every outbox row to be delivered, {waiting} wait: run "
                "`indelible relay` first, or discard them with --force"
            )
        _drop_triggers(connection, cursor)
        for table in (OUTBOX, NOTES, META):
            cursor.execute(f"DROP TABLE {quote_name(table)}")
        ((leaves_sequence,),) = cursor.execute(named_sql()["leaves_sequence"]).fetchall()
        return Uninstalled(int(waiting), bool(leaves_sequence))


def suspend(database: Database, *, journal: Journal) -> None:
    """Take only the triggers away, for a migration that they are in the way of (DROP COLUMN).

    That is an entry of the trail. Nothing is captured until `install` runs again; it then
    writes a baseline of every table, as nobody saw what changed in between.
    """
    with _opened(database) as connection:
        state = outbox_state(connection)
        event = Event(
            action="capture.suspended",
            kind="system",
            details={"incarnation": state.incarnation, "newest": state.newest},
        )
        journal.append(encode_draft(event))
        journal.sync()
        with _transaction(connection, "BEGIN IMMEDIATE") as cursor:
            _drop_triggers(connection, cursor)


def _with_baseline(
    connection: sqlite3.Connection,
    policy: Policy,
    plan: InstallPlan,
    report: InstallReport,
    journal: Journal,
    progress: Progress | None,
) -> InstallReport:
    meta = read_meta(connection)
    due = [
        number
        for number, layout in plan.layouts.items()
        if meta.get(baseline_key(layout.table)) == BASELINE_DUE
    ]
    rows = 0
    tables = []
    schema = read_schema_of(connection)
    for number in due:
        layout = plan.layouts[number]
        table = schema.table(layout.table)
        if table is None:
            continue
        done = write_baseline(connection, schema, table, layout, policy, journal, progress)
        # The trail must hold the baseline before the database says that it does.
        journal.sync()
        with _transaction(connection, "BEGIN IMMEDIATE") as cursor:
            _write_meta(cursor, {baseline_key(layout.table): str(done.position)})
        rows += done.rows
        tables.append(layout.table)
    return msgspec.structs.replace(report, baseline_tables=tuple(tables), baseline_rows=rows)


def _plan(connection: sqlite3.Connection, policy: Policy, installed: Installed) -> InstallPlan:
    found = installed.meta.get("format", str(FORMAT))
    if found != str(FORMAT):
        raise ConfigurationError(
            f"expected an outbox of format {FORMAT}, found {found}: "
            "use the version of Indelible that installed it"
        )
    return plan_install(
        read_schema_of(connection),
        policy,
        installed,
        max_columns=connection.getlimit(sqlite3.SQLITE_LIMIT_COLUMN),
    )


def _read_installed(connection: sqlite3.Connection) -> Installed:
    with plain_cursor(connection) as cursor:
        try:
            meta = read_meta(connection)
        except NotInstalledError:
            meta = {}
        slots = [
            sum(row[1].startswith("o") and row[1][1:].isdecimal() for row in found)
            for found in (
                cursor.execute(f"PRAGMA main.table_info({quote_name(table)})").fetchall()
                for table in (OUTBOX, NOTES)
            )
        ]
    return Installed(meta, *slots)


def _write_meta(cursor: sqlite3.Cursor, meta: dict[str, str | None]) -> None:
    for key, value in meta.items():
        if value is None:
            cursor.execute(named_sql()["forget_meta"], (key,))
        else:
            cursor.execute(named_sql()["put_meta"], (key, value))


def _drop_triggers(connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
    for trigger in read_schema_of(connection).triggers:
        if is_ours(trigger.name):
            cursor.execute(f"DROP TRIGGER main.{quote_name(trigger.name)}")


def _run(cursor: sqlite3.Cursor, statement: str) -> None:
    try:
        cursor.execute(statement)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise  # locked, read-only, full: not the statement's fault
        first_line = statement.partition("\n")[0]
        raise ConfigurationError(
            f"SQLite refused {first_line!r}: {error}; set writes = false for that table, "
            "and report this to us"
        ) from error


@contextlib.contextmanager
def _opened(database: Database, *, is_read_only: bool = False) -> Iterator[sqlite3.Connection]:
    """The connection given, or one of our own; in autocommit until the end."""
    if isinstance(database, sqlite3.Connection):
        if database.in_transaction:
            raise ConfigurationError("expected a connection without an open transaction")
        before = database.isolation_level
        database.isolation_level = None
        try:
            yield database
        finally:
            database.isolation_level = before
        return
    path = Path(database)
    if not path.is_file():
        raise ConfigurationError(f"expected an SQLite database at {path}, found no file there")
    mode = "ro" if is_read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_TIMEOUT_S,
        isolation_level=None,
    )
    try:
        yield connection
    except sqlite3.DatabaseError as error:
        raise _explained(error, str(path)) from error
    finally:
        connection.close()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Cursor]:
    try:
        with plain_cursor(connection) as cursor:
            cursor.execute(begin)
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise _explained(error, "this database") from error


def _explained(error: sqlite3.DatabaseError, name: str) -> Exception:
    text = str(error)
    if "readonly" in text or "read-only" in text:
        return ConfigurationError(
            f"expected to write to {name}, it is read-only: check its file, its directory and "
            "its owner"
        )
    if "locked" in text or "busy" in text:
        return ConfigurationError(
            f"expected to write to {name}, another process holds its lock: stop it, or try "
            "again when it is done"
        )
    if "not a database" in text or "malformed" in text:
        return ConfigurationError(f"expected {name} to be an SQLite database: {text}")
    return error

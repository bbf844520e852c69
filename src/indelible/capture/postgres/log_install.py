"""Setting up that PostgreSQL's log is read: publication, slot, what it was before; and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.installed import has_log
from indelible.capture.postgres.names import quote_text
from indelible.capture.postgres.plan import Installed, uses_log
from indelible.capture.postgres.schema import PostgresSchema, named_sql
from indelible.capture.postgres.triggers import Captured, subject_sql
from indelible.errors import ConfigurationError
from indelible.policy.model import Policy, Profile, Server

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

ENDED: Final = "capture is by triggers from now on"
"""Stands where the reason of a loss does, when it is none."""
_TABLES: Final = ("create_log", "create_published", "create_log_counts")


def slot_name(incarnation: str) -> str:
    """Slots are the whole cluster's; a copy of the database has none."""
    return f"indelible_{incarnation}"


def check_server(connection: Connection, server: Server, incarnation: str) -> None:
    """Raise `ConfigurationError` where the log can't be read, and say what to do."""
    row = connection.execute(_sql("server"), (slot_name(incarnation),)).fetchone()
    if row is None:
        raise ConfigurationError("expected the server to tell its settings, got nothing")
    wal_level, encoding, may_replicate, role, free, may_create = row
    if wal_level != "logical":
        raise ConfigurationError(
            f"expected wal_level = logical for profile = {server.profile!r}, found {wal_level}: "
            "set it in postgresql.conf and start the server anew"
        )
    if encoding != "UTF8":
        raise ConfigurationError(
            f"expected a database in UTF8 for profile = {server.profile!r}, found {encoding}: "
            "use profile = 'triggers'"
        )
    if not may_replicate:
        raise ConfigurationError(
            f"expected that role {role} may read the log: ALTER ROLE {role} REPLICATION, as a "
            "superuser"
        )
    if not may_create:
        raise ConfigurationError(
            f"expected that role {role} may create a publication: GRANT CREATE ON DATABASE to it"
        )
    if free < 1:
        raise ConfigurationError(
            "expected a free replication slot, found none: raise max_replication_slots, or drop a "
            "slot that nobody reads"
        )
    cannot = [row[0] for row in connection.execute(_sql("cannot_emit"), ([*server.roles],))]
    if server.profile == "log" and cannot:
        raise ConfigurationError(
            f"expected that role {cannot[0]} may say who acts: GRANT EXECUTE ON FUNCTION "
            "pg_logical_emit_message(boolean, text, bytea) to it"
        )


def set_up_statements(connection: Connection, installed: Installed, profile: Profile) -> list[str]:
    """What has to be created before the slot, where `profile` isn't what was installed."""
    found: list[str] = []
    if uses_log(profile):
        if not has_log(connection):
            found += map(_sql, _TABLES)
        publication = connection.execute(_sql("publication")).fetchone()
        if publication is None:
            found.append(_sql("create_publication"))
        elif not publication[0]:
            found.append(_sql("mend_publication"))
    if installed.profile != profile:
        found.append(
            _sql("create_record") if profile == "log" else named_sql("outbox.sql")["create_record"]
        )
    return found


def slot_statement(incarnation: str) -> str:
    """As it is shown; see `begin_log`."""
    return (
        "SELECT pg_create_logical_replication_slot"
        f"({quote_text(slot_name(incarnation))}, 'pgoutput')"
    )


def begin_log(connection: Connection, incarnation: str) -> None:
    """Make the slot, from which on everything is told. Waits until all transactions that write
    now have ended. Raises `ConfigurationError` where that takes too long."""
    slot = slot_name(incarnation)
    connection.execute(_sql("drop_slot"), (slot,))
    try:
        row = connection.execute(_sql("create_slot"), (slot,)).fetchone()
    except load_driver().errors.QueryCanceled:
        raise ConfigurationError(
            "expected every transaction that writes to end within a minute, as a slot begins "
            "between transactions: end those that are idle, and run this again"
        ) from None
    connection.execute(_sql("begin_anew"))
    # Whoever dies here leaves a slot that the next run drops.
    connection.execute(_sql("put_log"), (slot, row[0] if row is not None else "0/0"))


def put_published(cursor: Any, schema: PostgresSchema, captured: Captured, policy: Policy) -> None:
    """Write down that the log has this relation's rows, in the transaction that makes it so, and
    in which nobody else writes them."""
    cursor.execute(_sql("forget_counts"), (captured.layout.table,))
    relation = captured.relation
    subject = subject_sql(schema, relation, captured.layout, policy) or (None, None)
    is_counted = captured.function is not None
    cursor.execute(
        _sql("put_published"),
        (relation.oid, relation.identity, relation.identity_index, is_counted, *subject),
    )


def end_log(connection: Connection, incarnation: str) -> None:
    """The log isn't read any more, on purpose: the server need keep nothing for us."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(_sql("lock"))
        # Whoever relays meanwhile must not take it for an accident that the slot goes.
        cursor.execute(_sql("put_lost"), (ENDED,))
    connection.execute(_sql("drop_slot"), (slot_name(incarnation),))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("DROP PUBLICATION IF EXISTS indelible")
        cursor.execute("DROP TABLE indelible.log, indelible.published, indelible.log_counts")
        cursor.execute("DELETE FROM indelible.meta WHERE key = 'profile'")


def _sql(name: str) -> str:
    return named_sql("log.sql")[name]

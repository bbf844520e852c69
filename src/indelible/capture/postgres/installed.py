"""What `install` wrote down in the schema `indelible`, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.capture.outbox_layout import Layout, decode_layout
from indelible.capture.postgres.plan import (
    CapturedRow,
    Identity,
    Installed,
)
from indelible.capture.postgres.schema import named_sql
from indelible.capture.servers import LogLook
from indelible.errors import ConfigurationError, NotInstalledError

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

FORMAT = 2


def is_installed(connection: Connection) -> bool:
    """Whether there is an outbox of ours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass('indelible.meta') IS NOT NULL")
        row = cursor.fetchone()
    return bool(row and row[0])


def check_installed(connection: Connection) -> None:
    """Raise `NotInstalledError` where there is no outbox."""
    if not is_installed(connection):
        raise NotInstalledError(
            "expected the schema indelible in this database, found none: `indelible install`"
        )


def read_installed(connection: Connection) -> Installed:
    """What is written down; nothing where `install` never ran.

    Raises `ConfigurationError` where a newer version of Indelible wrote it.
    """
    if not is_installed(connection):
        return Installed(meta={}, layouts={}, captured={})
    with connection.cursor() as cursor:
        meta: dict[str, str] = dict(cursor.execute(_sql("meta")).fetchall())
        captured = {
            row[0]: CapturedRow(
                relation=row[0],
                name=row[1],
                root=row[2],
                layout=row[3],
                seen=row[4],
                baseline=row[5],
            )
            for row in cursor.execute(_sql("captured")).fetchall()
        }
    found = meta.get("format", str(FORMAT))
    if found != str(FORMAT):
        raise ConfigurationError(
            f"expected an outbox of format {FORMAT}, found {found}: "
            "use the version of Indelible that installed it"
        )
    look = look_at_log(connection)
    return Installed(
        meta=meta,
        layouts=read_layouts(connection),
        captured=captured,
        identities=_identities(connection) if has_log(connection) else {},
        is_lost=look is not None and not look.is_whole,
    )


def has_log(connection: Connection) -> bool:
    """Whether the log is read, or was until it was lost."""
    row = connection.execute(_sql_of_log("has_log")).fetchone()
    return bool(row and row[0])


def look_at_log(connection: Connection) -> LogLook | None:
    """How far behind the log is read; None where it isn't."""
    if not has_log(connection):
        return None
    with connection.cursor() as cursor:
        log = cursor.execute(_sql_of_log("log")).fetchone()
        if log is None:
            return LogLook(slot="", wal_status=None, kept_bytes=None, lost="not set up to its end")
        slot = cursor.execute(_sql_of_log("slot"), (log[0],)).fetchone() or (None, None, None)
    return LogLook(slot=log[0], wal_status=slot[0], kept_bytes=slot[2], lost=log[3])


def _identities(connection: Connection) -> dict[int, Identity]:
    with connection.cursor() as cursor:
        rows = cursor.execute(_sql_of_log("published")).fetchall()
    return {row[0]: Identity(row[1], row[2]) for row in rows}


def read_layouts(connection: Connection) -> dict[int, Layout]:
    """Every layout in which rows of this outbox may stand."""
    with connection.cursor() as cursor:
        rows = cursor.execute(_sql("layouts")).fetchall()
    return {number: decode_layout(text) for number, text in rows}


def _sql(name: str) -> str:
    return named_sql("outbox.sql")[name]


def _sql_of_log(name: str) -> str:
    return named_sql("log.sql")[name]

"""What `install` wrote down in the schema `indelible`, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.capture.outbox_layout import Layout, decode_layout
from indelible.capture.postgres.plan import CapturedRow, Installed
from indelible.capture.postgres.schema import named_sql
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
    return Installed(meta=meta, layouts=read_layouts(connection), captured=captured)


def read_layouts(connection: Connection) -> dict[int, Layout]:
    """Every layout in which rows of this outbox may stand."""
    with connection.cursor() as cursor:
        rows = cursor.execute(_sql("layouts")).fetchall()
    return {number: decode_layout(text) for number, text in rows}


def _sql(name: str) -> str:
    return named_sql("outbox.sql")[name]

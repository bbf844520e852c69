"""What `install` wrote down in the schema of ours, read back."""

from __future__ import annotations

from typing import Final

from indelible.capture.mariadb.connecting import Connection
from indelible.capture.mariadb.names import quote_name, schema_name
from indelible.capture.mariadb.plan import CapturedRow, Installed
from indelible.capture.mariadb.schema import fetch, named_sql
from indelible.capture.mariadb.triggers import CONTEXT_TEXT, TIME
from indelible.capture.outbox_layout import Layout, decode_layout
from indelible.errors import ConfigurationError, NotInstalledError

FORMAT: Final = 1


class OutboxSql:
    """The statements of `outbox.sql` for one database."""

    def __init__(self, database: str) -> None:
        self.schema = schema_name(database)
        self._quoted = quote_name(self.schema)

    def __getitem__(self, name: str) -> str:
        text = named_sql("outbox.sql")[name].replace("{schema}", self._quoted)
        return text.replace("{time}", TIME).replace("{context}", CONTEXT_TEXT)


def is_installed(connection: Connection, sql: OutboxSql) -> bool:
    """Whether there is an outbox of ours."""
    return bool(fetch(connection, sql["is_installed"], (sql.schema,)))


def check_installed(connection: Connection, sql: OutboxSql) -> None:
    """Raise `NotInstalledError` where there is no outbox."""
    if not is_installed(connection, sql):
        raise NotInstalledError(
            f"expected the schema {sql.schema} on this server, found none: `indelible install`"
        )


def read_installed(connection: Connection, sql: OutboxSql) -> Installed:
    """What is written down; nothing where `install` never ran.

    Raises `ConfigurationError` where a newer version of Indelible wrote it.
    """
    if not is_installed(connection, sql):
        return Installed(meta={}, layouts={}, captured={})
    meta = dict(fetch(connection, sql["meta"]))
    if not meta:  # it was killed while it set up
        return Installed(meta={}, layouts={}, captured={})
    captured = {
        row[0]: CapturedRow(name=row[0], layout=row[1], seen=row[2], baseline=row[3])
        for row in fetch(connection, sql["captured"])
    }
    found = meta.get("format", str(FORMAT))
    if found != str(FORMAT):
        raise ConfigurationError(
            f"expected an outbox of format {FORMAT}, found {found}: "
            "use the version of Indelible that installed it"
        )
    return Installed(meta=meta, layouts=read_layouts(connection, sql), captured=captured)


def read_layouts(connection: Connection, sql: OutboxSql) -> dict[int, Layout]:
    """Every layout in which rows of this outbox may stand."""
    return {number: decode_layout(text) for number, text in fetch(connection, sql["layouts"])}

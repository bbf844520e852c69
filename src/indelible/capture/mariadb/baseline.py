"""The baseline: what was in a table when capture began, as `table.baseline` events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from indelible.capture.host import Journal
from indelible.capture.mariadb.connecting import Connection, load_driver
from indelible.capture.mariadb.installed import OutboxSql
from indelible.capture.mariadb.outbox import newest_id
from indelible.capture.mariadb.schema import MariadbSchema
from indelible.capture.mariadb.triggers import baseline_sql
from indelible.capture.mariadb.values import ROWS
from indelible.capture.outbox_layout import Layout
from indelible.capture.text_baseline import CHUNK_ROWS, BaselineWriter, Stored
from indelible.capture.text_rows import TableRows
from indelible.policy.model import Policy


class Baseline:
    """One table's rows, all from one snapshot; the connection is closed with `close`.

    A table is the unit that is resumed: its chunks must be of one snapshot, or a row whose key
    changes in between could be in none.
    """

    def __init__(self, connection: Connection, sql: OutboxSql, incarnation: str) -> None:
        """Fix the snapshot, now. To be called while nobody writes to the table: what was captured
        of it up to `position` is in the snapshot then, and nothing that comes later."""
        self._connection = connection
        self._incarnation = incarnation
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        self.position = newest_id(connection, sql)

    def write(
        self,
        schema: MariadbSchema,
        layout: Layout,
        policy: Policy,
        journal: Journal,
        *,
        epoch: int | None = None,
    ) -> Iterator[int]:
        """Append every row to `journal`; how many there were in each chunk."""
        writer = BaselineWriter(policy, journal, self._incarnation, self.position, epoch)
        found = self.rows(schema, layout, policy)
        return writer.write(TableRows(layout, ROWS), found)

    def rows(self, schema: MariadbSchema, layout: Layout, policy: Policy) -> Iterator[Stored]:
        """Every row, as triggers would write it."""
        cursor: Any = self._connection.cursor(load_driver().cursors.SSCursor)
        cursor.execute(baseline_sql(schema, layout, policy))
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield from rows

    def close(self) -> None:
        """End the transaction, with its connection: rows may be on their way."""
        self._connection.close()

"""The baseline: what was in a table when capture began, as `table.baseline` events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.schema import PostgresSchema, Relation, named_sql
from indelible.capture.postgres.triggers import baseline_sql
from indelible.capture.postgres.values import ROWS
from indelible.capture.text_baseline import CHUNK_ROWS, BaselineWriter, Stored
from indelible.capture.text_rows import TableRows
from indelible.policy.model import Policy

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection


class Baseline:
    """One table's rows, all from one snapshot; the connection's transaction ends with `close`.

    A table is the unit that is resumed: its chunks must be of one snapshot, or a row whose key
    changes in between could be in none.
    """

    def __init__(self, connection: Connection, incarnation: str) -> None:
        """Fix the snapshot, now. To be called while nobody writes to the table: what was captured
        of it up to `position` is in the snapshot then, and nothing that comes later."""
        self._connection = connection
        self._incarnation = incarnation
        self._cursor = connection.cursor()
        self._cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._cursor.execute("SET LOCAL statement_timeout = 0")
        self._cursor.execute("SET LOCAL row_security = off")
        self._cursor.execute(named_sql("outbox.sql")["state"])
        row = self._cursor.fetchone()
        self.position: int = row[2] if row is not None else 0

    def write(
        self,
        schema: PostgresSchema,
        root: Relation,
        layout: Layout,
        policy: Policy,
        journal: Journal,
        *,
        epoch: int | None = None,
    ) -> Iterator[int]:
        """Append every row to `journal`; how many there were in each chunk."""
        writer = BaselineWriter(policy, journal, self._incarnation, self.position, epoch)
        found = self.rows(schema, root, layout, policy)
        return writer.write(TableRows(layout, ROWS), found)

    def rows(
        self, schema: PostgresSchema, root: Relation, layout: Layout, policy: Policy
    ) -> Iterator[Stored]:
        """Every row, as triggers would write it."""
        sql = baseline_sql(schema, root, layout, policy)
        self._cursor.execute(f"DECLARE indelible_baseline NO SCROLL CURSOR FOR {sql}")
        while rows := self._cursor.execute(
            f"FETCH {CHUNK_ROWS} FROM indelible_baseline"
        ).fetchall():
            yield from rows

    def estimate(self, schema: PostgresSchema, root: Relation) -> int:
        """How many rows there are, about."""
        members = [one.oid for one in schema.relations.values() if one.root == root.oid]
        self._cursor.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_catalog.pg_class "
            "WHERE oid = ANY (%s)",
            (members,),
        )
        row = self._cursor.fetchone()
        return int(row[0]) if row is not None else 0

    def close(self) -> None:
        """End the transaction."""
        self._cursor.execute("ROLLBACK")
        self._cursor.close()

"""The baseline: what was in a table when capture began, as `table.baseline` events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.rows import STAND_IN, Image, TableRows
from indelible.capture.postgres.schema import PostgresSchema, Relation, named_sql
from indelible.capture.postgres.triggers import baseline_sql
from indelible.events.codec import encode_draft
from indelible.events.model import BaselineRows, Event, Subject, TargetRows
from indelible.policy.model import Policy

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

Progress = Callable[[str, int, int], None]
"""Called with a table's name, how many of its rows are done, and how many there are (about)."""

_CHUNK_CHARACTERS: Final = 40_000
_CHUNK_ROWS: Final = 500


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
        rows = TableRows(layout)
        is_full = policy.table(layout.table).baseline == "full"
        for chunk in self._chunks(baseline_sql(schema, root, layout, policy)):
            journal.append(self._draft(rows, chunk, is_full=is_full, epoch=epoch))
            yield len(chunk)

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

    def _chunks(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        self._cursor.execute(f"DECLARE indelible_baseline NO SCROLL CURSOR FOR {sql}")
        chunk: list[tuple[Any, ...]] = []
        size = 0
        while rows := self._cursor.execute(
            f"FETCH {_CHUNK_ROWS} FROM indelible_baseline"
        ).fetchall():
            for row in rows:
                chunk.append(row)
                size += len(row[1])
                if size >= _CHUNK_CHARACTERS or len(chunk) >= _CHUNK_ROWS:
                    yield chunk
                    chunk, size = [], 0
        if chunk:
            yield chunk

    def _draft(
        self,
        rows: TableRows,
        chunk: Sequence[tuple[Any, ...]],
        *,
        is_full: bool,
        epoch: int | None,
    ) -> bytes:
        images: list[Image] = []
        subjects: dict[Subject, None] = {}
        for stored, text in chunk:
            image = rows.read(text)
            images.append(image)
            subject = rows.subject_of(image, stored)
            if subject is not None:
                subjects[Subject(*subject)] = None
        layout = rows.layout
        keyless = None if layout.key else STAND_IN
        return encode_draft(
            Event(
                action="table.baseline",
                kind="system",
                targets=(
                    TargetRows(layout.kind, tuple(image.id for image in images), keyless=keyless),
                ),
                subjects=tuple(subjects),
                baseline=BaselineRows(
                    self._incarnation,
                    self.position,
                    rows.columns if is_full else (),
                    tuple(image.values for image in images) if is_full else (),
                    epoch,
                ),
            )
        )

"""The sessions of a PostgreSQL database, walsenders among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.capture.postgres.schema import named_sql
from indelible.capture.sessions import Session, SessionsLook

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection


def read_sessions(connection: Connection) -> SessionsLook:
    """Raises `psycopg.Error`. Addresses and beginnings of other roles' sessions are seen with the
    rights of `pg_read_all_stats` only."""
    with connection.cursor() as cursor:
        # Counted first: what is counted and then isn't found had ended by then.
        counted = cursor.execute(named_sql("outbox.sql")["sessions_counted"]).fetchone()
        rows = cursor.execute(named_sql("outbox.sql")["sessions"]).fetchall()
    found = [(row[0], Session(*row[1:])) for row in rows]
    count, counting = counted or (None, "")
    return SessionsLook(
        sessions=tuple(session for is_ours, session in found if not is_ours),
        own=next(session for is_ours, session in found if is_ours),
        counted=count,
        counting=counting,
    )

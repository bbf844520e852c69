"""Reading the outbox of a PostgreSQL database: bounded, and no further than what is settled.

What is settled is `capture.horizon`'s; a mark's number is that of a transaction of ours. A snapshot
alone can't tell: its `xmax` is one past the last transaction that *ended*, so younger ones may run
(PostgreSQL's manual, 9.27.10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from indelible.capture.change_drafts import OutboxRow
from indelible.capture.horizon import Horizon, OutboxRows, OutboxState
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.installed import check_installed, read_layouts
from indelible.capture.postgres.nests import Nests
from indelible.capture.postgres.schema import named_sql, one_snapshot
from indelible.capture.servers import Holder
from indelible.errors import CaptureError

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_FORGET_ROWS: Final = 5_000


def outbox_state(connection: Connection) -> OutboxState:
    """Where the outbox stands now. Raises `NotInstalledError`, `CaptureError`, `psycopg.Error`."""
    check_installed(connection)
    with connection.cursor() as cursor:
        row = cursor.execute(_sql("state")).fetchone()
    if row is None or not isinstance(row[0], str) or not str(row[1]).isdecimal():
        raise CaptureError(
            "expected an incarnation and its epoch in indelible.meta, found neither: "
            "`indelible install` writes them"
        )
    return OutboxState(row[0], *map(int, row[1:]))


def note_horizon(connection: Connection, horizon: Horizon, state: OutboxState) -> None:
    """Look at the transactions that run, after `state` was read on this connection.

    Takes a transaction number, only while there is something new.
    """
    with connection.cursor() as cursor:
        if horizon.needs_mark(state.newest):
            row = cursor.execute(_sql("last_begun")).fetchone()
            if row is not None:
                horizon.mark(state.newest, ended=state.ended, last=row[0])
        row = cursor.execute(_sql("all_ended_below")).fetchone()
    if row is not None:
        horizon.note(row[0])


def read_outbox(
    connection: Connection,
    since: int,
    settled: int,
    *,
    limit: int,
    max_bytes: int,
    known: Mapping[int, Layout] | None = None,
    nests: Nests | None = None,
) -> OutboxRows:
    """At most `limit` rows and about `max_bytes`, two at least where there are as many: the row
    `since`, and those behind it up to `settled`. Raises `psycopg.Error`.

    All in one snapshot: of what is nested nothing is deleted meanwhile. What `nests` remembers
    isn't found out again.
    """
    with one_snapshot(connection) as cursor:
        rows: list[OutboxRow] = cursor.execute(
            _sql("read"),
            {"since": since, "settled": settled, "limit": limit, "max_bytes": max_bytes},
        ).fetchall()
        is_end = True
        if rows:
            found = cursor.execute(
                _sql("any_behind"), {"last": rows[-1][0], "settled": settled}
            ).fetchone()
            is_end = not (found and found[0])
        numbers = {row[3] for row in rows if type(row[3]) is int and row[3]}
        known = known or {}
        layouts = {} if numbers <= known.keys() else read_layouts(connection)
        nests = nests or Nests()
        rows = nests.in_order(cursor, rows, {**known, **layouts})
    return OutboxRows(rows, layouts, is_end, nests.take_notices())


def forget_rows(connection: Connection, below: int, ended: int | None = None) -> bool:
    """Delete some of the rows below this id, with `ended` only those of transactions below it;
    whether there may be more."""
    with connection.cursor() as cursor:
        cursor.execute(_sql("forget"), {"below": below, "ended": ended, "limit": _FORGET_ROWS})
        return cursor.rowcount >= _FORGET_ROWS


def read_holder(connection: Connection) -> Holder | None:
    """Who keeps the outbox from being settled; None where no transaction is open."""
    with connection.cursor() as cursor:
        row = cursor.execute(_sql("holding")).fetchone()
    return Holder(*row) if row is not None else None


def _sql(name: str) -> str:
    return named_sql("outbox.sql")[name]

"""Reading the outbox of a PostgreSQL database: bounded, and no further than what is settled.

Ids are given out before their transactions commit, so a lower one may appear after a higher one.
A *mark* is the highest id given out at a moment, and the number of a transaction that began later:
once all up to that one have ended, nothing can appear at or below the id any more. It is settled.
A snapshot alone can't tell: its `xmax` is one past the last transaction that *ended*, so younger
ones may run (PostgreSQL's manual, 9.27.10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from indelible.capture.change_drafts import OutboxRow
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.installed import check_installed, read_layouts
from indelible.capture.postgres.nests import Nests
from indelible.capture.postgres.schema import named_sql, one_snapshot
from indelible.errors import CaptureError

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_MARKS: Final = 64
_FORGET_ROWS: Final = 5_000


class OutboxState(NamedTuple):
    """`newest` is the highest id ever given out, whether or not its row is there.

    Transactions with numbers below `ended` had ended before it was read.
    """

    incarnation: str
    epoch: int
    newest: int
    ended: int


class OutboxRows(NamedTuple):
    """Rows in the order of their ids, and layouts that the reader didn't know."""

    rows: list[OutboxRow]
    layouts: dict[int, Layout]
    is_end: bool


class Holder(msgspec.Struct, frozen=True):
    """The oldest transaction that is still open: nothing behind its beginning is settled."""

    xid: str
    pid: int | None
    role: str | None
    application: str | None
    database: str | None
    prepared: str | None
    since: str | None
    """None where the relay's role may not see it."""

    def __str__(self) -> str:
        since = f", since {self.since}" if self.since is not None else ""
        if self.prepared is not None:
            return f"the prepared transaction {self.prepared!r}{since}"
        return (
            f"the transaction of process {self.pid} (role {self.role}, "
            f"application {self.application!r}, database {self.database}{since})"
        )


class _Mark(NamedTuple):
    newest: int
    ended: int
    last: int


class Horizon:
    """Up to which id an outbox is settled. Pure."""

    def __init__(self) -> None:
        self.settled = 0
        self.oldest = 0
        """No row of a transaction with a lower number is above `settled`."""
        self._marks: list[_Mark] = []

    def needs_mark(self, newest: int) -> bool:
        """Whether something was given out that no mark covers yet; many marks suffice."""
        last = self._marks[-1].newest if self._marks else self.settled
        return newest > last and len(self._marks) < _MARKS

    def mark(self, newest: int, *, ended: int, last: int) -> None:
        """`newest` was the highest id given out when all transactions below `ended` had ended, and
        before the transaction `last` began."""
        self._marks.append(_Mark(newest, ended, last))

    def note(self, ended: int) -> None:
        """All transactions below `ended` have ended."""
        while self._marks and self._marks[0].last < ended:
            mark = self._marks.pop(0)
            self.settled, self.oldest = mark.newest, mark.ended


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
        rows = (nests or Nests()).in_order(cursor, rows, {**known, **layouts})
    return OutboxRows(rows, layouts, is_end)


def forget_rows(connection: Connection, below: int) -> bool:
    """Delete some of the rows below this id; whether there may be more."""
    with connection.cursor() as cursor:
        cursor.execute(_sql("forget"), {"below": below, "limit": _FORGET_ROWS})
        return cursor.rowcount >= _FORGET_ROWS


def read_holder(connection: Connection) -> Holder | None:
    """Who keeps the outbox from being settled; None where no transaction is open."""
    with connection.cursor() as cursor:
        row = cursor.execute(_sql("holding")).fetchone()
    return Holder(*row) if row is not None else None


def _sql(name: str) -> str:
    return named_sql("outbox.sql")[name]

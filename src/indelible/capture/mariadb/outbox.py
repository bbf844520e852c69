"""Reading the outbox of a MariaDB or MySQL database: bounded, no further than what is settled.

What is settled is `capture.horizon`'s; a mark's number is the highest of the transactions that ran.
InnoDB's list of them is a copy that is made anew only where nobody asked for it for 0.1 seconds
(storage/innobase/trx/trx0i_s.cc): it is believed only where our own question is in it, and where
others keep asking the monitor's text, which costs more, says it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from indelible.capture.change_drafts import OutboxRow
from indelible.capture.horizon import Horizon, OutboxRows, OutboxState
from indelible.capture.mariadb.connecting import Connection
from indelible.capture.mariadb.installed import OutboxSql, check_installed, read_layouts
from indelible.capture.mariadb.schema import fetch
from indelible.capture.servers import Holder
from indelible.errors import CaptureError

_FORGET_ROWS: Final = 5_000
_ROW_BYTES: Final = 100
_ALL_ENDED: Final = 2**63
_FIRST_MADE_UP: Final = 2**48
"""From here on the server shows numbers of transactions that have none, as they wrote nothing."""
_TRANSACTION: Final = re.compile(r"^---TRANSACTION (\d+), (?!not started)", re.MULTILINE)
_END: Final = "END OF INNODB MONITOR OUTPUT"
_CUT: Final = "... truncated..."
_numbers = itertools.count(1)


class Running(NamedTuple):
    """A transaction that has written something, or may have."""

    number: int
    thread: int
    since: str


def newest_id(connection: Connection, sql: OutboxSql) -> int:
    """The highest id that the outbox ever gave out. Raises `pymysql.Error`."""
    ((newest,),) = fetch(connection, sql["newest"], (sql.schema,))
    return int(newest)


def outbox_state(connection: Connection, sql: OutboxSql) -> OutboxState:
    """Where the outbox stands now. Raises `NotInstalledError`, `CaptureError`, `pymysql.Error`."""
    check_installed(connection, sql)
    meta = dict(fetch(connection, sql["meta"]))
    incarnation, epoch = meta.get("incarnation"), meta.get("epoch", "")
    if not isinstance(incarnation, str) or not epoch.isdecimal():
        raise CaptureError(
            f"expected an incarnation and its epoch in {sql.schema}.meta, found neither: "
            "`indelible install` writes them"
        )
    return OutboxState(incarnation, int(epoch), newest_id(connection, sql), 0)


def note_horizon(
    connection: Connection, sql: OutboxSql, horizon: Horizon, state: OutboxState
) -> bool:
    """Look at the transactions that run, after `state` was read on this connection; whether they
    were to be seen."""
    found = running(connection, sql)
    if found is None:
        return False
    note_numbers(horizon, state, [one.number for one in found])
    return True


def note_numbers(horizon: Horizon, state: OutboxState, numbers: Sequence[int]) -> None:
    """These transactions run, and none else that wrote anything."""
    if horizon.needs_mark(state.newest):
        horizon.mark(state.newest, ended=0, last=max(numbers, default=0))
    horizon.note(min(numbers, default=_ALL_ENDED))


def running(connection: Connection, sql: OutboxSql) -> list[Running] | None:
    """The transactions that may have taken an id; None where the list is none of now."""
    mark = f"indelible {next(_numbers)}"
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            cursor.execute(sql["running"], (mark,))
            rows = cursor.fetchall()
            warnings = cursor.warning_count
        finally:
            cursor.execute("COMMIT")
    thread = connection.thread_id()
    is_of_now = any(row[2] == thread and mark in (row[4] or "") for row in rows)
    if not is_of_now or warnings:  # it was cut off
        return None
    return [Running(row[1], row[2], row[3]) for row in rows if 0 < int(row[1]) < _FIRST_MADE_UP]


def running_by_monitor(connection: Connection, sql: OutboxSql) -> list[int] | None:
    """The numbers of the transactions that may have taken an id; None where the text was cut."""
    ((_, _, text),) = fetch(connection, sql["monitor"])
    if _END not in text or _CUT in text:
        return None
    return [int(found[1]) for found in _TRANSACTION.finditer(text)]


def read_outbox(
    connection: Connection,
    sql: OutboxSql,
    since: int,
    settled: int,
    *,
    limit: int,
    max_bytes: int,
    known: Collection[int] = (),
) -> OutboxRows:
    """At most `limit` rows and about `max_bytes`, two at least where there are as many: the row
    `since`, and those behind it up to `settled`. Raises `pymysql.Error`."""
    last, size = since, 0
    for place, (id_, length) in enumerate(fetch(connection, sql["sizes"], (since, limit))):
        size += length + _ROW_BYTES
        if id_ > settled or (place >= 2 and size > max_bytes):
            break
        last = id_
    rows: list[OutboxRow] = fetch(connection, sql["read"], {"since": since, "last": last})
    is_end = True
    if rows:
        behind = {"last": rows[-1][0], "settled": settled}
        ((found,),) = fetch(connection, sql["any_behind"], behind)
        is_end = not found
    numbers = {row[3] for row in rows if type(row[3]) is int and row[3]}
    layouts = {} if numbers <= set(known) else read_layouts(connection, sql)
    return OutboxRows(rows, layouts, is_end)


def make_durable(connection: Connection, sql: OutboxSql) -> None:
    """What others committed is on disk when this returns, as ours is: InnoDB shows a commit before
    its log is written. Raises `pymysql.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(sql["durable"])
        cursor.execute(sql["forget_durable"])


def forget_rows(connection: Connection, sql: OutboxSql, below: int) -> bool:
    """Delete some of the rows below this id; whether there may be more."""
    with connection.cursor() as cursor:
        return bool(cursor.execute(sql["forget"], (below, _FORGET_ROWS)) >= _FORGET_ROWS)


def read_holder(connection: Connection, sql: OutboxSql) -> Holder | None:
    """Who keeps the outbox from being settled; None where no transaction is open."""
    found = running(connection, sql)
    if not found:
        return None
    oldest = min(found)
    client = fetch(connection, sql["client_of"], (oldest.thread,))
    user, _, database = client[0] if client else (None, None, None)
    return Holder(
        xid=str(oldest.number),
        pid=oldest.thread,
        role=user,
        application=None,
        database=database,
        prepared=None,
        since=oldest.since,
    )

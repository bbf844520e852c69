"""The sessions of a MariaDB or MySQL server, those of replicas among them.

Of whichever database they say they use: a statement may name any other.
"""

from __future__ import annotations

from indelible.capture.mariadb.connecting import Connection, load_driver
from indelible.capture.mariadb.installed import OutboxSql
from indelible.capture.mariadb.schema import fetch
from indelible.capture.sessions import Session, SessionsLook
from indelible.events.sessions import LOCAL


def read_sessions(connection: Connection, sql: OutboxSql) -> SessionsLook:
    """Raises `pymysql.Error`. Others' sessions are seen with the right PROCESS only, and what a
    client calls itself where the performance schema is on and readable."""
    # Counted first: what is counted and then isn't found had ended by then.
    counts = {name: int(value) for name, value in fetch(connection, sql["sessions_counted"])}
    rows = fetch(connection, sql["sessions"])
    # Who is still asked for a password may yet be refused.
    asked = sum(1 for *_, is_asked in rows if is_asked)
    programs = _programs(connection, sql)
    found = [
        (
            is_ours,
            Session(
                key=str(number),
                role=account,
                program=programs.get(number),
                address=_address(host),
                since=None,
                is_replication=bool(is_replication),
            ),
        )
        for is_ours, number, account, host, is_replication, is_asked in rows
        if not is_asked
    ]
    return SessionsLook(
        sessions=tuple(session for is_ours, session in found if not is_ours),
        own=next(session for is_ours, session in found if is_ours),
        counted=counts["Connections"] - counts["Aborted_connects"] - asked,
        counting="",
    )


def _programs(connection: Connection, sql: OutboxSql) -> dict[int, str]:
    try:
        return dict(fetch(connection, sql["programs"]))
    except load_driver().Error:  # it isn't ours to read
        return {}


def _address(host: str) -> str:
    """Without the port, which a socket has none of."""
    address, _, port = host.rpartition(":")
    return address if port.isdecimal() and address else LOCAL

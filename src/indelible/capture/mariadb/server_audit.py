"""The records of MariaDB's server_audit, written to a file.

One line each: statements have their line ends, quotes and backslashes escaped. Names of accounts
don't, not even of those who aren't let in: such a name can hold whole lines, which then stand
directly before the line that tells of its refusal. They are taken with that doubt, as what they say
may be true, too.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

from indelible.capture.statement_log import LoggedStatement
from indelible.events.sessions import LOCAL

_LINE: Final = re.compile(
    r"(?P<time>\d{8} \d\d:\d\d:\d\d),(?P<host>[^,]*),(?P<account>[^,]*),(?P<client>[^,]*),"
    r"(?P<connection>\d+),(?P<query>\d+),(?P<event>[A-Z_]+),(?P<database>[^,]*),(?P<rest>.*)",
    re.DOTALL,
)
_QUERY: Final = re.compile(r"'(.*)',(\d+)", re.DOTALL)
_TABLE: Final = re.compile(r"([^,]*),(\d*)")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_REFUSED: Final = "FAILED_CONNECT"
_LONGEST_NAME: Final = 1_024
"""More than the bytes of the longest name of an account, and what stands before it."""
_DOUBT: Final = (
    "perhaps made up: before it stands who wasn't let in, and such a name can hold lines"
)


class ServerAuditLog:
    """Implements `statement_log.StatementLog` for one database."""

    def __init__(self, database: str) -> None:
        self._database = database

    def is_quoted(self, begin: bytes) -> bool:
        """See `StatementLog`: a record is a line."""
        return False

    def parse(self, records: Sequence[bytes]) -> list[LoggedStatement | str | None]:
        """See `StatementLog`."""
        lines = [
            _LINE.fullmatch(record.decode("utf-8", "replace").rstrip("\r\n")) for record in records
        ]
        doubtful = _near_refusals(records, lines)
        found: list[LoggedStatement | str | None] = []
        for line, is_doubtful in zip(lines, doubtful, strict=True):
            if line is None:
                found.append("it is no line of server_audit's")
            else:
                found.append(self._statement(line, _DOUBT if is_doubtful else None))
        return found

    def _statement(self, line: re.Match[str], doubt: str | None) -> LoggedStatement | str | None:
        event, database, rest = line["event"], line["database"], line["rest"]
        reads: tuple[str, ...] = ()
        text, is_read, is_failure = None, None, False
        if event == "QUERY":
            query = _QUERY.fullmatch(rest)
            if query is None:
                return "it is no statement of server_audit's"
            text = _ESCAPED.sub(lambda one: _MEANT.get(one[1], one[1]), query[1])
            is_failure = query[2] != "0"
            if database != self._database and self._database.lower() not in text.lower():
                return None
        elif event in ("READ", "WRITE"):
            table = _TABLE.fullmatch(rest)
            if table is None:
                return "it is no table of server_audit's"
            if event == "WRITE" or database != self._database:
                return None
            reads, is_read = (table[1].lower(),), True
        else:
            return None
        return LoggedStatement(
            key=f"{line['connection']}.{line['query']}",
            time=_micros(line["time"]),
            role=line["account"],
            program=None,
            address=line["client"] if line["client"] not in ("", "localhost") else LOCAL,
            text=text,
            reads=reads,
            is_read=is_read,
            is_failure=is_failure,
            doubt=doubt,
        )


def _near_refusals(records: Sequence[bytes], lines: Sequence[re.Match[str] | None]) -> list[bool]:
    """Whether each may be part of a name that was refused, or of a line that isn't understood."""
    refused: set[str] = set()
    ends: list[bool] = []
    for line in lines:
        if line is not None and line["event"] == _REFUSED:
            refused.add(line["connection"])
        ends.append(line is None or line["connection"] in refused)
    found = []
    behind = _LONGEST_NAME + 1
    for record, is_end in zip(reversed(records), reversed(ends), strict=True):
        behind = 0 if is_end else behind + len(record)
        found.append(behind <= _LONGEST_NAME)
    return found[::-1]


def _micros(text: str) -> int | None:
    """The server writes its local time, which has to be this machine's, too."""
    try:
        moment = dt.datetime.strptime(text, "%Y%m%d %H:%M:%S").astimezone()
        return int(moment.timestamp()) * 1_000_000
    except (ValueError, OverflowError, OSError):  # of a year that no clock has
        return None

"""pgaudit's records in PostgreSQL's csvlog and jsonlog.

Not in the log for people (`stderr`): the name that somebody gives who isn't let in stands in its
lines as it came, with line ends. A record that a session made to look like pgaudit's (`RAISE LOG`)
has a context, or tells its statement; pgaudit's have neither.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from indelible.capture.statement_log import LoggedStatement, split_csv
from indelible.events.sessions import LOCAL

_MARK: Final = "AUDIT: "
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) (\S+)")
_OFFSET: Final = re.compile(r"([+-])(\d\d)(?::?(\d\d))?")
_UTC: Final = {"UTC", "GMT", "Z"}
_NOT_THERE: Final = {"<not logged>", "<previously logged>", ""}
_CLASSES: Final = {"READ": True, "WRITE": False}
_MADE_UP: Final = "it looks like the audit's, and a session wrote it itself"


class _Json(msgspec.Struct):
    """A record of jsonlog."""

    timestamp: str
    session_id: str
    message: str = ""
    user: str = ""
    dbname: str = ""
    remote_host: str = ""
    application_name: str = ""
    context: str = ""
    statement: str = ""
    ps: str = ""


class PgauditLog:
    """Implements `statement_log.StatementLog` for one database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._decoder = msgspec.json.Decoder(_Json)

    def is_quoted(self, begin: bytes) -> bool:
        """See `StatementLog`: JSON has no line end in a record."""
        return not begin.startswith(b"{")

    def parse(self, records: Sequence[bytes]) -> list[LoggedStatement | str | None]:
        """See `StatementLog`."""
        return [self._statement(record) for record in records]

    def _statement(self, record: bytes) -> LoggedStatement | str | None:
        if record.startswith(b"{"):
            try:
                found = self._decoder.decode(record.decode("utf-8", "replace"))
            except msgspec.MsgspecError:
                return "it is no record of jsonlog"
        else:
            fields = split_csv(record.decode("utf-8", "replace").rstrip("\r\n"))
            if fields is None or len(fields) < 23 or _TIME.fullmatch(fields[0]) is None:
                return "it is no record of csvlog"
            found = _Json(
                timestamp=fields[0],
                user=fields[1],
                dbname=fields[2],
                remote_host=_without_port(fields[4]),
                session_id=fields[5],
                message=fields[13],
                context=fields[18],
                statement=fields[19],
                application_name=fields[22],
            )
        if not found.message.startswith(_MARK) or found.dbname != self._database:
            return None
        if found.context or found.statement:
            return _MADE_UP
        return _audited(found)


def _audited(record: _Json) -> LoggedStatement | str | None:
    fields = split_csv(record.message.removeprefix(_MARK))
    if fields is None or len(fields) < 9:
        return "it is no record of pgaudit's"
    _, number, inner, class_, _, _, name, text, *_ = fields
    is_read = _CLASSES.get(class_)
    if is_read is None:
        return None
    return LoggedStatement(
        key=f"{record.session_id}.{number}.{inner}",
        time=_micros(record.timestamp),
        role=record.user,
        program=record.application_name or None,
        address=LOCAL if record.remote_host == "[local]" else record.remote_host or None,
        text=None if text in _NOT_THERE else text,
        reads=(_unquoted(name),) if is_read and name else (),
        is_read=is_read,
    )


def _unquoted(name: str) -> str:
    """`schema.name` as `Schema` has it; either may be in quotes."""
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: found[1].replace('""', '"'), name).lower()


def _without_port(host: str) -> str:
    address, _, port = host.rpartition(":")
    return address if port.isdecimal() else host


def _micros(text: str) -> int | None:
    """None where the zone's name says nothing here."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    zone = found[2]
    offset = _OFFSET.fullmatch(zone)
    try:
        moment = dt.datetime.fromisoformat(found[1])
        if zone in _UTC:
            moment = moment.replace(tzinfo=dt.UTC)
        elif offset is not None:
            minutes = int(offset[2]) * 60 + int(offset[3] or 0)
            east = dt.timedelta(minutes=minutes if offset[1] == "+" else -minutes)
            moment = moment.replace(tzinfo=dt.timezone(east))
        else:
            moment = moment.astimezone()
            if moment.tzname() != zone:
                return None
        return int(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError, OSError):
        return None

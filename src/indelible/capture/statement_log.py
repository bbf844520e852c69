"""Statements as a server's own audit wrote them to a log: what is taken from each record.

Who may write to the server's log can write here what they like. Who may only send statements can't:
a record's own bounds and columns are the server's, and what a client puts into them stays quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from indelible.capture.access_targets import unnamed_targets
from indelible.capture.statements.planner import Planner
from indelible.events.codec import encode_draft
from indelible.events.model import Event, Outcome, Statement, Subject, TargetRows
from indelible.policy.model import Server

WHY: Final = "a statement that the server's audit logged"
_NO_TEXT: Final = "(not logged)"
_MAX_TEXT: Final = 8_000
_FIELD: Final = re.compile(r'"([^"]*(?:""[^"]*)*)"|([^,"]*)', re.DOTALL)


class LoggedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement, or what one record says of it: those of the same `key` belong together.

    `time` is in microseconds since 1970, None where the log doesn't say of which zone it is.
    `reads` are the tables that the log names, `text` is None where it has none. `is_read` says
    that rows may have been handed out; where None that is to be found out from the text. `doubt`
    is why the record may be somebody's who isn't let in.
    """

    key: str
    time: int | None
    role: str
    program: str | None
    address: str | None
    text: str | None = None
    reads: tuple[str, ...] = ()
    is_read: bool | None = None
    is_failure: bool = False
    doubt: str | None = None


class StatementLog(Protocol):
    """How one kind of server writes its audit."""

    def is_quoted(self, begin: bytes) -> bool:
        """Whether a record may have line ends between quotes, in a file that begins so."""

    def parse(self, records: Sequence[bytes]) -> list[LoggedStatement | str | None]:
        """For each record the statement; None for what is none; text: why it can't be read.

        `records` follow each other.
        """


def split_csv(text: str) -> list[str] | None:
    """The fields of one line of CSV; None where it isn't."""
    fields: list[str] = []
    at = 0
    while match := _FIELD.match(text, at):
        quoted, plain = match.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        if match.end() == len(text):
            return fields
        if text[match.end()] != ",":
            return None
        at = match.end() + 1
    return None


def merged(records: Iterable[LoggedStatement]) -> list[LoggedStatement]:
    """Each statement once, in the order of their first records."""
    found: dict[str, LoggedStatement] = {}
    for one in records:
        known = found.get(one.key)
        if known is not None:
            one = msgspec.structs.replace(
                known,
                text=known.text if known.text is not None else one.text,
                reads=tuple(dict.fromkeys((*known.reads, *one.reads))),
                is_read=known.is_read if one.is_read is None else known.is_read or one.is_read,
                is_failure=known.is_failure or one.is_failure,
                doubt=known.doubt or one.doubt,
            )
        found[one.key] = one
    return list(found.values())


def draft_of(statement: LoggedStatement, planner: Planner) -> bytes | None:
    """The access that it is, for `codec.seal_parts`; None where it reads no table of ours.

    Nobody's: of who acted the server knows role, program and address. No parameters, and no
    literals of the text.
    """
    plan = planner.logged(statement.text or "", statement.reads, WHY, is_read=statement.is_read)
    if not plan.targets:
        return None
    why = WHY if statement.doubt is None else f"{WHY}; {statement.doubt}"
    targets = tuple(
        TargetRows(
            target.kind,
            coverage="statement",
            why=target.why,
            possible_subjects=tuple(Subject(*pair) for pair in target.possible_subjects),
        )
        for target in unnamed_targets(plan, why)[0]
    )
    context = {"application": statement.program, "address": statement.address}
    event = Event(
        action=f"{targets[0].kind}.read",
        kind="access",
        outcome=Outcome.FAILURE if statement.is_failure else Outcome.SUCCESS,
        targets=targets,
        context={name: text for name, text in context.items() if text} or None,
        statement=Statement(_cut(plan.shown_text) or _NO_TEXT, tables=plan.tables),
        database_role=statement.role,
    )
    return encode_draft(event)


def _cut(text: str) -> str:
    """So that an event never has more than one part."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def is_own(statement: LoggedStatement, server: Server) -> bool:
    """Whether it is the application's, whose reads are seen by row."""
    return server.is_application(statement.role, statement.address)

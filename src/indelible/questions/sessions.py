"""Other clients of the server: who was connected, of whom it isn't known by row what they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from indelible.events.codec import format_time, parse_time
from indelible.events.model import Timestamp
from indelible.events.sessions import AGAIN_S, ENDED, MISSED, SEEN, UNWATCHED, Span, span_of
from indelible.policy.model import Server
from indelible.questions.findings import SessionFinding
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term
from indelible.tlog import Index

OTHER: Final = "another client of the database: its reads aren't seen by row"
LIKE_THE_APPLICATION: Final = (
    "connected as the application does: what it read by way of Indelible was seen, but that it "
    "always went that way can't be told (are these its hosts? name them in [database] hosts)"
)
COPIED: Final = "a replica or a backup: it gets every row, and who reads those isn't seen"
NOT_WATCHED: Final = (
    "nobody looked at the server's sessions: no relay ran, or the server didn't answer it"
)
BETWEEN: Final = (
    "the server counted more sessions than were seen: they were shorter than a look (some, perhaps,"
    " Indelible's own, which asks for the schema now and then)"
)
_SLACK: Final = 2 * AGAIN_S * 1_000_000


class _Name(NamedTuple):
    role: str | None
    program: str | None
    address: str | None
    why: str


class _Last(NamedTuple):
    """What was said last of one span of time."""

    span: Span
    first: Index
    last: Index


def other_sessions(
    reader: TrailReader, *, window: Window, server: Server | None, size: int
) -> Iterator[SessionFinding]:
    """Whoever was connected in the window but the application from its own hosts, and when nobody
    looked; by the time of their first session."""
    found = _said(reader, window, server, size)
    findings = (_finding(name, spans.values(), window) for name, spans in found.items())
    yield from sorted(
        (finding for finding in findings if finding is not None), key=lambda each: each.first
    )


def session_spans(
    reader: TrailReader, *, window: Window, server: Server | None, size: int
) -> Iterator[tuple[Span, str, Index]]:
    """Each span of `other_sessions` by itself: what is said of it last, why it matters, and where
    it was said first."""
    for name, spans in _said(reader, window, server, size).items():
        for last in spans.values():
            if _is_in(last.span, window):
                yield last.span, name.why, last.first


def _said(
    reader: TrailReader, window: Window, server: Server | None, size: int
) -> dict[_Name, dict[Timestamp, _Last]]:
    found: dict[_Name, dict[Timestamp, _Last]] = {}
    near = Window(_moved(window.since, -_SLACK), _moved(window.until, _SLACK))
    for actions, where in (((SEEN, ENDED, MISSED), near), ((UNWATCHED,), Window())):
        terms = [action_term(action) for action in actions]
        for seen in read_events(reader, terms, where, size=size, kinds={"system"}):
            span = span_of(seen.event)
            if span is None or span.action not in actions:
                continue
            if (
                span.how == "client"
                and server is not None
                and server.is_application(span.role, span.address)
            ):
                continue
            name = _Name(span.role, span.program, span.address, _why(span, server))
            spans = found.setdefault(name, {})
            index = seen.indexes[0]
            # An hour's entry is followed by that of the next, or of the end.
            before = spans.get(span.first_seen or span.since)
            first = index if before is None else before.first
            spans[span.first_seen or span.since] = _Last(span, first, index)
    return found


def _finding(name: _Name, lasts: Iterable[_Last], window: Window) -> SessionFinding | None:
    inside = [last for last in lasts if _is_in(last.span, window)]
    if not inside:
        return None
    counts = [last.span.sessions for last in inside]
    indexes = (min(last.first for last in inside), max(last.last for last in inside))
    return SessionFinding(
        role=name.role,
        program=name.program,
        address=name.address,
        first=min(last.span.since for last in inside),
        last=max(last.span.until for last in inside),
        spans=len(inside),
        sessions=None if None in counts else sum(count or 0 for count in counts),
        is_open=any(last.span.action == SEEN for last in inside),
        indexes=indexes if indexes[0] != indexes[1] else indexes[:1],
        why=name.why,
    )


def _is_in(span: Span, window: Window) -> bool:
    """Whether some may have been connected in the window."""
    until = span.until
    if span.action == SEEN:
        # Still there when this was said, and not known to be gone.
        until = _moved(until, _SLACK) or until
    return (window.until is None or span.since < window.until) and (
        window.since is None or until >= window.since
    )


def _why(span: Span, server: Server | None) -> str:
    if span.action == UNWATCHED:
        return NOT_WATCHED
    if span.action == MISSED:
        return BETWEEN
    if span.how == "replication":
        return COPIED
    if server is not None and server.has_role(span.role):
        return LIKE_THE_APPLICATION
    return OTHER


def _moved(time: Timestamp | None, micros: int) -> Timestamp | None:
    return None if time is None else format_time(max(0, parse_time(time) + micros))

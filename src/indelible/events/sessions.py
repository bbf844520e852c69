"""What the trail says of a captured server's sessions: who was connected, and when nobody looked.

Sessions are told by what they have in common, not one by one: their role, program and address.
Times are when it may have been so, so a span is never narrower than the truth.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from indelible.events.model import Event, Timestamp
from indelible.events.values import Value

NOUN: Final = "sessions"
SEEN: Final = f"{NOUN}.seen"
"""When the first of them was seen, and every `AGAIN_S` while any is there."""
ENDED: Final = f"{NOUN}.ended"
UNWATCHED: Final = f"{NOUN}.unwatched"
"""Nobody looked."""
MISSED: Final = f"{NOUN}.missed"
"""The server counted more sessions than were seen."""
SKIPPED: Final = "statements.skipped"
"""How many statements of the application's own weren't taken from the server's audit."""
ACTIONS: Final = frozenset({SEEN, ENDED, UNWATCHED, MISSED})

AGAIN_S: Final = 3_600
"""How often it is said that some are still there."""
LOCAL: Final = "local"
"""In place of an address: over a socket of the server's own machine."""

How = Literal["client", "replication"]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. Sessions may have been connected from `since` on and up to `until`.

    `sessions` is how many there were; None where nobody knows. Looks were `interval_s` apart.
    `program` is what the client calls itself; it, `role` and `address` are None where the server
    doesn't tell. `last_seen` stands beside an `until` at which none was there any more.
    """

    action: str
    database: str
    since: Timestamp
    until: Timestamp
    sessions: int | None
    interval_s: float
    how: How = "client"
    role: str | None = None
    program: str | None = None
    address: str | None = None
    first_seen: Timestamp | None = None
    last_seen: Timestamp | None = None


# `convert` finds the type resolved: see tests/events/test_codec.py.
_resolved: Final = msgspec.json.Decoder(Span)


def event_of(span: Span) -> Event:
    """The `system` event that says so."""
    details: dict[str, Value] = {
        "database": span.database,
        "since": span.since,
        "until": span.until,
        "interval_s": f"{span.interval_s:g}",
    }
    details |= {
        name: value
        for name, value in (
            ("sessions", span.sessions),
            ("first_seen", span.first_seen),
            ("last_seen", span.last_seen),
        )
        if value is not None
    }
    if span.how != "client":
        details["how"] = span.how
    context = {"application": span.program, "address": span.address}
    return Event(
        action=span.action,
        kind="system",
        database_role=span.role,
        context={name: text for name, text in context.items() if text is not None} or None,
        details=details,
    )


def span_of(event: Event) -> Span | None:
    """What `event_of` was given; None for any other event."""
    if event.kind != "system" or event.action not in ACTIONS:
        return None
    details = event.details or {}
    context = event.context or {}
    fields = {
        **details,
        "action": event.action,
        "role": event.database_role,
        "program": context.get("application"),
        "address": context.get("address"),
    }
    fields.setdefault("sessions", None)
    try:
        return msgspec.convert(fields, Span, strict=False)
    except msgspec.ValidationError:
        return None

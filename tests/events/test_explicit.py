"""What an application says itself is checked where it says it."""

from __future__ import annotations

import pytest

from indelible.errors import EventError
from indelible.events.codec import encode_draft
from indelible.events.context import acting_as
from indelible.events.explicit import explicit_event
from indelible.events.model import Actor, Outcome, Subject, Target, TargetRows
from indelible.events.values import TypedValue


def test_an_explicit_event_takes_actor_reason_and_request_from_the_frame() -> None:
    """Nobody has to repeat who is acting."""
    with acting_as(Actor("staff", "alice"), reason="ticket 4411", ip="192.0.2.7"):
        event = explicit_event(
            "invoice.refund",
            target=[Target("invoice", 93), Target("invoice", "93"), Target("line", (1, 2))],
            subject=Subject("customer", "zara"),
            outcome=Outcome.DENIED,
            changes={"total": (1.5, None)},
            details={"count": 2**60},
        )
    assert str(event.actor) == "staff:alice"
    assert event.targets == (
        TargetRows("invoice", ((93,), ("93",))),
        TargetRows("line", ((1, 2),)),
    )
    assert event.changes == {"total": (TypedValue("real", "0x1.8000000000000p+0"), None)}
    assert (event.reason, event.context) == ("ticket 4411", {"ip": "192.0.2.7"})
    assert b'"details":{"count":{"t":"int","v":"1152921504606846976"}}' in encode_draft(event)


def test_without_a_frame_the_event_is_unattributed() -> None:
    """An event without an actor is still an event."""
    assert explicit_event("user.logged_in").actor is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "refund"}, "an action like 'invoice.refund'"),
        ({"action": "Invoice.Refund"}, "an action like"),
        ({"kind": "system"}, "kind as one of event, access, change, decision"),
        ({"outcome": "denied"}, "expected an Outcome, got str"),
        ({"target": "invoice:93"}, "expected target as Target, got str"),
        ({"subject": [Target("a", "b")]}, "expected subject as Subject, got Target"),
        ({"subject": Subject("a:b", "c")}, "a subject kind without ':'"),
        ({"changes": {"total": 7}}, r"changes\['total'\] as \(before, after\)"),
        ({"details": {"x": object()}}, "as a value, got builtins.object"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], message: str) -> None:
    """The developer reads what was expected, never the value."""
    with pytest.raises(EventError, match=message):
        explicit_event(**{"action": "invoice.refund", **arguments})  # type: ignore[arg-type]

"""The bytes of an access are those of the event."""

from __future__ import annotations

import pytest

from indelible.capture.access_event import (
    AccessStatement,
    AccessTarget,
    encode_access,
    who_is,
)
from indelible.events.codec import encode_draft
from indelible.events.context import Frame, Scope
from indelible.events.model import Actor, Event, Part, Statement, Subject, TargetRows

FRAMES = [
    None,
    Frame(Actor("staff", "alice"), None, {}, Scope()),
    Frame(
        Actor("staff", "al\"i'ce", on_behalf_of=Actor("customer", "zära")),
        "ticket \udc80 4411",
        {"ip": "192.0.2.7", "request": "r\ud800"},
        Scope(),
    ),
    Frame(
        Actor("staff", "bob"), None, {}, Scope(), {"id": "j.1.1", "effect": "deny", "rule": 'a"\nb'}
    ),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("transaction", [None, "p:7"])
def test_an_access_has_the_bytes_of_the_event(frame: Frame | None, transaction: str | None) -> None:
    """An access is written as any other event is: the codec couldn't tell the difference."""
    target = AccessTarget("invoice", ((1,), (2,)), ("Total",), keyless="rowid")
    statement = AccessStatement('SELECT "Total" FROM invoice', (5, "ä"), ("Invoice",))
    event = Event(
        action="invoice.read",
        kind="access",
        actor=frame.actor if frame else None,
        targets=(TargetRows("invoice", ids=((1,), (2,)), columns=("Total",), keyless="rowid"),),
        subjects=(Subject("customer", "7"), Subject("customer", "8")),
        reason=frame.reason if frame else None,
        context=frame.context or None if frame else None,
        statement=Statement(statement.text, (5, "ä"), ("Invoice",)),
        transaction=transaction,
        decision=frame.decision if frame else None,
    )
    expected = encode_draft(event)

    made = encode_access(
        action="invoice.read",
        who=who_is(frame),
        targets=(target,),
        subjects=(("customer", "7"), ("customer", "8")),
        statement=statement,
        transaction=transaction,
        part=None,
    )
    assert made == expected


def test_inexact_targets_and_later_chunks_too() -> None:
    """Coverage, reason, possible subjects and the part have the form of the event's."""
    expected = encode_draft(
        Event(
            action="invoice.read",
            kind="access",
            targets=(
                TargetRows(
                    "invoice",
                    coverage="statement",
                    why="read through a view",
                    possible_subjects=(Subject("customer", None),),
                ),
            ),
            statement=Statement("SELECT ?"),
            part=Part(2, 0, "j.1.1"),
        )
    )

    made = encode_access(
        action="invoice.read",
        who=who_is(None),
        targets=(
            AccessTarget(
                "invoice",
                coverage="statement",
                why="read through a view",
                possible_subjects=(("customer", None),),
            ),
        ),
        subjects=(),
        statement=AccessStatement("SELECT ?"),
        transaction=None,
        part=Part(2, 0, "j.1.1"),
    )

    assert made == expected

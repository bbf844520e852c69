"""`trail.action`: what functions do outside of any database, by whoever calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.events.model import Kind
from indelible.testing import in_memory_trail

ALICE = Actor("staff", "alice")


@pytest.fixture
def trail() -> Iterator[Trail]:
    with in_memory_trail() as trail:
        yield trail


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", ["event", "access", "change"])
def test_a_call_is_what_it_was_said_to_be(trail: Trail, kind: Kind, is_async: bool) -> None:
    """It is in the question that it belongs to; what failed or was denied is an event only."""

    def target(name: str) -> Target:
        return Target("mailbox", name)

    def subject(name: str) -> Subject:
        return Subject("customer", name)

    def work(name: str) -> str:
        if name == "yan":
            raise PermissionError("secret text")
        if name == "nobody":
            raise LookupError("secret text")
        return name.upper()

    async def work_later(name: str) -> str:
        await asyncio.sleep(0)
        return work(name)

    decorate = trail.action("mailbox.open", target=target, subject=subject, kind=kind)
    decorated, decorated_async = decorate(work), decorate(work_later)

    def call(name: str) -> str:
        return asyncio.run(decorated_async(name)) if is_async else decorated(name)

    with acting_as(ALICE):
        assert call("zara") == "ZARA"
        with pytest.raises(PermissionError, match="secret text"):
            call("yan")
        with pytest.raises(LookupError, match="secret text"):
            call("nobody")
    trail.flush()
    told = [finding.event for finding in trail.events(by=ALICE)]
    questions = {
        "access": [finding.event for finding in trail.access_events(by=ALICE)],
        "change": [finding.event for finding in trail.changes(by=ALICE)],
    }
    for question, found in questions.items():
        expected = (
            [("zara",)] if question == kind or (question, kind) == ("access", "change") else []
        )
        assert [target.ids[0] for event in found for target in event.targets] == expected
    failures = [event for event in told if event.outcome.value != "success"]
    assert [(each.outcome.value, each.details) for each in failures] == [
        ("denied", {"error": "PermissionError"}),
        ("failure", {"error": "LookupError"}),
    ]
    assert all(event.kind == "event" and "secret" not in repr(event) for event in failures)
    of_zara = [accessor.actor for accessor in trail.accessors(of=Subject("customer", "zara"))]
    assert of_zara == ([] if kind == "event" else [ALICE])

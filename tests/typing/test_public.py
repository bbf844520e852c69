"""The public names, used as an application uses them; `mypy --strict` reads this from outside."""

from __future__ import annotations

from indelible import Actor, Outcome, Subject, Target, Trail, acting_as, carry


def application(trail: Trail) -> None:
    with acting_as(Actor("staff", "alice"), reason="ticket 4411", ip="192.0.2.7"):
        recorded: str | None = trail.record(
            "invoice.refund",
            target=Target("invoice", "93"),
            subject=Subject("customer", "zara"),
            outcome=Outcome.DENIED,
            changes={"total": (1.5, None)},
            details={"count": 3},
        )
        print(recorded, carry(len)([1]))
    for change in trail.changes(by=Actor("staff", "alice"), since="yesterday", until="now"):
        print(change.index, change.time, change.target_text, change.certain)
    for access in trail.accesses(by=Actor("staff", "trudy")).certain():
        print(access.target_text, access.first, access.reads)
    for accessor in trail.accessors(of=Subject("customer", "zara")).possible():
        print(accessor.actor, accessor.why)


async def asynchronous(trail: Trail, session: object) -> None:
    await trail.record_async("invoice.refund", on=session, target=Target("invoice", "93"))


def decorated(trail: Trail) -> int:
    @trail.action("invoice.refund", target=lambda number: Target("invoice", number))
    def refund(number: int) -> int:
        return number

    return refund(7)


def test_the_public_names_are_there() -> None:
    """What the documentation imports can be imported."""
    assert {Actor, Outcome, Subject, Target, Trail, acting_as, carry}

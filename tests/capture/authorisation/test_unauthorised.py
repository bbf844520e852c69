"""What was read or changed under no decision, or under one that denied it: on a real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from indelible import Actor, Target, Trail, acting_as
from indelible.cli import accesses, events
from indelible.errors import DeliveryError

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")
Read = Callable[..., list[int]]
Pay = Callable[[int], None]


def lacking(trail: Trail, **more: object) -> list[tuple[str, str, str]]:
    """(action, rows, under what), an event each; `?` behind what is only possible."""
    trail.flush()
    answer = trail.unauthorised(**more)  # type: ignore[arg-type]
    return [
        (
            each.event.action,
            each.target_text + ("" if each.certain else "?"),
            each.lack_text,
        )
        for each in answer
    ]


def test_an_allow_covers_its_row_and_no_other(trail: Trail, read: Read, pay: Pay) -> None:
    """Reads and changes of the row that was allowed are not in the answer; the others are."""
    with acting_as(ALICE):
        trail.decide("invoice.manage", allowed=True, target=Target("invoice", 93), rule="owner")
        assert read(93, 94) == [120, 50]
        pay(93)
        pay(94)
    assert sorted(lacking(trail, by=ALICE)) == [
        ("invoice.read", "invoice:94", "no decision"),
        ("invoice.update", "invoice:94", "no decision"),
    ]


def test_a_deny_is_found_though_the_application_went_on(trail: Trail, read: Read) -> None:
    """A row's own decision comes before its kind's, and the latest of several before the others."""
    with acting_as(ALICE):
        trail.decide("invoice.list", allowed=True, target="invoice", policy="roles", rule="clerk")
        trail.decide("invoice.read", allowed=False, target=Target("invoice", 93), policy="holds")
        read(93, 94, 95)
        trail.decide("invoice.read", allowed=True, target=Target("invoice", 93))
        read(93)
        trail.decide("invoice.list", allowed=None, target="invoice", policy="roles")
        read(93, 94)
    assert lacking(trail, by=ALICE) == [
        ("invoice.read", "invoice:93", "deny by holds"),
        ("invoice.read", "invoice:94", "error by roles"),
    ]


def test_an_allow_to_read_is_none_to_write(trail: Trail, read: Read, pay: Pay) -> None:
    """A verb that says what it is about covers that; an allow to write, also reading for it."""
    with acting_as(ALICE):
        trail.decide("shop.view_invoice", allowed=True, target=Target("invoice", 93))
        trail.decide("shop.delete_invoice", allowed=False, target=Target("invoice", 93))
        read(93)
        pay(93)
        trail.decide("invoice.edit", allowed=True, target=Target("invoice", 94))
        read(94)
        pay(94)
        trail.decide("invoice.view", allowed=False, target=Target("invoice", 95), rule="hold")
        trail.decide("invoice.edit", allowed=True, target=Target("invoice", 95))
        read(95)
    assert sorted(lacking(trail, by=ALICE)) == [
        ("invoice.read", "invoice:95", "deny by hold"),
        ("invoice.update", "invoice:93", "no decision"),
    ]


def test_a_decision_about_nothing_covers_what_no_other_names(trail: Trail, read: Read) -> None:
    with acting_as(ALICE):
        trail.decide("shop.enter", allowed=True)
        read(93)
        with trail.decide("invoice.read", allowed=False, target="invoice", rule="closed"):
            read(94)
        read(95)
    assert lacking(trail, by=ALICE) == [("invoice.read", "invoice:94", "deny by closed")]


def test_it_ends_with_its_frame_and_is_for_its_actor_only(trail: Trail, read: Read) -> None:
    """Neither the next request nor somebody else acting in this one is under it."""
    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=True, target="invoice")
        read(93)
        with acting_as(BOB):
            read(94)
    with acting_as(ALICE):
        read(95)
        trail.decide("invoice.read", allowed=True, target="invoice", actor=BOB)
        read(93)
    found = lacking(trail)
    assert ("invoice.read", "invoice:94", "no decision") in found
    assert lacking(trail, by=ALICE) == [
        ("invoice.read", "invoice:95", "no decision"),
        ("invoice.read", "invoice:93", "no decision"),
    ]
    assert lacking(trail, by=BOB) == [("invoice.read", "invoice:94", "no decision")]


def test_nobody_reads(trail: Trail, read: Read) -> None:
    """Whoever acts: also what is attributed to nobody is there, without `by`."""
    read(93)
    trail.flush()
    (finding,) = trail.unauthorised()
    assert (finding.event.actor, finding.target_text) == (None, "invoice:93")


def test_what_was_not_seen_exactly_is_possible(trail: Trail, engine: Engine) -> None:
    """A count hands out no row, and may be of one that was denied."""
    with acting_as(ALICE), engine.connect() as connection:
        trail.decide("invoice.count", allowed=True, target="invoice")
        trail.decide("invoice.read", allowed=False, target=Target("invoice", 93), rule="hold")
        connection.execute(text("SELECT total, random() FROM invoice UNION SELECT 1, 2")).all()
    found = lacking(trail, by=ALICE)
    assert found
    assert all(rows.endswith("?") for _, rows, _ in found), found
    assert {under for _, _, under in found} == {"deny by hold"}


def test_a_decision_that_was_lost_covers_nothing_for_certain(
    trail: Trail, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is under a decision that the trail doesn't have, and not under the earlier allow."""

    def full(draft: bytes) -> str:
        raise DeliveryError("expected room on the disk")

    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=True, target="invoice")
        with monkeypatch.context() as patched:
            patched.setattr(trail.journal, "append", full)
            with pytest.raises(DeliveryError):
                trail.decide("invoice.read", allowed=False, target="invoice")
        read(93)
    trail.flush()
    (finding,) = trail.unauthorised(by=ALICE)
    assert not finding.certain
    assert finding.why == "it was made under a decision that could not be recorded"


def test_a_window_leaves_out_what_is_outside_and_not_its_decisions(
    trail: Trail, read: Read
) -> None:
    """A decision made before the window still covers what is in it."""
    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=True, target=Target("invoice", 93))
        read(94)
        trail.flush()
        (before,) = trail.unauthorised(by=ALICE)
        middle = before.received
        read(93, 95)
    trail.flush()
    found = trail.unauthorised(by=ALICE, since=middle)
    assert [each.target_text for each in found] == ["invoice:95"]


def test_the_command(trail: Trail, read: Read, pay: Pay, tmp_path: Path) -> None:
    """`accesses --unauthorised` by anybody or by one; `events` by what rule."""
    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=False, target=Target("invoice", 93), rule="hold")
        read(93)
    with acting_as(BOB, reason="ticket 7"):
        pay(94)
    trail.flush()
    config = ["--config", str(tmp_path / "indelible.toml")]

    def run(command: object, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(command.command, [*arguments, *config])  # type: ignore[attr-defined]
        assert done.exit_code == code, done.output
        return done.output

    shown = run(accesses, "--unauthorised")
    assert "deny by hold" in shown
    assert "no decision" in shown
    assert "ticket 7" in shown
    by_bob = run(accesses, "--unauthorised", "--by", "staff:bob")
    assert "hold" not in by_bob
    assert "no decision" in by_bob
    assert "deny by hold" in run(events, "--action", "invoice.read")
    assert "expected --by KIND:ID" in run(accesses, code=2)
    assert "never heard of" in run(accesses, "--unauthorised", "--by", "staff:nobody")


def test_two_thousand_decisions_in_one_frame(trail: Trail, read: Read) -> None:
    """A list of rows, each decided by itself, is covered row by row."""
    with acting_as(ALICE):
        for n in range(2_000):
            trail.decide("invoice.read", allowed=True, target=Target("invoice", n))
        read(93, 94)
        trail.decide("invoice.read", allowed=False, target=Target("invoice", 94), rule="late")
        read(93, 94)
    assert lacking(trail, by=ALICE) == [("invoice.read", "invoice:94", "deny by late")]


def test_more_decisions_than_are_looked_at_leave_a_doubt(trail: Trail, read: Read) -> None:
    """The allow is out of reach: what was read under it is possible, and never certain."""
    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=True, target=Target("invoice", 93))
        for n in range(4_200):
            trail.decide("invoice.read", allowed=True, target=Target("invoice", 1_000 + n))
        read(93)
    trail.flush(60)
    (finding,) = trail.unauthorised(by=ALICE)
    assert (finding.target_text, finding.certain) == ("invoice:93", False)
    assert "not all are looked at" in (finding.why or "")


@pytest.mark.parametrize("text_of_rule", ["a\nb", "\x1b[31m", "\ud800", "x" * 5_000, '"}]'])
def test_a_rule_of_any_text(trail: Trail, read: Read, pay: Pay, text_of_rule: str) -> None:
    """It reaches the trail whole and breaks nothing on its way, also beside a change."""
    with acting_as(ALICE):
        trail.decide("invoice.manage", allowed=False, target="invoice", rule=text_of_rule)
        read(93)
        pay(93)
    trail.flush()
    rulings = [each.rulings[0].rule for each in trail.unauthorised(by=ALICE)]
    expected = text_of_rule.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
    assert rulings == [expected] * 2
    assert trail.verify().size > 0

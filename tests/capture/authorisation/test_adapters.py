"""Casbin and Cedar as they are, recorded: the same answers and errors, and a decision for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casbin
import cedarpy
import pytest

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.authorisation import Answered, Asked, failed, recorded
from indelible.capture.casbin import RecordingEnforcer
from indelible.capture.cedar import RecordingCedar, parse_entity
from indelible.errors import DeliveryError, EventError
from indelible.questions.findings import Finding

ALICE = Actor("staff", "alice")
MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""
CEDAR = """
@id("clerks read") permit(principal == User::"alice", action == Action::"read", resource);
@id("holds") forbid(principal, action, resource == Shop::Invoice::"94");
@id("owners") permit(principal, action, resource) when { resource.owner == principal };
"""


def decisions(trail: Trail) -> list[Finding]:
    trail.flush()
    return [each for each in trail.events() if each.event.kind == "decision"]


def said(trail: Trail) -> list[tuple[str, str, str]]:
    return [(each.event.action, each.target_text, each.decision_text) for each in decisions(trail)]


def noticed(trail: Trail) -> set[tuple[str, str]]:
    return {
        (each.event.action, str((each.event.details or {})["error"]))
        for each in trail.events(system=True, action="authorisation.*")
    }


@pytest.fixture
def enforcer(tmp_path: Path) -> casbin.Enforcer:
    (tmp_path / "model.conf").write_text(MODEL)
    (tmp_path / "policy.csv").write_text("p, alice, 93, read\n")
    return casbin.Enforcer(str(tmp_path / "model.conf"), str(tmp_path / "policy.csv"))


def ask_casbin(sub: str, obj: str, act: str) -> Asked:
    return Asked(
        action=f"invoice.{act}", target=Target("invoice", int(obj)), actor=Actor("staff", sub)
    )


def test_casbin(trail: Trail, enforcer: Any, read: Callable[..., list[int]]) -> None:
    """Every way to ask answers as the enforcer does; the rule is the line that matched."""
    recording = RecordingEnforcer(enforcer, trail, asked=ask_casbin)
    with acting_as(ALICE):
        for asked in (("alice", "93", "read"), ("alice", "94", "read")):
            assert recording.enforce(*asked) == enforcer.enforce(*asked)
            assert recording.enforce_ex(*asked) == enforcer.enforce_ex(*asked)
        batch = [("alice", "93", "read"), ("alice", "95", "read")]
        assert recording.batch_enforce(batch) == enforcer.batch_enforce(batch)
        read(93, 94, 95)
    assert recording.get_policy() == enforcer.get_policy()
    allowed = ("invoice.read", "invoice:93", "allow by casbin alice, 93, read")
    denied = ("invoice.read", "invoice:94", "deny by casbin")
    assert said(trail) == [
        allowed,
        allowed,
        denied,
        denied,
        ("invoice.read", "invoice:93", "allow by casbin"),
        ("invoice.read", "invoice:95", "deny by casbin"),
    ]
    (finding,) = trail.unauthorised(by=ALICE)
    assert finding.target_text == "invoice:94, invoice:95"


def test_casbin_fails_as_it_does_without_us(trail: Trail, enforcer: Any) -> None:
    """Its own error reaches the caller; the decision says that it failed, and not what it said."""
    recording = RecordingEnforcer(enforcer, trail, asked=lambda *_: Asked(action="invoice.read"))
    with acting_as(ALICE):
        with pytest.raises(RuntimeError) as plain:
            enforcer.enforce("secret-of-alice")
        with pytest.raises(RuntimeError) as ours:
            recording.enforce("secret-of-alice")
        with pytest.raises(RuntimeError):
            recording.batch_enforce([("secret-of-alice",)])
    assert str(ours.value) == str(plain.value)
    found = decisions(trail)
    assert [each.rulings[0].effect for each in found] == ["error", "error"]
    assert found[0].event.details == {"error": "RuntimeError"}
    assert "secret" not in str([each.event for each in found])


def test_cedar(trail: Trail, read: Callable[..., list[int]]) -> None:
    """The policies that determined the answer, by their own names; whose evaluation failed, too."""
    cedar = RecordingCedar(trail, kinds={"User": "staff"})

    def request(number: int, action: str = "read") -> dict[str, Any]:
        return {
            "principal": 'User::"alice"',
            "action": f'Action::"{action}"',
            "resource": f'Shop::Invoice::"{number}"',
            "context": {},
        }

    entities: list[Any] = []
    with acting_as(ALICE):
        for number in (93, 94):
            plain = cedarpy.is_authorized(request(number), CEDAR, entities)
            given = cedar.is_authorized(request(number), CEDAR, entities)
            assert (given.allowed, given.decision) == (plain.allowed, plain.decision)
        results = cedar.is_authorized_batch([request(93, "pay")], CEDAR, entities)
        assert [each.allowed for each in results] == [False]
        with pytest.raises(KeyError):
            cedar.is_authorized({"principal": "nonsense"}, CEDAR, entities)
        read(94)
    assert said(trail) == [
        ("invoice.read", "invoice:93", "allow by cedar clerks read"),
        ("invoice.read", "invoice:94", "deny by cedar holds"),
        ("invoice.pay", "invoice:93", "deny by cedar"),
    ]
    (finding,) = trail.unauthorised(by=ALICE)
    assert (finding.target_text, finding.certain) == ("invoice:94", False)
    assert noticed(trail) == {
        ("authorisation.policy_failed", "policy policy2"),
        ("authorisation.not_recorded", "EventError"),
    }


@pytest.mark.parametrize(
    ("given", "type_", "id_"),
    [
        ('User::"alice"', "User", "alice"),
        (r'Shop :: User::"a\"b\\\n\u{e9}\x41"', "Shop::User", 'a"b\\\néA'),
        ({"type": "User", "id": "alice"}, "User", "alice"),
        ({"__entity": {"type": "User", "id": "alice"}}, "User", "alice"),
    ],
)
def test_entities_as_requests_name_them(given: object, type_: str, id_: str) -> None:
    assert parse_entity(given) == (type_, id_)


@pytest.mark.parametrize("given", ["alice", 'User"alice"', 'User::"alice', 7, {"type": "User"}])
def test_what_is_no_entity(given: object) -> None:
    with pytest.raises(EventError, match="expected an entity like"):
        parse_entity(given)


class Numbers:
    """An authoriser of two methods: even numbers may be read."""

    def asked(self, number: int) -> Asked:
        return Asked(action="invoice.read", target=Target("invoice", number))

    def answered(self, answer: Any) -> Answered:
        if isinstance(answer, Exception):
            return failed(answer)
        return Answered(allowed=answer, policy="numbers")


def test_one_of_two_methods(trail: Trail) -> None:
    """A function or a coroutine function: the same results, errors and name."""

    @recorded(trail, Numbers())
    def may_read(number: int) -> bool:
        return 100 % number == 0

    @recorded(trail, Numbers())
    async def may_read_soon(number: int) -> bool:
        await asyncio.sleep(0)
        return 100 % number == 0

    assert may_read.__name__ == "may_read"
    with acting_as(ALICE):
        assert may_read(50)
        assert not asyncio.run(may_read_soon(94))
        with pytest.raises(ZeroDivisionError):
            may_read(0)
    assert said(trail) == [
        ("invoice.read", "invoice:50", "allow by numbers"),
        ("invoice.read", "invoice:94", "deny by numbers"),
        ("invoice.read", "invoice:0", "error (invoice.read)"),
    ]


class Unreadable(Numbers):
    """Can't say what was asked."""

    def asked(self, number: int) -> Asked:
        raise ValueError(f"the secret {number}")


def test_a_decision_that_cannot_be_recorded_stands(
    trail: Trail, read: Callable[..., list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the answer, the trail one notice, and an earlier allow ends."""
    may_read = recorded(trail, Unreadable())(lambda number: True)
    with acting_as(ALICE):
        trail.decide("invoice.read", allowed=True, target="invoice")
        assert may_read(93)
        assert may_read(93)
        read(93)
    trail.flush()
    (finding,) = trail.unauthorised(by=ALICE)
    assert not finding.certain
    assert noticed(trail) == {("authorisation.not_recorded", "ValueError")}
    assert "secret" not in caplog.text


def test_under_strict_it_is_the_callers_error(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(draft: bytes) -> str:
        raise DeliveryError("expected room on the disk")

    may_read = recorded(trail, Numbers(), strict=True)(lambda number: True)
    with acting_as(ALICE), monkeypatch.context() as patched:
        patched.setattr(trail.journal, "append", full)
        with pytest.raises(DeliveryError):
            may_read(93)

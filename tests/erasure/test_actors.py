"""From where a subject acted, and what an application has sealed: gone with the subject's key."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.errors import EventError, KeystoreError
from indelible.events.codec import decode_event
from indelible.events.values import ERASED, MASKED
from indelible.store.keystore import Keystore

from .searching import found_in
from .site import POLICY, YAN, ZARA, Shop
from .test_commands import run

ZARA_ACTS, YAN_ACTS = Actor("customer", "1"), Actor("customer", "2")
ADDRESS, BROWSER = "198.51.100.77", "ZarasVeryOwnBrowser/1.0"
OTHERS = ("203.0.113.200", "YansPhone/2.0")
STAFFS = "192.0.2.250"
PHONE = "+41 79 555 01 77"
FORBIDDEN = (ADDRESS, BROWSER, PHONE)
APPLICATION = f"""
from indelible import Actor, acting_as, logs
logs.configure()
with acting_as(Actor("customer", "1"), ip="{ADDRESS}", user_agent="{BROWSER}"):
    logs.audit("basket.opened")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop", policy=POLICY + '[tables.product]\ndurability = "async"\n')
    made.work()
    return made


def act(trail: Trail, connection: sqlite3.Connection) -> None:
    """In every way into a trail that one process has."""
    connection.execute("SELECT level FROM customer WHERE id = 1").fetchall()
    connection.execute("SELECT title FROM product").fetchall()
    connection.execute("UPDATE customer SET level = level || '!'")
    trail.record("basket.filled")
    trail.record("basket.kept", on=connection)
    trail.decide("basket.view", allowed=True, target=Target("product", 1))
    connection.commit()


def act_as_all(shop: Shop) -> None:
    """Zara, Yan and somebody of the staff."""
    with shop.open() as (trail, connection):
        for actor, address, browser in (
            (ZARA_ACTS, ADDRESS, BROWSER),
            (YAN_ACTS, *OTHERS),
            (Actor("staff", "bob"), STAFFS, "Desk"),
        ):
            with acting_as(actor, ip=address, user_agent=browser, request="request-1"):
                act(trail, connection)
        trail.flush()
    # Not as they stand there, or they would be found in the application itself.
    text = APPLICATION.replace(ADDRESS, '" "'.join(ADDRESS)).replace(BROWSER, '" "'.join(BROWSER))
    (shop.directory / "app.py").write_text(text)
    run(shop, "tee", "--", sys.executable, "app.py")
    with shop.open() as (trail, _):
        trail.flush()


def circumstances(trail: Trail, actor: Actor) -> set[tuple[object, object]]:
    """From where it acted, as events, changes and accesses have it."""
    found = set()
    for entry in trail.reader.entries(0, trail.reader.size - 1):
        event = trail.reader.opened(decode_event(entry.body))
        if event.actor == actor and event.context:
            found.add((event.context.get("ip"), event.context.get("user_agent")))
    return found


def actions(trail: Trail, actor: Actor) -> set[str]:
    events = (decode_event(e.body) for e in trail.reader.entries(0, trail.reader.size - 1))
    return {event.action for event in events if event.actor == actor}


EXPECTED = {
    "customer.read",
    "product.read",
    "customer.update",
    "basket.filled",
    "basket.kept",
    "basket.view",
}


def test_from_where_a_subject_acts_is_sealed_in_every_way_into_the_trail(shop: Shop) -> None:
    """Of a kind that has sealed columns; of others it stays as it is."""
    act_as_all(shop)
    found = found_in(shop.directory, (*FORBIDDEN, *OTHERS))
    assert {line.partition(":")[0] for line in found} <= {"app.db"}
    assert found_in(shop.directory, (STAFFS,))
    with shop.open() as (trail, _):
        assert actions(trail, ZARA_ACTS) == {*EXPECTED, "basket.opened"}
        assert actions(trail, YAN_ACTS) == EXPECTED
        assert circumstances(trail, ZARA_ACTS) == {(ADDRESS, BROWSER)}
        assert circumstances(trail, YAN_ACTS) == {OTHERS}
        assert circumstances(trail, Actor("staff", "bob")) == {(STAFFS, "Desk")}
        (kept,) = trail.events(by=ZARA_ACTS, action="basket.kept")
        assert kept.event.context == {
            "request": "request-1",
            "ip": ADDRESS,
            "user_agent": BROWSER,
        }
        trail.flush()
        trail.verify()
    assert ADDRESS in run(shop, "events", "--by", "customer:1")


def test_it_goes_with_the_subject(shop: Shop) -> None:
    """In no file any more, answers say so, all proofs hold; others' stays."""
    act_as_all(shop)
    shop.forget()
    with shop.open() as (trail, _):
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
    assert found_in(shop.directory, FORBIDDEN) == []
    with shop.open() as (trail, _):
        assert circumstances(trail, ZARA_ACTS) == {(ERASED, ERASED)}
        assert circumstances(trail, YAN_ACTS) == {OTHERS}
        trail.flush()
        assert trail.verify().acts.erased == 1
        assert trail.notices() == ()
    assert "(erased)" in run(shop, "events", "--by", "customer:1")


def test_equal_events_of_one_request_alone_have_equal_bytes(shop: Shop) -> None:
    """Who can't open it can't tell that two requests came from one address."""
    with shop.open() as (trail, _):
        for request in ("request-1", "request-1", "request-2"):
            with acting_as(ZARA_ACTS, ip=ADDRESS, request=request):
                trail.record("basket.filled")
        trail.flush()
        found = [
            (event.context or {})["ip"]
            for entry in trail.reader.entries(0, trail.reader.size - 1)
            if (event := decode_event(entry.body)).action == "basket.filled"
        ]
    assert found[0] == found[1] != found[2]


def test_a_subject_that_comes_back_is_sealed_for_anew(shop: Shop) -> None:
    """A process that went on while its key was destroyed doesn't seal for that."""
    shop.forget()
    with shop.open() as (trail, _):
        with acting_as(ZARA_ACTS, ip=ADDRESS):
            trail.record("basket.filled")
        trail.flush()
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        with acting_as(ZARA_ACTS, ip=ADDRESS):
            trail.record("basket.filled")
        trail.flush()
        found = [event.event.context for event in trail.events(by=ZARA_ACTS)]
        assert found == [{"ip": ERASED}, {"ip": ADDRESS}]
        trail.flush()
        trail.verify()


def test_where_it_can_not_be_sealed_it_is_masked(shop: Shop) -> None:
    """A request never fails for it, and nothing is kept in clear."""
    with shop.open() as (trail, _):
        kept = shop.directory / "trail.db.keystore"
        kept.rename(shop.directory.parent / "away")
        with acting_as(ZARA_ACTS, ip=ADDRESS, user_agent=BROWSER):
            trail.record("basket.filled")
        (shop.directory.parent / "away").rename(kept)
        trail.flush()
        assert circumstances(trail, ZARA_ACTS) == {(MASKED, MASKED)}
    assert found_in(shop.directory, FORBIDDEN) == []
    (shop.directory / "trail.db.keystore").rename(shop.directory.parent / "away")
    with (
        Trail.open(shop.config, relay=False) as trail,
        acting_as(ZARA_ACTS, ip=ADDRESS, user_agent=BROWSER),
    ):
        trail.record("basket.filled")
    assert found_in(shop.directory, FORBIDDEN) == []


def test_who_is_known_is_sealed_for_while_others_keys_are_made(shop: Shop) -> None:
    """Or destroyed. Who is new then isn't waited for: where from is masked, the event is kept."""
    keystore = Keystore(
        shop.directory / "trail.db.keystore", shop.directory / "trail.db.master.key"
    )
    new = Actor("customer", "77")
    with shop.open() as (trail, _):
        with acting_as(ZARA_ACTS, ip=ADDRESS, user_agent=BROWSER):
            trail.record("basket.opened")
        with keystore.connection() as other:
            other.execute("BEGIN IMMEDIATE")
            for actor in (ZARA_ACTS, new):
                with acting_as(actor, ip=ADDRESS, user_agent=BROWSER, request="request-2"):
                    trail.record("basket.filled")
        trail.flush()
        assert circumstances(trail, ZARA_ACTS) == {(ADDRESS, BROWSER)}
        assert circumstances(trail, new) == {(MASKED, MASKED)}
        assert actions(trail, new) == {"basket.filled"}


def test_a_context_that_was_used_twice_says_nothing_of_where_from(shop: Shop) -> None:
    """Who acted isn't certain then, so it can't be sealed for anybody."""
    with shop.open() as (trail, connection):
        with acting_as(ZARA_ACTS, ip=ADDRESS, user_agent=BROWSER):
            connection.execute("UPDATE customer SET level = 'a' WHERE id = 2")
            connection.commit()
        connection.execute("UPDATE customer SET level = 'b' WHERE id = 2")
        connection.commit()
        with contextlib.closing(sqlite3.connect(shop.database)) as other:
            # As who injects SQL replays what somebody's transaction carried.
            other.execute(
                "INSERT INTO indelible_outbox (time, ctx, layout, op) "
                "SELECT time, ctx, layout, op FROM indelible_outbox WHERE instr(ctx, ?)",
                (ADDRESS,),
            )
            other.commit()
        trail.flush()
        assert "context.contested" in [notice.action for notice in trail.notices()]
    found = found_in(shop.directory, FORBIDDEN)
    assert {line.partition(":")[0] for line in found} <= {"app.db"}


def test_details_are_sealed_for_the_subject(shop: Shop) -> None:
    """With `sealed`, in the journal and in the application's transaction."""
    with shop.open() as (trail, connection):
        for on in (None, connection):
            told = {"details": {"by": "desk"}, "sealed": {"phone": PHONE}}
            trail.record("customer.called", subject=ZARA, on=on, **told)
        connection.commit()
        trail.flush()
        assert [finding.event.details for finding in trail.events(action="customer.called")] == [
            {"by": "desk", "phone": PHONE}
        ] * 2
    assert found_in(shop.directory, FORBIDDEN) == []
    shop.forget()
    with shop.open() as (trail, _):
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        for finding in trail.events(action="customer.called"):
            assert finding.event.details == {"by": "desk", "phone": ERASED}
        trail.flush()
        assert trail.verify().acts.erased == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"subject": None}, "expected one subject beside sealed"),
        ({"subject": [ZARA, YAN]}, "expected one subject beside sealed.*got 2"),
        ({"subject": Subject("customer", None)}, "expected one subject beside sealed"),
        ({"details": {"phone": 1}}, "expected each detail once, got phone"),
    ],
    ids=["none", "two", "unknown", "both"],
)
def test_what_can_not_be_sealed_is_said(shop: Shop, given: dict[str, object], said: str) -> None:
    with shop.open() as (trail, _), pytest.raises(EventError, match=said) as caught:
        trail.record("a.b", **{"subject": ZARA, "sealed": {"phone": PHONE}, **given})
    assert PHONE not in str(caught.value)


def test_without_a_keystore_nothing_is_written(tmp_path: Path) -> None:
    """It says how to get one."""
    config = tmp_path / "indelible.toml"
    config.write_text('[trail]\nurl = "sqlite:///trail.db"\n')
    with Trail.create(config) as trail, pytest.raises(KeystoreError, match="indelible install"):
        trail.record("a.b", subject=ZARA, sealed={"phone": PHONE})
    assert found_in(tmp_path, (PHONE,)) == []

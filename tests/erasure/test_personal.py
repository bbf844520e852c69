"""A key that is a person's name stands nowhere in the trail: a token does, until it means nobody."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture.sqlite_install import install
from indelible.errors import ConfigurationError
from indelible.events.values import ERASED, ERASED_NAME, TOKEN, TypedValue
from indelible.store.keystore import Keystore

from .searching import found_in
from .site import Shop
from .test_commands import run, signed
from .test_erasure import backup, keystore_of

ALICE, TRUDY = Actor("staff", "alice"), Actor("staff", "trudy")
BEFORE, ZARA, YAN, MOVED = (
    "zara.before.capture@example.org",
    "zara.herself@example.org",
    "yan.has.his.own@example.org",
    "yan.has.moved@example.org",
)
NUMBER = 8_811_223_344_556_677
NAMES = (BEFORE, ZARA, YAN, MOVED, str(NUMBER))
SCHEMA = """
CREATE TABLE customer (email TEXT PRIMARY KEY, level TEXT, referrer TEXT REFERENCES customer);
CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer_email TEXT REFERENCES customer, total INT);
CREATE TABLE line (id INTEGER PRIMARY KEY, invoice_id INTEGER REFERENCES invoice, title TEXT);
CREATE TABLE patient (number INTEGER PRIMARY KEY, ward TEXT);
"""
POLICY = """
[trail]
url = "sqlite:///trail.db"
origin = "localhost/shop"
[database]
url = "sqlite:///app.db"
[relay]
poll_s = 0.01
[tables.customer]
subject = "self"
personal = ["email", "referrer -> customer"]
[tables.invoice]
subject = "customer_email -> customer"
personal = ["customer_email"]
[tables.line]
subject = "invoice_id -> invoice.customer_email -> customer"
[tables.patient]
subject = "self"
personal = ["number"]
"""
ROWS = f"""
INSERT INTO customer VALUES ('{BEFORE}', 'gold', NULL);
INSERT INTO invoice VALUES (7, '{BEFORE}', 70);
"""
IN_CLEAR = {"app.db", "trail.db.keystore"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop", schema=SCHEMA, policy=POLICY, rows=ROWS)
    with made.open() as (trail, connection):
        for statement, values in (
            ("INSERT INTO customer VALUES (?, 'tin', ?)", (ZARA, BEFORE)),
            ("INSERT INTO customer VALUES (?, 'tin', ?)", (YAN, ZARA)),
            ("INSERT INTO invoice VALUES (1, ?, 10)", (ZARA,)),
            ("INSERT INTO line VALUES (1, 1, 'lamp')", ()),
            ("UPDATE customer SET level = 'gold' WHERE email = ?", (ZARA,)),
            ("UPDATE customer SET email = ? WHERE email = ?", (MOVED, YAN)),
            ("INSERT INTO patient VALUES (?, 'a')", (NUMBER,)),
        ):
            connection.execute(statement, values)
            connection.commit()
        with acting_as(TRUDY):
            connection.execute("SELECT level FROM customer ORDER BY 1").fetchall()
            connection.execute("SELECT * FROM customer WHERE email = ?", (ZARA,)).fetchall()
            connection.execute("SELECT total FROM invoice, line").fetchall()
            connection.execute("SELECT ward FROM patient").fetchall()
            connection.execute(f"SELECT count(*) FROM invoice WHERE customer_email = '{ZARA}'")
        with acting_as(Actor("customer", ZARA)):
            trail.record(
                "invoice.viewed", target=Target("invoice", 1), subject=Subject("customer", ZARA)
            )
            trail.record("customer.exported", target=Target("customer", ZARA), on=connection)
            connection.commit()
        trail.flush()
    return made


def clear_in(shop: Shop) -> set[str]:
    return {line.partition(":")[0] for line in found_in(shop.directory, NAMES)}


def forget(shop: Shop) -> None:
    """The application deletes what it has of Zara."""
    with shop.open() as (trail, connection):
        connection.execute("DELETE FROM line")
        connection.execute("DELETE FROM invoice WHERE customer_email = ?", (ZARA,))
        connection.execute("UPDATE customer SET referrer = NULL WHERE referrer = ?", (ZARA,))
        connection.execute("DELETE FROM customer WHERE email = ?", (ZARA,))
        connection.commit()
        trail.flush()


def erase(shop: Shop, name: str = ZARA) -> str:
    """Its token."""
    subject = Subject("customer", name)
    with shop.open() as (trail, _):
        token = keystore_of(shop).token_of(subject)
        assert token is not None
        note = shop.authorise(trail, "subject.erase", subject)
        trail.erasures.erase(subject, note)
    return token


def test_no_name_enters_the_trail(shop: Shop) -> None:
    """Neither keys, nor what refers to them, nor subjects, actors and conditions, of rows from
    before capture, of reads, of explicit events."""
    assert clear_in(shop) == IN_CLEAR
    with shop.open() as (trail, _):
        assert trail.verify()
        assert trail.notices() == ()


def test_answers_go_by_names(shop: Shop) -> None:
    """Whatever is asked, by the name, and in whatever is answered."""
    zara = Subject("customer", ZARA)
    with shop.open() as (trail, _):
        who = {str(one.actor): (one.reads, one.changes) for one in trail.accessors(of=zara)}
        # Of the line the statement read too; its own row; those who refer to her aren't her data.
        assert who["staff:alice"][1] == 4
        assert who["staff:trudy"][0] == 3
        assert set(who) == {"staff:alice", "staff:trudy"}

        found = {(one.kind, one.id) for one in trail.accesses(by=TRUDY)}
        assert {
            ("customer", (ZARA,)),
            ("customer", (MOVED,)),
            ("patient", (NUMBER,)),
        } <= {(kind, row_id) for kind, row_id in found if row_id}

        history = list(trail.history(Target("customer", ZARA)))
        actions = [one.event.action for one in history]
        assert actions.count("customer.insert") == 1
        assert "customer.update" in actions and "customer.exported" in actions
        assert {actions for actions in actions} >= {"customer.read"}
        (inserted,) = (one.event for one in history if one.event.action == "customer.insert")
        assert inserted.subjects == (zara,)
        assert (inserted.changes or {})["email"][1] == ZARA
        assert (inserted.changes or {})["referrer"][1] == BEFORE

        (state,) = trail.state(Target("customer", ZARA))
        assert state.state.columns == {"email": ZARA, "level": "gold", "referrer": BEFORE}
        (state,) = trail.state(Target("customer", BEFORE))
        assert state.state.columns["email"] == BEFORE
        (state,) = trail.state(Target("patient", NUMBER))
        assert state.state.columns["number"] == NUMBER
        (state,) = trail.state(Target("invoice", 7))
        assert state.state.columns["customer_email"] == BEFORE

        moved = [
            one.event
            for one in trail.history(Target("customer", MOVED))
            if one.event.action == "customer.update"
        ]
        assert [(one.targets[0].ids, one.targets[0].ids_before) for one in moved] == [
            (((MOVED,),), ((YAN,),))
        ]

        (viewed,) = trail.events(by=Actor("customer", ZARA), action="invoice.viewed")
        assert viewed.event.actor == Actor("customer", ZARA)
        assert viewed.event.subjects == (zara,)


def test_a_token_is_one_for_all_that_name_somebody(shop: Shop) -> None:
    """In a key, a column that refers to it, a subject and an actor; asked by it, the same answer."""
    with shop.open() as (trail, _):
        keystore = keystore_of(shop)
        token = keystore.token_of(Subject("customer", ZARA)) or ""
        by_token = [str(one) for one in trail.accessors(of=Subject("customer", token))]
        assert by_token == [str(one) for one in trail.accessors(of=Subject("customer", ZARA))]
        bodies = [bytes(entry.body) for entry in trail.reader.entries(0, int(trail.reader.size))]
        written = b"".join(body for body in bodies if token.encode() in body)
        for form in (
            f'"ids":[[{{"t":"token","s":"{token}"}}]]',
            f'"customer_email":[{{"t":"absent"}},{{"t":"token","s":"{token}"}}]',
            f'["customer","{token}"]',
            f'"actor":{{"kind":"customer","id":"{token}"}}',
        ):
            assert form.encode() in written, form


def test_once_erased_a_token_means_nobody(shop: Shop) -> None:
    """No file has the name, of now or of a backup of the trail; answers go by the token."""
    copy = backup(shop, "backup")
    forget(shop)
    token = erase(shop)
    gone = f"{ERASED_NAME}{token}"
    assert not [line for line in found_in(shop.directory.parent, (ZARA,)) if "app.db" not in line]
    assert found_in(copy, NAMES) == []
    with shop.open() as (trail, _):
        assert trail.verify().acts.erased == 1
        assert [str(one) for one in trail.accessors(of=Subject("customer", ZARA))] == []
        assert not trail.accessors(of=Subject("customer", ZARA)).known
        who = {str(one.actor) for one in trail.accessors(of=Subject("customer", gone))}
        assert who == {"staff:alice", "staff:trudy"}
        history = [one.event for one in trail.history(Target("customer", gone))]
        (inserted,) = (event for event in history if event.action == "customer.insert")
        assert inserted.targets[0].ids == ((TypedValue("erased", None, token),),)
        assert inserted.subjects == (Subject("customer", gone),)
        assert (inserted.changes or {})["email"][1] == ERASED
        assert (inserted.changes or {})["referrer"][1] == BEFORE
        assert trail.state(Target("customer", BEFORE)).__iter__() is not None
        (viewed,) = trail.events(by=Actor("customer", gone), action="invoice.viewed")
        assert viewed.event.actor == Actor("customer", gone)
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0
        assert trail.notices() == ()

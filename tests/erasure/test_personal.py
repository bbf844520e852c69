"""A key that is a person's name stands nowhere in the trail: a token does, as long as it may."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
import sqlalchemy

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture import sqlite3 as captured
from indelible.capture.access_targets import named_targets
from indelible.capture.sealing import Sealing
from indelible.capture.sqlalchemy import capture
from indelible.capture.sqlite_schema import read_schema
from indelible.capture.statements.planner import Planner
from indelible.errors import ConfigurationError, DeliveryError, KeystoreError, PolicyError
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.events.values import ERASED, ERASED_NAME, TypedValue
from indelible.integrity.faults import UnauthorisedActError
from indelible.invariants.verdicts import SO_FAR
from indelible.policy.load import parse_policy

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
STRANGER = f'{{"kind":"customer","token":"{"0" * 32}","name":"somebody"}},'
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
        assert set(actions) >= {"customer.read"}
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
    """In a key, a column that refers to it, a subject and an actor; it may be asked by, too."""
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


def test_a_reversal_restores_names(shop: Shop) -> None:
    """As long as they are there: a row, its key, and what refers to it, of the type it had."""
    with shop.open() as (trail, connection):
        before = rows_of(connection)
        with acting_as(TRUDY, reason="a mistake"):
            for statement in (
                f"UPDATE invoice SET customer_email = '{MOVED}' WHERE id = 1",
                f"UPDATE customer SET email = 'trudy@example.org' WHERE email = '{MOVED}'",
                "DELETE FROM patient",
                f"DELETE FROM customer WHERE email = '{ZARA}'",
            ):
                connection.execute(statement)
                connection.commit()
        trail.flush()
        plan = trail.plan_reversal(by=TRUDY, database=shop.database)
        assert f"customer:{ZARA}" in str(plan)
        assert plan.conflicts == ()
        plan.apply()
        assert rows_of(connection) == before
        trail.flush()
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0
    assert clear_in(shop) == IN_CLEAR


@pytest.mark.parametrize("force", [False, True])
def test_who_was_erased_is_never_restored(shop: Shop, force: bool) -> None:
    with shop.open() as (trail, connection), acting_as(TRUDY):
        connection.execute(f"UPDATE invoice SET customer_email = '{MOVED}' WHERE id = 1")
        connection.execute("UPDATE customer SET level = 'x'")
        connection.commit()
        trail.flush()
    forget(shop)
    erase(shop)
    with shop.open() as (trail, connection):
        for who in (ALICE, TRUDY):
            plan = trail.plan_reversal(by=who, database=shop.database, force=force)
            assert "lawfully erased" in str(plan)
            plan.apply()
            trail.flush()
            assert (
                connection.execute(
                    "SELECT * FROM customer WHERE email = ? OR referrer = ?", (ZARA, ZARA)
                ).fetchall()
                == []
            )
    assert not [line for line in found_in(shop.directory, (ZARA,)) if "app.db" not in line]


def rows_of(connection: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    tables = ("customer", "invoice", "line", "patient")
    return [sorted(connection.execute(f"SELECT * FROM {t}").fetchall()) for t in tables]


def test_as_people_ask(shop: Shop) -> None:
    """By name before, by token afterwards; that they asked is in the trail without the name."""
    of = f"--of=customer:{ZARA}"
    assert "staff:trudy" in run(shop, "accessors", of)
    said = run(shop, "accessors", "--of", "customer:never.seen@example.org")
    assert "the trail has never heard of customer:never.seen@example.org" in said
    lines = run(shop, "history", f"customer:{ZARA}", "--json").splitlines()
    (made,) = [line for line in lines if '"customer.insert"' in line]
    assert f'"ids":[["{ZARA}"]]' in made and "token" not in made
    assert f"customer:{ZARA}" in run(shop, "accesses", "--by", "staff:trudy")
    assert f'"referrer":[{{"t":"absent"}},"{ZARA}"]' in run(
        shop, "changes", "--by", "staff:alice", "--json"
    )
    run(shop, "relay", "--once")
    asked = run(shop, "events", "--action", "trail.asked", "--system", "--json")
    assert "customer:(not shown)" in asked and f"customer:{ZARA}" in asked
    names = (*NAMES, "never.seen@example.org")
    assert {line.partition(":")[0] for line in found_in(shop.directory, names)} == IN_CLEAR

    forget(shop)
    run(shop, "erase", f"customer:{ZARA}", "--request", "act", "--reason", "request 4411")
    signed(shop, "act")
    run(shop, "erase", f"customer:{ZARA}", "--authorisation", "act")
    assert "the trail has never heard of" in run(shop, "accessors", of)
    said = run(shop, "accesses", "--by", "staff:trudy")
    assert ZARA not in said and MOVED in said
    (gone,) = {word for word in said.split() if word.startswith(f"customer:{ERASED_NAME}")}
    assert "staff:trudy" in run(shop, "accessors", "--of", gone)
    assert "customer.insert" in run(shop, "history", gone)
    assert '"referrer":[{"t":"absent"},{"t":"erased"}]' in run(
        shop, "changes", "--by", "staff:alice", "--json"
    )
    assert "erased as authorised: 1" in run(shop, "verify")
    assert not [line for line in found_in(shop.directory, (ZARA,)) if "app.db" not in line]


def test_an_export_keeps_tokens(shop: Shop) -> None:
    run(shop, "export", "history", f"customer:{ZARA}", "--to", "evidence")
    run(shop, "export", "accessors", "--of", f"customer:{ZARA}", "--to", "others")
    assert clear_in(shop) == IN_CLEAR
    key = (shop.directory / "trail.db.keys" / "trail.pub").read_text().strip()
    for file in ("evidence", "others"):
        said = run(shop, "verify", file, "--key", key)
        assert ZARA not in said and "asked: indelible" in said


def test_an_opened_export_names(shop: Shop) -> None:
    """Beside the entries, which stay as they were committed to; the trail has no name by that."""
    ask = ("export", "accessors", "--of", f"customer:{ZARA}", "--to")
    run(shop, *ask, "sealed")
    said = run(shop, *ask, "opened", "--open", "--recipient", "Dr. Okafor")
    assert "named: 3" in said  # she, who referred her, whom she referred
    sealed, opened = (
        [json.loads(line) for line in (shop.directory / file).read_text().splitlines()][1:-1]
        for file in ("sealed", "opened")
    )
    assert [line["body"] for line in sealed] == [line["body"] for line in opened]
    assert not any("named" in line for line in sealed)
    assert clear_in(shop) == {*IN_CLEAR, "opened"}
    said = run(shop, "verify", "opened")
    assert "named, by the file's own word: 3" in said
    assert "customer:zara.herself" in said and "(token)" not in said
    lines = run(shop, "verify", "opened", "--json").splitlines()
    assert any(f'"name":"{ZARA}"' in line for line in lines)
    with shop.open() as (trail, _):
        (told,) = trail.events(action="export.opened", system=True)
        assert (told.event.details or {})["named"] == 3
        trail.verify()

    forged = (shop.directory / "opened").read_text().replace('"named":[', '"named":[' + STRANGER, 1)
    (shop.directory / "forged").write_text(forged)
    assert "came others: the file was edited" in run(shop, "verify", "forged", code=3)

    (shop.directory / "opened").unlink()
    forget(shop)
    gone = f"customer:{ERASED_NAME}{erase(shop)}"
    again = ("export", "accessors", "--of", gone, "--to", "again", "--open", "--recipient", "R")
    assert "named: 2" in run(shop, *again)
    assert ZARA not in (shop.directory / "again").read_text()
    assert gone in run(shop, "verify", "again")


def test_sealed_segments_and_the_lake_have_tokens(shop: Shop) -> None:
    """And answers go by names all the same."""
    with shop.open() as (trail, connection), acting_as(TRUDY):
        for _ in range(256):  # nothing of Zara's is in what is searched without the index
            connection.execute("SELECT * FROM patient").fetchall()
        trail.flush()
    with shop.config.open("a") as config:
        config.write('[tiers]\nlake = "lake"\n')
    assert "sealed entries 0 to" in run(shop, "seal", "--all", "--before", "2200-01-01")
    (parquet,) = (shop.directory / "lake").rglob("*.parquet")
    entries = duckdb.sql(f"SELECT records, subjects, changes FROM '{parquet}'").fetchall()
    assert "customer:" in str(entries) and '"t":"token"' in str(entries)
    assert not [name for name in NAMES if name in str(entries)]
    assert clear_in(shop) == IN_CLEAR
    assert "staff:trudy" in run(shop, "accessors", "--of", f"customer:{ZARA}")


def minting(shop: Shop, how: str, names: Sequence[str]) -> subprocess.Popen[str]:
    """A process that is about to write of these customers, of whom nobody has written yet."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.erasure.minter", str(shop.config), how, *names],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(120)


def test_processes_that_meet_somebody_at_once_agree(shop: Shop) -> None:
    """On one token each."""
    names = [f"somebody.new.{n}@example.org" for n in range(150)]
    processes = [minting(shop, "once", names) for _ in range(3)]
    for process in processes:
        go_on(process)
    assert list(map(ended, processes)) == [0, 0, 0]
    with shop.open() as (trail, _):
        trail.flush()
        said = list(trail.events(action="customer.called"))
        found = collections.Counter(one.event.subjects[0].id for one in said)
        assert found == dict.fromkeys(names, 3)
        for name in names[:5]:
            assert len(list(trail.history(Target("customer", name)))) == 3
        trail.verify()
    connection = sqlite3.connect(shop.directory / "trail.db.keystore")
    ids = [row[0] for row in connection.execute("SELECT id FROM subjects WHERE kind = 'customer'")]
    connection.close()
    assert len(ids) == len(set(ids)) and set(names) < set(ids)
    assert {line.partition(":")[0] for line in found_in(shop.directory, tuple(names))} == {
        "trail.db.keystore"
    }


def test_killed_between_the_token_and_the_event(shop: Shop) -> None:
    """There is a token that nothing uses, and the next who meets that person uses it."""
    name = "met.and.killed@example.org"
    process = minting(shop, "die", [name])
    go_on(process)
    assert ended(process) == -signal.SIGKILL
    token = keystore_of(shop).token_of(Subject("customer", name))
    assert token is not None
    with shop.open() as (trail, _):
        trail.flush()
        assert list(trail.events(action="customer.called")) == []
        assert trail.verify().acts.unchecked == 0
        trail.record("customer.called", subject=Subject("customer", name))
        trail.flush()
        (said,) = trail.events(action="customer.called")
        assert said.event.subjects == (Subject("customer", name),)
        assert token.encode() in trail.reader.entry(said.index).body


def test_children_of_a_process_that_is_sealing(shop: Shop) -> None:
    """Begun while another thread meets new people: neither waits for ever, and nobody is lost."""
    with shop.open() as (trail, _):
        sealing = trail.journal.sealing
        is_over = threading.Event()
        met: list[str] = []

        def meet() -> None:
            while not is_over.is_set():
                name = f"met.{len(met)}@example.org"
                began = time.monotonic()
                sealing.conceal(about(name))
                met.append(name)
                # SQLite's locks aren't fair: whoever commits without a pause keeps all others out.
                time.sleep(0.005 + 3 * (time.monotonic() - began))

        thread = threading.Thread(target=meet)
        thread.start()
        try:
            for n in range(10):
                conceal_in_a_child(sealing, ZARA, f"met.by.a.child.{n}@example.org")
        finally:
            is_over.set()
            thread.join()
        assert len(met) > 1
        keystore = keystore_of(shop)
        for name in (*met, *(f"met.by.a.child.{n}@example.org" for n in range(10))):
            token = keystore.token_of(Subject("customer", name))
            assert token is not None and token.encode() in sealing.conceal(about(name))


def conceal_in_a_child(sealing: Sealing, *names: str) -> None:
    """Whatever happens there, the child ends there."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        code = 1
        try:
            for name in names:
                sealing.conceal(about(name))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def about(name: str) -> bytes:
    return encode_draft(Event(action="a.b", kind="event", subjects=(Subject("customer", name),)))


def replaced(policy: str, section: str, rules: str) -> str:
    """The policy with other rules in one section."""
    before, _, rest = policy.partition(f"[{section}]\n")
    _, bracket, after = rest.partition("\n[")
    return f"{before}[{section}]\n{rules}{bracket}{after}"


@pytest.mark.parametrize(
    ("section", "rules", "said"),
    [
        ("tables.customer", 'personal = ["email"]', "expected the key of a table whose subject"),
        (
            "tables.customer",
            'subject = "self"\npersonal = ["email", "level"]',
            "expected one column, the key, got email, level",
        ),
        (
            "tables.customer",
            'subject = "self"\npersonal = ["email", "referrer -> nobody"]',
            "expected referrer to lead to a table whose subject",
        ),
        (
            "tables.customer",
            'subject = "self"\npersonal = ["email"]\nmask = ["email"]',
            "expected email personal, or masked",
        ),
        ("tables.customer", 'subject = "self"\npersonal = "email"', "as a list of column names"),
        ("tables.customer", 'subject = "self"\npersonal = ["-> x"]', 'expected "column" or'),
        (
            "tables.line",
            'subject = "invoice_id -> invoice.customer_email -> customer"\npersonal = ["title"]',
            'as in "title -> customer"',
        ),
    ],
)
def test_what_can_not_be_personal(tmp_path: Path, section: str, rules: str, said: str) -> None:
    """The file says so, by name and line, and nothing is made."""
    with pytest.raises(PolicyError, match=re.escape(said)) as raised:
        Shop(tmp_path / "shop", schema=SCHEMA, policy=replaced(POLICY, section, rules), rows="")
    assert f"[{section}]" in str(raised.value) and ", line " in str(raised.value)


@pytest.mark.parametrize(
    ("schema", "more", "said"),
    [
        (
            SCHEMA.replace("email TEXT PRIMARY KEY", "email TEXT, id INTEGER PRIMARY KEY"),
            "",
            "table customer: expected its personal column to be the primary key, alone",
        ),
        (
            SCHEMA.replace("email TEXT PRIMARY KEY,", "email TEXT,").replace(
                "TEXT REFERENCES customer);", "TEXT, PRIMARY KEY (email, level));", 1
            ),
            "",
            "table customer: expected its personal column to be the primary key, alone",
        ),
        (
            SCHEMA
            + "CREATE TABLE visit (email TEXT, n INT, PRIMARY KEY (email, n)) WITHOUT ROWID;",
            '[tables.visit]\nsubject = "email -> customer"\n',
            "table visit: email is personal and says which row it is",
        ),
        (
            SCHEMA + "CREATE TABLE friend (id INTEGER PRIMARY KEY, of TEXT REFERENCES customer);",
            "",
            "table friend: column of refers to customer, whose key is personal: expected personal "
            '= ["of -> customer"], or it masked',
        ),
        (SCHEMA, '[tables.product]\npersonal = ["x -> customer"]\n', None),
    ],
    ids=["not the key", "one of two", "within a key", "not said", "no such table"],
)
def test_where_no_token_can_stand(tmp_path: Path, schema: str, more: str, said: str | None) -> None:
    """`install` refuses, and so does capture: nothing is written of such a table."""
    if said is None:
        Shop(tmp_path / "shop", schema=schema, policy=POLICY + more, rows="")
        return
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Shop(tmp_path / "shop", schema=schema, policy=POLICY + more, rows="")
    trail = Trail.open(tmp_path / "shop" / "indelible.toml")
    with trail, pytest.raises(ConfigurationError, match=re.escape(said)):
        captured.connect(tmp_path / "shop" / "app.db", trail=trail)


def test_a_reference_that_is_masked_will_do(tmp_path: Path) -> None:
    schema = SCHEMA + "CREATE TABLE friend (id INTEGER PRIMARY KEY, of TEXT REFERENCES customer);"
    policy = POLICY + '[tables.friend]\nmask = ["of"]\n'
    shop = Shop(tmp_path / "shop", schema=schema, policy=policy, rows=ROWS)
    with shop.open() as (trail, connection):
        connection.execute(f"INSERT INTO friend VALUES (1, '{BEFORE}')")
        connection.commit()
        trail.flush()
    assert clear_in(shop) == IN_CLEAR


def test_a_key_that_became_personal(tmp_path: Path) -> None:
    """What was written by then stays as it was; what comes is found with it under one name."""
    policy = "".join(line for line in POLICY.splitlines(True) if not line.startswith("personal"))
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=policy, rows=ROWS)
    written = shop.config.read_text()
    shop.config.write_text(written.replace(policy, POLICY))
    run(shop, "install")
    with shop.open() as (trail, connection):
        connection.execute("UPDATE customer SET level = 'tin'")
        connection.commit()
        trail.flush()
        assert len(list(trail.history(Target("customer", BEFORE)))) == 2
        (state,) = trail.state(Target("customer", BEFORE))
        assert state.state.columns["level"] == "tin"
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0


def test_rows_that_no_policy_of_now_can_conceal_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Installed before, and personal since: the relay carries nothing of them, and says why."""
    schema = (
        SCHEMA + "CREATE TABLE visit (email TEXT, n INT, PRIMARY KEY (email, n)) WITHOUT ROWID;"
    )
    more = '[tables.visit]\nsubject = "email -> customer"\n'
    policy = "".join(line for line in POLICY.splitlines(True) if not line.startswith("personal"))
    shop = Shop(tmp_path / "shop", schema=schema, policy=policy + more, rows="")
    with contextlib.closing(sqlite3.connect(shop.database)) as connection:
        connection.execute(f"INSERT INTO visit VALUES ('{ZARA}', 1)")
        connection.commit()
    shop.config.write_text(shop.config.read_text().replace(policy, POLICY))
    trail = Trail.open(shop.config)
    with pytest.raises(DeliveryError, match="behind: outbox"):
        trail.flush(1)
    trail.close(0.1)
    said = {getattr(record, "error", "") for record in caplog.records}
    assert any("table visit: email is personal and says which row" in each for each in said)
    assert clear_in(shop) == {"app.db"}


def test_without_the_keystore_nothing_is_written_down(shop: Shop) -> None:
    """Nobody opens the trail, to write or to ask: an answer by names would be empty."""
    (shop.directory / "trail.db.keystore").rename(shop.directory.parent / "keystore")
    for relay in (True, False):
        with pytest.raises(KeystoreError, match="expected a keystore at"):
            Trail.open(shop.config, relay=relay)
    said = run(shop, "accessors", "--of", f"customer:{ZARA}", code=2)
    assert "put it back" in said


@pytest.mark.parametrize("durability", ["request", "strict", "async"])
def test_a_read_whose_keys_can_not_be_concealed(tmp_path: Path, durability: str) -> None:
    """The keystore is gone under the application: it reads on, what is lost is noticed, nothing is
    in clear; under `strict` it doesn't read."""
    policy = POLICY + f'[tables.default]\ndurability = "{durability}"\n'
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=policy, rows=ROWS)
    keystore = shop.directory / "trail.db.keystore"
    with shop.open() as (trail, connection):
        keystore.rename(shop.directory / "elsewhere")
        if durability == "strict":
            with pytest.raises(DeliveryError, match="names of persons can't be made tokens"):
                connection.execute("SELECT * FROM customer").fetchall()
        else:
            (row,) = connection.execute("SELECT * FROM customer").fetchall()
            assert row[0] == BEFORE
        with pytest.raises(DeliveryError, match="names of persons can't be made tokens"):
            trail.record("customer.called", subject=Subject("customer", ZARA))
        (shop.directory / "elsewhere").rename(keystore)
        trail.flush()
        lost = [notice.action for notice in trail.notices()]
        assert lost == ([] if durability == "strict" else ["capture.access_lost"])
    assert clear_in(shop) == IN_CLEAR


def test_a_database_put_back_is_known_by_more_than_names(shop: Shop) -> None:
    """A token of before an erasure and one of afterwards may stand for the same row."""
    kept = shop.database.read_bytes()
    forget(shop)
    erase(shop)
    shop.database.write_bytes(kept)
    with shop.open() as (trail, connection):
        connection.execute("UPDATE patient SET ward = 'c'")
        connection.commit()
        trail.flush()
        assert len(list(trail.events(action="incarnation.opened", system=True))) == 1
        assert "source.conflict" not in {notice.action for notice in trail.notices()}
        trail.verify()


def test_somebody_who_comes_back_is_somebody_else(shop: Shop) -> None:
    forget(shop)
    token = erase(shop)
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO customer VALUES (?, 'new', NULL)", (ZARA,))
        connection.commit()
        trail.flush()
        assert [one.event.action for one in trail.history(Target("customer", ZARA))] == [
            "customer.insert"
        ]
        assert keystore_of(shop).token_of(Subject("customer", ZARA)) != token
        assert trail.verify().acts.erased == 1
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0


INVARIANTS = """
[[invariant]]
promise = "who accessed a customer's data can be told"
kind = "accessors"
of = "customer"
window = "1 day"
[[invariant]]
promise = "what anybody did can be told"
kind = "enumerable"
window = "1 day"
[[invariant]]
promise = "nobody makes and moves a customer"
kind = "separates"
actions = ["customer.insert", "customer.update"]
"""
FORGOTTEN = """
[[invariant]]
promise = "what is old is gone"
kind = "forgotten"
of = "customer"
at_most = "1 day"
"""


def test_promises_are_checked_by_tokens(shop: Shop) -> None:
    """Answers are found complete; what a check says, and writes into the trail, names nobody."""
    with shop.config.open("a") as config:
        config.write(INVARIANTS)
    with shop.open() as (trail, _):
        said = {verdict.kind: verdict for verdict in trail.check()}
        assert (said["accessors"].verdict, said["enumerable"].verdict) == (
            SO_FAR,
            SO_FAR,
        )
        assert said["separates"].fails
        trail.flush()
    assert clear_in(shop) == IN_CLEAR


def test_who_was_erased_is_forgotten(shop: Shop) -> None:
    with shop.config.open("a") as config:
        config.write(FORGOTTEN)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)

    def left() -> int:
        with shop.open() as (trail, _):
            (verdict,) = trail.check(now=later)
            return int(verdict.words.split()[0])

    before = left()
    forget(shop)
    erase(shop)
    assert left() < before


def test_thousands_of_names(tmp_path: Path) -> None:
    """Tokens take more room than names, those of the baseline, and of what a read hands over."""
    kind = "customer_of_a_shop_that_has_a_long_name_for_what_its_customers_are"
    policy = POLICY.replace("[tables.customer]\n", f'[tables.customer]\nkind = "{kind}"\n')
    rows = "".join(f"INSERT INTO customer VALUES ('c{n}', 'x', NULL);" for n in range(1_100))
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=policy, rows=rows)
    with shop.open() as (trail, connection), acting_as(TRUDY):
        assert len(connection.execute("SELECT * FROM customer").fetchall()) == 1_100
        trail.flush()
        read = {one.id for one in trail.accesses(by=TRUDY) if one.kind == kind}
        assert read == {(f"c{n}",) for n in range(1_100)}
        *_, summary = trail.reconcile()
        assert (summary.rows, summary.differences.total) == (1_100, 0)
        trail.verify()


def test_sealed_beside_personal(tmp_path: Path) -> None:
    """A token and the key of what is sealed are one person's, and go together."""
    policy = POLICY.replace('personal = ["email",', 'seal = ["level"]\npersonal = ["email",')
    secret = "a secret of hers, and of nobody else"
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=policy, rows="")
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO customer VALUES (?, ?, NULL)", (ZARA, secret))
        connection.commit()
        connection.execute("UPDATE customer SET level = 'x'")
        connection.commit()
        trail.flush()
        (state,) = trail.state(Target("customer", ZARA))
        assert state.state.columns["level"] == "x"
        plan = trail.plan_reversal(by=ALICE, database=shop.database)
        assert plan.conflicts == () and len(plan.restorable) == 1
        connection.execute("DELETE FROM customer")
        connection.commit()
        trail.flush()
    found = {one for one in found_in(shop.directory, (secret, ZARA)) if "app.db" not in one}
    assert found == {f"trail.db.keystore: {ZARA}"}
    token = erase(shop)
    assert found_in(shop.directory, (secret, ZARA)) == []
    with shop.open() as (trail, _):
        gone = Target("customer", f"{ERASED_NAME}{token}")
        said = [one.event.changes or {} for one in trail.history(gone)]
        assert {value for each in said for value in each["level"]} == {ERASED, TypedValue("absent")}


def test_a_token_without_a_key_is_named_by_verify(shop: Shop) -> None:
    """Somebody took it out of the keystore, and nobody had authorised that."""
    with contextlib.closing(sqlite3.connect(shop.directory / "trail.db.keystore")) as connection:
        connection.execute("DELETE FROM subjects WHERE kind = 'patient'")
        connection.commit()
    with shop.open() as (trail, _), pytest.raises(UnauthorisedActError, match="1 subjects have"):
        trail.verify()


PROGRAM = f"""
from indelible import Actor, Subject, Target, acting_as, logs
logs.configure(service="shop")
with acting_as(Actor("customer", "{ZARA}")):
    logs.audit(
        "customer.called", target=Target("customer", "{ZARA}"), subject=Subject("customer", "{YAN}")
    )
"""


def test_audit_lines_become_tokens_in_the_tee(shop: Shop) -> None:
    """On their way they hold names, and they stay nowhere."""
    program = shop.directory.parent / "program.py"
    program.write_text(PROGRAM)
    done = run(shop, "tee", "--", sys.executable, str(program))
    assert ZARA not in done and YAN not in done
    assert clear_in(shop) == IN_CLEAR
    with shop.open() as (trail, _):
        trail.flush()
        (called,) = trail.events(by=Actor("customer", ZARA), action="customer.called")
        assert called.event.subjects == (Subject("customer", YAN),)
        assert called.event.targets[0].ids == ((ZARA,),)


def test_an_engine_s_reads_and_writes(shop: Shop) -> None:
    """What goes through SQLAlchemy, in a request and outside of any."""
    engine = sqlalchemy.create_engine(f"sqlite:///{shop.database}")
    name = "met.by.an.engine@example.org"
    with shop.open() as (trail, _):
        capture(engine, trail)
        for frame in (acting_as(TRUDY), contextlib.nullcontext()):
            with frame, engine.begin() as connection:
                insert = sqlalchemy.text("INSERT OR REPLACE INTO customer VALUES (:who, 'x', NULL)")
                connection.execute(insert, {"who": name})
                select = sqlalchemy.text("SELECT level FROM customer WHERE email IN (:one, :two)")
                found = connection.execute(select, {"one": name, "two": ZARA}).all()
                assert len(found) == 2
        engine.dispose()
        trail.flush()
        who = {str(one.actor) for one in trail.accessors(of=Subject("customer", name)).certain()}
        assert who == {"staff:trudy", "staff:alice"}
    found_names = found_in(shop.directory, (*NAMES, name))
    assert {line.partition(":")[0] for line in found_names} == IN_CLEAR


def test_who_goes_by_another_s_token(shop: Shop) -> None:
    """Has a token of their own, however they came to know that one: in writes, reads and events."""
    token = keystore_of(shop).token_of(Subject("customer", ZARA)) or ""
    with shop.open() as (trail, connection):
        before = [str(one) for one in trail.accessors(of=Subject("customer", ZARA))]
        with acting_as(Actor("customer", token)):
            connection.execute("INSERT INTO customer VALUES (?, 'x', NULL)", (token,))
            connection.execute("UPDATE customer SET level = 'y' WHERE email = ?", (token,))
            connection.commit()
            connection.execute("SELECT * FROM customer WHERE email = ?", (token,)).fetchall()
            trail.record("customer.called", subject=Subject("customer", token))
        trail.flush()
        assert [str(one) for one in trail.accessors(of=Subject("customer", ZARA))] == before
        (called,) = trail.events(action="customer.called")
        assert called.event.subjects == (Subject("customer", token),)
        assert called.event.actor == Actor("customer", token)
        (state,) = trail.state(Target("customer", token))
        assert state.state.columns["level"] == "y"
    assert keystore_of(shop).token_of(Subject("customer", token)) not in (None, token)


def test_rows_that_go_by_a_name_among_others_are_not_named(tmp_path: Path) -> None:
    """Should a read meet such a table all the same: which rows it handed over isn't told."""
    policy = parse_policy(POLICY + '[tables.visit]\nsubject = "email -> customer"\n')
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(
            SCHEMA + "CREATE TABLE visit (email TEXT, n INT, PRIMARY KEY (email, n)) WITHOUT ROWID;"
        )
        schema = read_schema(lambda sql: connection.execute(sql).fetchall())
    plan = Planner(schema, policy).entry("SELECT email, n FROM visit, line").plan
    rows = [(ZARA, 1, 7)]
    targets, subjects = named_targets(plan, rows, (), is_first=True, is_whole=True)
    (visit,) = (each for each in targets if each.kind == "visit")
    assert (visit.ids, visit.coverage) == ((), "statement")
    assert "is personal and says which row it is" in (visit.why or "")
    assert ZARA not in str(targets) + str(subjects)

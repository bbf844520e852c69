"""From a MariaDB database to answers: install, relay, questions, and back."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner
from tests.capture.postgres.test_trail import Site as AnySite
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.mariadb.connecting import said
from indelible.capture.mariadb.context import ContextSender
from indelible.capture.mariadb.install import incarnation_of
from indelible.capture.mariadb.outbox import running, running_by_monitor
from indelible.errors import ConfigurationError
from indelible.events.context import current_frame
from indelible.events.values import TypedValue

from .capturing import Captured

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


class Site(AnySite):
    """A database with a trail, and a command line for both."""

    database: MariadbDatabase

    def sender(self, trail: Trail) -> ContextSender:
        return ContextSender(trail.context_key, incarnation_of(self.server), self.database.name)


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(
        "CREATE TABLE customer (id CHAR(36) PRIMARY KEY, name TEXT, card TEXT, notes TEXT)",
        "CREATE TABLE invoice (id INT PRIMARY KEY, customer_id CHAR(36), total DECIMAL(10,2), "
        "FOREIGN KEY (customer_id) REFERENCES customer (id))",
        "INSERT INTO customer VALUES ('zara', 'Zara', '4711', 'n')",
    )
    tables = (
        "[tables.customer]\nsubject = 'self'\nmask = ['card']\nwithout_values = ['notes']\n"
        "[tables.invoice]\nsubject = 'customer_id -> customer'\n"
    )
    return Site(mariadb_database, tmp_path, tables)


def test_from_install_to_answers(site: Site) -> None:
    """`changes`, `history` and `state` answer for a database that the command line installed."""
    assert "captured: every write to 2 tables" in site.run("install")
    with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
        sender = site.sender(trail)
        with acting_as(ALICE, reason="ticket 1"), app.cursor() as cursor:
            app.begin()
            sender.send_context(cursor, current_frame())
            cursor.execute("UPDATE customer SET name = 'Zara Z', card = '1', notes = 'm'")
            cursor.execute("INSERT INTO invoice VALUES (1, 'zara', 12.50)")
            sender.clear(cursor)
            app.commit()
            cursor.execute("DELETE FROM invoice")
        trail.flush()

        first, second = (finding.event for finding in trail.changes(by=ALICE))
        assert (first.action, second.action) == ("customer.update", "invoice.insert")
        assert first.reason == "ticket 1"
        assert first.database_role == "app"
        assert first.changes is not None
        assert set(first.changes) == {"name", "notes"}
        assert second.changes is not None
        assert second.changes["total"][1] == TypedValue("my:decimal", "12.50")
        assert {(s.kind, s.id) for s in second.subjects} == {("customer", "zara")}
        assert len(list(trail.history(Target("invoice", 1)))) == 2
        (found,) = trail.state(Target("customer", "zara"))
        assert found.state.columns["name"] == "Zara Z"
        assert [n.action for n in trail.notices()] == ["changes.unattributed"]
        trail.verify()
    assert "Zara Z" in site.run("state", "customer:zara")
    with contextlib.closing(site.database.connect()) as look, look.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {site.database.name}_indelible.outbox")
        assert cursor.fetchone() == (1,)


def test_an_event_that_nobody_can_be_told_for_says_where_it_came_from(site: Site) -> None:
    site.run("install")
    with site.trail() as trail:
        site.database.execute("INSERT INTO invoice VALUES (2, NULL, 1)", account="app")
        trail.flush()
        (finding,) = trail.history(Target("invoice", 2))
    event = finding.event
    assert (event.actor, event.database_role) == (None, "app")
    assert event.context == {"address": "127.0.0.1"}


def test_explicit_events_share_the_transaction(site: Site) -> None:
    """What is recorded in a transaction commits with it, or never was."""
    from indelible.events.codec import encode_draft
    from indelible.events.explicit import explicit_event

    site.run("install")
    with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
        sender = site.sender(trail)
        for commit in (True, False):
            with acting_as(ALICE), app.cursor() as cursor:
                app.begin()
                nonce = sender.send_context(cursor, current_frame())
                draft = encode_draft(
                    explicit_event("invoice.refund", transaction=nonce, details={"ok": commit})
                )
                sender.record(cursor, draft, nonce=nonce)
                sender.clear(cursor)
                app.commit() if commit else app.rollback()
        trail.flush()
        (found,) = trail.events(action="invoice.refund")
        assert found.event.details == {"ok": True}
        trail.verify()


def test_status_says_what_is_wrong_and_uninstall_goes(site: Site) -> None:
    """Drift, who could take the triggers away, what waits; then nothing is left."""
    site.run("install")
    assert "nothing had to be changed" in site.run("install")
    site.database.server.execute(f"GRANT DROP ON {site.database.name}.* TO app@'%'")
    site.database.execute("CREATE TABLE fresh (id INT PRIMARY KEY)")
    said = site.run("status", code=1)
    assert "not captured as it should be: fresh: new" in said
    assert "what role app may do isn't known" in " ".join(said.split())
    site.database.server.execute("GRANT SELECT ON mysql.* TO owner@'%'")
    said = site.run("status", code=1)
    site.database.server.execute("REVOKE SELECT ON mysql.* FROM owner@'%'")
    assert "role app could take the triggers away" in " ".join(said.split())
    assert "changed since the last time: fresh: new" in site.run("install")
    site.run("uninstall")
    assert "expected the schema" in site.run("status", code=1)


def test_a_trigger_that_goes_is_noticed_while_applications_run(site: Site) -> None:
    site.run("install")
    with site.trail() as trail:
        site.database.execute("DROP TRIGGER indelible_1_update")
        deadline = time.monotonic() + 20
        while not (found := [n for n in trail.notices() if n.action == "capture.drift"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
            trail.flush()
        assert "customer: triggers missing" in found[0].message


def test_an_open_transaction_holds_up_what_follows_it(site: Site) -> None:
    """Ids of a transaction that is open are neither passed over nor called void; one that only
    reads holds up nothing."""
    site.run("install")
    with (
        site.trail() as trail,
        contextlib.closing(site.database.connect(autocommit=False)) as slow,
        contextlib.closing(site.database.connect(autocommit=False)) as reader,
    ):
        reader.cursor().execute("SELECT * FROM customer")
        slow.cursor().execute("INSERT INTO invoice VALUES (1, NULL, 1)")
        site.database.execute("INSERT INTO invoice VALUES (2, NULL, 1)")
        time.sleep(0.5)
        assert not list(trail.history(Target("invoice", 2)))
        slow.commit()
        trail.flush()
        assert len(list(trail.history(Target("invoice", 1)))) == 1
        assert len(list(trail.history(Target("invoice", 2)))) == 1
        trail.verify()
        reader.rollback()


def test_a_list_of_transactions_that_is_old_is_not_believed(
    mariadb_database: MariadbDatabase,
) -> None:
    """While others keep asking for it InnoDB makes no new list."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
    captured = Captured(mariadb_database)
    stopped = threading.Event()

    def ask() -> None:
        with contextlib.closing(mariadb_database.connect()) as c, c.cursor() as cursor:
            while not stopped.is_set():
                cursor.execute("SELECT COUNT(*) FROM information_schema.INNODB_TRX")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        time.sleep(0.3)
        with contextlib.closing(mariadb_database.connect(autocommit=False)) as writer:
            writer.cursor().execute("INSERT INTO a VALUES (1)")
            with captured.ours() as ours:
                found = [running(ours, captured.sql) for _ in range(50)]
                by_monitor = running_by_monitor(ours, captured.sql)
            writer.rollback()
    finally:
        stopped.set()
        asking.join()
    assert None in found
    assert [] not in found
    assert by_monitor is not None
    assert len(by_monitor) == 1


def test_others_who_keep_asking_hold_up_nothing(site: Site) -> None:
    """What a monitor's questions keep from us is read from another text."""
    site.run("install")
    stopped = threading.Event()

    def ask() -> None:
        with contextlib.closing(site.database.connect()) as c, c.cursor() as cursor:
            while not stopped.is_set():
                cursor.execute("SELECT COUNT(*) FROM information_schema.INNODB_TRX")

    asking = threading.Thread(target=ask)
    with site.trail() as trail:
        asking.start()
        try:
            time.sleep(0.3)
            site.database.execute("INSERT INTO invoice VALUES (1, NULL, 1)")
            trail.flush(20)
        finally:
            stopped.set()
            asking.join()
        assert len(list(trail.history(Target("invoice", 1)))) == 1


def test_nothing_is_lost_while_many_write(site: Site) -> None:
    """Threads commit and roll back while the relay runs: the trail has what was committed."""
    site.run("install")
    kept: list[int] = []

    def work(start: int) -> None:
        with contextlib.closing(site.database.connect("app", autocommit=False)) as app:
            cursor = app.cursor()
            for n in range(start, start + 120):
                cursor.execute("INSERT INTO invoice VALUES (%s, NULL, 1)", (n,))
                if n % 3:
                    app.commit()
                    kept.append(n)
                else:
                    app.rollback()

    with site.trail() as trail:
        threads = [threading.Thread(target=work, args=(n * 1_000,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trail.flush(60)
        assert sorted(ids_in(trail)) == sorted(kept)
        trail.verify()


def ids_in(trail: Trail) -> list[Any]:
    """The ids of all invoices that came to be, from the trail's entries."""
    from indelible.events.codec import decode_event

    found = []
    size = trail.reader.state().size
    for entry in trail.reader.entries(0, size - 1):
        event = decode_event(entry.body)
        if event.action == "invoice.insert":
            found.append(event.targets[0].ids[0][0])
    return found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://owner:wrong@127.0.0.1:{port}/{name}", "Access denied"),
        ("mysql://owner:owner@127.0.0.1:1/{name}", "Can't connect"),
        ("mysql://owner:owner@127.0.0.1:{port}/", "expected the database's name"),
        ("mysql://owner:owner@127.0.0.1:{port}/{name}?odd=1", "expected ssl_ca"),
        ("mysql://app:app@127.0.0.1:{port}/{name}", "denied"),
    ],
)
def test_what_cannot_be_installed_says_why(site: Site, url: str, said: str) -> None:
    """Never with the password."""
    port, name = site.database.server.port, site.database.name
    text = site.config.read_text().replace(site.database.url(), url.format(port=port, name=name))
    site.config.write_text(text)
    result = CliRunner().invoke(
        importlib.import_module("indelible.cli.install").command, ["--config", str(site.config)]
    )
    assert result.exit_code != 0
    message = f"{result.output}{result.exception}"
    assert said in message
    assert "wrong" not in message
    assert "owner:owner" not in message


def test_a_server_killed_and_put_back_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL under writers, with the log flushed at each commit: what was committed is there."""
    import signal

    server = MariadbServer(is_durable=True)
    try:
        database = MariadbDatabase(server, "shop")
        database.execute("CREATE TABLE invoice (id INT PRIMARY KEY)")
        site = Site(database, tmp_path)
        site.run("install")
        kept: list[int] = []

        def work(start: int) -> None:
            with contextlib.suppress(Exception), database.connect("app").cursor() as cursor:
                for n in range(start, start + 100_000):
                    cursor.execute("INSERT INTO invoice VALUES (%s)", (n,))
                    kept.append(n)

        with site.trail() as trail:
            for round_ in range(3):
                threads = [
                    threading.Thread(target=work, args=(round_ * 1_000_000 + n * 200_000,))
                    for n in range(4)
                ]
                for thread in threads:
                    thread.start()
                time.sleep(1.0)
                server.stop(signal.SIGKILL)
                for thread in threads:
                    thread.join()
                server.start()
            trail.flush(60)
            with contextlib.closing(database.connect()) as look, look.cursor() as cursor:
                cursor.execute("SELECT id FROM invoice")
                live = sorted(row[0] for row in cursor.fetchall())
            assert sorted(ids_in(trail)) == live
            assert set(kept) <= set(live)
            trail.verify()
    finally:
        server.remove()


def test_what_the_server_quotes_of_a_row_is_said_nowhere(site: Site) -> None:
    connection = site.database.connect()
    with contextlib.closing(connection), connection.cursor() as cursor:
        for statement, meaning in (
            ("INSERT INTO customer (id) VALUES ('zara')", "is there already (error 1062)"),
            ("INSERT INTO invoice VALUES (1, 'zoe', 1)", "isn't there (error 1452)"),
            ("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'zara'", "error 1644"),
        ):
            with pytest.raises(pymysql.Error) as caught:
                cursor.execute(statement)
            text = said(caught.value, site.server)
            assert text.endswith(meaning), text
            assert "zara" not in text
            assert "zoe" not in text


def test_missing_rights_are_named(mariadb_database: MariadbDatabase) -> None:
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
    mariadb_database.server.execute("REVOKE PROCESS ON *.* FROM owner@'%'")
    try:
        with pytest.raises(ConfigurationError, match="PROCESS"):
            Captured(mariadb_database)
    finally:
        mariadb_database.server.execute("GRANT PROCESS ON *.* TO owner@'%'")

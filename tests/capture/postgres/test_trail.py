"""From a PostgreSQL database to answers: install, relay, questions, and back."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.servers import Database

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.install import install, sender_for
from indelible.events.context import current_frame
from indelible.events.values import TypedValue
from indelible.policy import Server, load_policy
from indelible.policy.model import Profile

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


class Site:
    """A database with a trail, and a command line for both."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        tables: str = "",
        profile: Profile = "triggers",
    ) -> None:
        self.database = database
        self.config = directory / "indelible.toml"
        self.config.write_text(
            f"[trail]\nurl = 'sqlite:///trail.db'\n[relay]\npoll_s = 0.02\n"
            f"[database]\nurl = '{database.url()}'\nroles = ['app']\n"
            f"profile = '{profile}'\n{tables}"
        )
        Trail.create(load_policy(self.config)).close()
        self.server = Server(database.url(), ("app",), profile)

    def run(self, *arguments: str, code: int = 0) -> str:
        command = importlib.import_module(f"indelible.cli.{arguments[0]}").command
        done = CliRunner().invoke(command, [*arguments[1:], "--config", str(self.config)])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output + (str(done.exception) if code else "")

    @contextlib.contextmanager
    def trail(self) -> Iterator[Trail]:
        trail = Trail.open(self.config)
        try:
            yield trail
        finally:
            trail.close()

    def sender(self, trail: Trail) -> ContextSender:
        return sender_for(self.server, trail.context_key)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    database.execute(
        "CREATE TABLE customer (id uuid PRIMARY KEY, name text, card text, notes text)",
        "CREATE TABLE invoice (id integer PRIMARY KEY, customer_id uuid REFERENCES customer,"
        " total numeric(10,2))",
        "INSERT INTO customer VALUES ('0190f3c1-0000-7000-8000-000000000001', 'Zara', '4711', 'n')",
    )
    database.grant()
    tables = (
        "[tables.customer]\nsubject = 'self'\nmask = ['card']\nwithout_values = ['notes']\n"
        "[tables.invoice]\nsubject = 'customer_id -> customer'\n"
    )
    return Site(database, tmp_path, tables)


ZARA = "0190f3c1-0000-7000-8000-000000000001"


def test_from_install_to_answers(site: Site) -> None:
    """`changes`, `history` and `state` answer for a database that the command line installed."""
    assert "captured: every write to 2 tables" in site.run("install")
    with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
        sender = site.sender(trail)
        with acting_as(ALICE, reason="ticket 1"), app.transaction(), app.cursor() as cursor:
            sender.send_context(cursor, current_frame())
            cursor.execute("UPDATE customer SET name = 'Zara Z', card = '1', notes = 'm'")
            cursor.execute("INSERT INTO invoice VALUES (1, %s, 12.50)", (ZARA,))
        app.execute("DELETE FROM invoice")
        trail.flush()

        first, second = (finding.event for finding in trail.changes(by=ALICE))
        assert (first.action, second.action) == ("customer.update", "invoice.insert")
        assert first.reason == "ticket 1"
        assert first.database_role == "app"
        assert first.changes is not None
        assert set(first.changes) == {"name", "notes"}
        assert {(s.kind, s.id) for s in second.subjects} == {("customer", ZARA)}
        assert len(list(trail.history(Target("invoice", 1)))) == 2
        (found,) = trail.state(Target("customer", ZARA))
        assert found.state.columns["name"] == "Zara Z"
        assert [n.action for n in trail.notices()] == ["changes.unattributed"]
        trail.verify()
    assert "Zara Z" in site.run("state", f"customer:{ZARA}")
    with contextlib.closing(site.database.connect("postgres")) as look:
        rows = look.execute("SELECT count(*) FROM indelible.outbox").fetchone()
    assert rows == (1,)


def test_nested_writes_in_batches_that_end_anywhere(database: Database, tmp_path: Path) -> None:
    """Relays that carry two events at a time, each from where the one before it stopped: `state`
    is what the table holds, and nothing was said twice."""
    database.execute(
        "CREATE TABLE t (k integer PRIMARY KEY, v integer)",
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF pg_trigger_depth() < 3 THEN UPDATE t SET v = v + 1; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER more AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION more()",
    )
    site = Site(database, tmp_path)
    site.config.write_text(
        site.config.read_text().replace("[relay]\n", "[relay]\nbatch_events = 2\n")
    )
    site.run("install")
    database.execute("INSERT INTO t VALUES (1, 0), (2, 10)", "UPDATE t SET v = v * 2")
    for _ in range(3):
        with site.trail() as trail:
            time.sleep(0.1)
    with site.trail() as trail:
        trail.flush()
        states = [one for key in (1, 2) for one in trail.state(Target("t", key))]
        assert {notice.action for notice in trail.notices()} == {"changes.unattributed"}
        trail.verify()
        told = [one.event.id for key in (1, 2) for one in trail.history(Target("t", key))]
    with contextlib.closing(database.connect("owner")) as look:
        held = look.execute("SELECT v FROM t ORDER BY k").fetchall()
    assert [(one.state.columns["v"],) for one in states] == held
    assert len(set(told)) == len(told) == 28


def test_an_event_that_nobody_can_be_told_for_says_where_it_came_from(site: Site) -> None:
    """Role, application and address of a client without a context are in the event."""
    site.run("install")
    with site.trail() as trail:
        with contextlib.closing(site.database.connect("app", application_name="psql")) as app:
            app.execute("INSERT INTO invoice VALUES (2, NULL, 1)")
        trail.flush()
        (finding,) = trail.history(Target("invoice", 2))
    event = finding.event
    assert (event.actor, event.database_role) == (None, "app")
    assert event.context == {"application": "psql", "address": "127.0.0.1"}


def test_what_was_rolled_back_last_is_no_lost_memory(site: Site) -> None:
    """A relay that takes over behind ids that were rolled back knows every context it judged."""
    site.run("install")
    for number in (1, 2):
        with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
            sender = site.sender(trail)
            for row, is_kept in ((number, True), (number + 100, False)):
                with acting_as(ALICE), app.transaction(force_rollback=not is_kept):
                    sender.send_context(app.cursor(), current_frame())
                    app.execute("INSERT INTO invoice VALUES (%s, NULL, 1)", (row,))
            trail.flush()
            assert list(trail.notices()) == []
    with site.trail() as trail:
        assert len(list(trail.changes(by=ALICE))) == 2


def test_explicit_events_share_the_transaction(site: Site) -> None:
    """What is recorded in a transaction commits with it, or never was."""
    from indelible.events.codec import encode_draft
    from indelible.events.explicit import explicit_event

    site.run("install")
    with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
        sender = site.sender(trail)
        for commit in (True, False):
            with acting_as(ALICE), app.transaction() as transaction, app.cursor() as cursor:
                nonce = sender.send_context(cursor, current_frame())
                draft = encode_draft(
                    explicit_event("invoice.refund", transaction=nonce, details={"ok": commit})
                )
                sender.record(cursor, draft, nonce=nonce)
                if not commit:
                    import psycopg

                    raise psycopg.Rollback(transaction)
        trail.flush()
        assert [f.event.details for f in trail.events(by=ALICE)] == [{"ok": True}]


def test_a_dry_run_prints_what_it_would_do(site: Site) -> None:
    """All SQL, the relay's rights with it, and nothing is done."""
    said = site.run("install", "--dry-run")
    assert "CREATE SCHEMA indelible;" in said
    assert "GRANT DELETE ON indelible.outbox" in said
    assert "schema indelible" in site.run("status", code=1)


def test_uninstall_leaves_the_database_as_it_was(site: Site, tmp_path: Path) -> None:
    """A dump before and after is the same; waiting rows are not thrown away unasked."""
    before = site.database.server.dump(site.database.name)
    site.run("install")
    assert site.run("install").endswith("nothing had to be changed\n")
    site.database.execute("INSERT INTO invoice VALUES (3, NULL, 1)", "DELETE FROM invoice")
    assert "2 wait" in site.run("uninstall", code=1)
    site.run("relay", "--once")
    site.run("uninstall")
    assert site.database.server.dump(site.database.name) == before


def test_rolled_back_numbers_alarm_nobody(site: Site) -> None:
    """Ids that were rolled back leave no gap in any answer, and the trail verifies."""
    site.run("install")
    with site.trail() as trail:
        with contextlib.closing(site.database.connect("app")) as app:
            for n in range(6):
                with contextlib.suppress(ZeroDivisionError), app.transaction():
                    app.execute("INSERT INTO invoice VALUES (%s, NULL, 1)", (n,))
                    if n % 2:
                        raise ZeroDivisionError
        trail.flush()
        answer = trail.history(Target("invoice", 4))
        assert len(list(answer)) == 1
        assert all(not reach.missing and not reach.lost for reach in answer.sources())
        assert [n.action for n in trail.notices()] == ["changes.unattributed"]
        trail.verify()


def test_a_long_transaction_holds_what_follows_and_status_names_it(site: Site) -> None:
    """What began before an open transaction ended waits; who that is can be seen."""
    site.run("install")
    with contextlib.closing(site.database.connect("app", application_name="lazy")) as lazy:
        lazy.execute("BEGIN")
        lazy.execute("INSERT INTO invoice VALUES (1, NULL, 1)")
        site.database.execute("INSERT INTO invoice VALUES (2, NULL, 1)")
        with site.trail() as trail:
            time.sleep(0.3)
            assert list(trail.history(Target("invoice", 2))) == []
            said = site.run("status", code=0)
            assert "changes wait until it ends" in said
            assert "'lazy'" in said.replace("\n", " ")
            lazy.execute("COMMIT")
            trail.flush()
            assert len(list(trail.history(Target("invoice", 2)))) == 1


def restored(site: Site) -> None:
    """The database as it was when this was first called."""
    server = site.database.server
    with contextlib.closing(server.connect("postgres", "postgres")) as connection:
        copy = f"{site.database.name}_backup"
        exists = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", (copy,)
        ).fetchone()
        of, to = (copy, site.database.name) if exists else (site.database.name, copy)
        for name in (of, to):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (name,),
            )
        connection.execute(f"DROP DATABASE IF EXISTS {to} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {to} OWNER owner TEMPLATE {of}")


@pytest.mark.parametrize("written_after", [1, 5])
def test_restored_from_an_older_backup(site: Site, written_after: int) -> None:
    """Ids that are given out a second time are new events of a new epoch, and that is noticed; what
    the database holds then is written down anew.
    """
    price = TypedValue("pg:numeric", "1.00")
    site.run("install")

    def write(*ids: int) -> None:
        for n in ids:
            site.database.execute(f"INSERT INTO invoice VALUES ({n}, NULL, 1)")

    write(1, 2)
    site.run("relay", "--once")
    restored(site)
    write(3, 4, 5)
    site.run("relay", "--once")
    restored(site)
    write(*range(10, 10 + written_after))
    site.run("relay", "--once")
    with site.trail() as trail:
        for n in (1, 2, 3, 4, 5, *range(10, 10 + written_after)):
            history = [each.event.kind for each in trail.history(Target("invoice", n))]
            assert history.count("change") == 1, n
            states = list(trail.state(Target("invoice", n)))
            found = [each.state.columns for each in states if each.state.present]
            is_there = n not in (3, 4, 5)
            assert found == ([{"id": n, "customer_id": None, "total": price}] if is_there else [])
            assert all(each.certain for each in states)
        written = [
            (each.event.targets[0].kind, each.event.baseline.epoch)
            for each in trail.events(action="table.restored", system=True)
            if each.event.baseline is not None
        ]
        assert sorted(kind for kind, _ in written) == ["customer", "invoice"]
        assert "incarnation.opened" in [notice.action for notice in trail.notices()]
        trail.verify()


def test_triggers_are_watched_while_the_relay_runs(site: Site) -> None:
    """Disabled and enabled again, replaced, a new partition: each is noticed with its interval."""
    site.run("install")
    with site.trail() as trail:
        deadline = time.monotonic() + 20

        def noticed(text: str) -> dict[str, Any]:
            while time.monotonic() < deadline:
                for finding in trail.events(action="capture.drift", system=True):
                    details = dict(finding.event.details or {})
                    if text in str(details["message"]):
                        return details
                time.sleep(0.05)
            raise AssertionError(text)

        time.sleep(1.5)
        site.database.execute(
            "ALTER TABLE invoice DISABLE TRIGGER zz_indelible_update",
            "ALTER TABLE invoice ENABLE ALWAYS TRIGGER zz_indelible_update",
        )
        details = noticed("invoice: triggers or function were touched")
        assert details["since"] < details["until"]
        site.database.execute("CREATE TABLE late (id integer PRIMARY KEY)")
        noticed("late: new")
        site.database.execute("ALTER TABLE customer DISABLE TRIGGER USER")
        noticed("customer: trigger disabled")
    site.run("status", code=1)
    site.run("install")


def test_a_role_that_owns_the_tables_is_said(site: Site) -> None:
    """Where the application could take the triggers away, capture is detectable only."""
    site.config.write_text(site.config.read_text().replace("['app']", "['app', 'owner']"))
    assert "role owner could take the triggers away" in site.run("install")
    assert "detectable, not enforceable" in site.run("status")


def test_no_password_is_ever_shown(site: Site) -> None:
    """Not in errors, not in reprs, whatever goes wrong."""
    url = site.database.url().replace("owner@", "owner:s3cr%20et@")
    text = site.config.read_text().replace(site.database.url(), url)
    site.config.write_text(text.replace(f":{site.database.server.port}/", ":1/"))
    said = site.run("install", code=1) + site.run("status", code=1)
    assert "s3cr" not in said
    assert "s3cr" not in repr(load_policy(site.config))
    site.config.write_text(text.replace("postgresql://", "mongodb://"))
    assert "s3cr" not in site.run("status", code=1)


def test_a_database_in_use_goes_on(site: Site) -> None:
    """`install` waits for a table in short turns: writers are never kept out for long."""
    with contextlib.closing(site.database.connect("app")) as holding:
        holding.execute("BEGIN")
        holding.execute("INSERT INTO invoice VALUES (1, NULL, 1)")
        policy = load_policy(site.config)
        with site.trail() as trail, pytest.raises(Exception, match="to be free for a moment"):
            install(site.server, policy, journal=trail.journal, patience_s=0.5)
        began = time.monotonic()
        site.database.execute("INSERT INTO invoice VALUES (2, NULL, 1)")
        assert time.monotonic() - began < 1
        holding.execute("COMMIT")
    site.run("install")
    site.database.execute("INSERT INTO invoice VALUES (3, NULL, 1)")
    site.run("relay", "--once")
    with site.trail() as trail:
        for n in (1, 2, 3):
            (found,) = trail.state(Target("invoice", n))
            assert found.certain and found.state.complete

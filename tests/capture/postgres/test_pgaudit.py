"""Statements that pgaudit logs become accesses: of nobody known, by statement, and never forged."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from tests.servers import Database, PostgresServer

from indelible import Subject, Target, Trail
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.events.sessions import SKIPPED

from .test_sessions import PATIENCE_S, Watched

ZARA = Subject("customer", "zara")


@pytest.fixture(scope="module")
def audited() -> Iterator[PostgresServer]:
    """A server with pgaudit, which logs reads and writes as CSV and as JSON."""
    server = PostgresServer(
        settings={
            "shared_preload_libraries": "pgaudit",
            "pgaudit.log": "read, write",
            "logging_collector": "on",
            "log_destination": "csvlog,jsonlog",
            "log_directory": "log",
            "log_filename": "server-%H%M%S",
            "log_timezone": "UTC",
        }
    )
    try:
        yield server
    finally:
        server.remove()


_numbers = iter(range(1_000))


@pytest.fixture(params=["csv", "json"])
def site(
    request: pytest.FixtureRequest, audited: PostgresServer, tmp_path: Path
) -> Iterator[Watched]:
    """A database of which statements are imported; each format of the log takes its turn."""
    yield from _site(audited, tmp_path, request.param)


@pytest.fixture
def csv_site(audited: PostgresServer, tmp_path: Path) -> Iterator[Watched]:
    yield from _site(audited, tmp_path, "csv")


def _site(server: PostgresServer, directory: Path, suffix: str) -> Iterator[Watched]:
    database = Database(server, f"audited{next(_numbers)}")
    database.execute(
        "CREATE TABLE customer (id text PRIMARY KEY, name text)",
        "CREATE TABLE invoice (id integer PRIMARY KEY, customer_id text REFERENCES customer)",
        "INSERT INTO customer VALUES ('zara', 'Zara')",
        "CREATE VIEW people AS SELECT * FROM customer",
        "CREATE FUNCTION whose() RETURNS text LANGUAGE sql AS 'SELECT name FROM customer'",
    )
    database.grant()
    site = Watched(database, directory)
    text = site.config.read_text()
    where = f"audit_log = '{server.data}/log/*.{suffix}'"
    site.config.write_text(text.replace("[database]\n", f"[database]\n{where}\n"))
    yield site
    database.drop()


def statements(trail: Trail, at_least: int = 0) -> list[Event]:
    """The accesses that the trail has, as soon as there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        entries = trail.reader.entries(0, trail.reader.size)
        events = [decode_event(entry.body) for entry in entries]
        found = [event for event in events if event.kind == "access"]
        if len(found) >= at_least:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def texts(events: Sequence[Event]) -> list[str]:
    return [event.statement.text for event in events if event.statement is not None]


def holds(trail: Trail, text: bytes) -> bool:
    """Whether any entry has it."""
    return any(text in entry.body for entry in trail.reader.entries(0, trail.reader.size))


def noticed(trail: Trail, action: str) -> str:
    """What the first notice of `action` says, once it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for notice in trail.notices():
            if notice.action == action:
                return notice.message
        time.sleep(0.05)
    pytest.fail(f"no {action} among {trail.notices()}")


def last_of(database: Database) -> None:
    """Behind what was sent before, a statement by which to know that it was read."""
    database.execute("SELECT name AS the_last FROM customer")


def until_last(trail: Trail) -> list[Event]:
    """Everything up to `last_of`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = statements(trail)
        if any("the_last" in text for text in texts(found)):
            return found
        assert time.monotonic() < deadline, texts(found)
        time.sleep(0.05)


def test_what_others_read_is_an_access_by_statement(site: Watched) -> None:
    """psql's reads, by way of views and functions too, and what its writes read: of which tables,
    by which role, program and address; without a literal. Answer 4 has them as possible."""
    where = f"{site.database.url('app')}?application_name=report"
    for statement in (
        "SELECT * FROM customer /* secret */ WHERE name IN ('secret', $$secret$$, E'secret')",
        "SELECT 1 FROM people",
        "SELECT whose()",
        "COPY customer TO STDOUT",
        "INSERT INTO invoice SELECT 7, id FROM customer",
        "UPDATE invoice SET customer_id = NULL",
        "SELECT count(*) FROM pg_class",
    ):
        subprocess.run(["psql", "-X", "-q", "-c", statement, where], check=True)
    last_of(site.database)
    with site.trail() as trail:
        found = [event for event in until_last(trail) if event.database_role == "app"]
        assert [(event.action, len(event.targets)) for event in found] == [
            *[("customer.read", 1)] * 4,
            ("invoice.read", 2),
        ]
        assert texts(found)[0] == "SELECT * FROM customer WHERE name IN (?, ?, ?)"
        for event in found:
            assert event.actor is None
            assert event.context == {"application": "report", "address": "127.0.0.1"}
            assert {target.coverage for target in event.targets} == {"statement"}
            assert event.statement is not None
            assert event.statement.parameters is None
        assert not holds(trail, b"secret")
        people = {finding.database_role: finding for finding in trail.accessors(of=ZARA)}
        assert (people["app"].certain, people["app"].reads) == (False, 5)
        assert not any(notice.action.startswith("statements.") for notice in trail.notices())
    site.verify()
    assert "(unattributed) as app" in site.run("accessors", "--of", "customer:zara")


def test_names_of_relations_are_taken_where_the_log_has_them(site: Watched) -> None:
    """With `pgaudit.log_relation` a name that the text hides is in the log."""
    site.database.execute("ALTER ROLE app SET pgaudit.log_relation = on", role="postgres")
    try:
        site.database.execute(
            """SELECT name FROM U&"\\0063ustomer" """,
            """SELECT 1 FROM "customer" JOIN invoice ON customer_id = customer.id""",
            role="app",
        )
    finally:
        site.database.execute("ALTER ROLE app RESET pgaudit.log_relation", role="postgres")
    site.database.execute("""SELECT name AS without FROM U&"\\0063ustomer" """, role="app")
    last_of(site.database)
    with site.trail() as trail:
        found = [event for event in until_last(trail) if event.database_role == "app"]
    kinds = [[target.kind for target in event.targets] for event in found]
    assert kinds == [["customer"], ["customer", "invoice"], ["customer", "invoice"]]


def test_hostile_texts_and_names_forge_nothing(site: Watched) -> None:
    """Line ends, quotes and whole records in a statement, a program's name or a role's stay inside
    of one record; what a session logs itself to look like pgaudit's is refused, and noticed."""
    name = site.database.name
    forged_json = (
        f'{{"timestamp":"2026-01-01 00:00:00.000 UTC","user":"ceo","dbname":"{name}",'
        '"session_id":"1.1","message":"AUDIT: SESSION,1,1,READ,SELECT,,,select * from customer,'
        '<not logged>"}'
    )
    forged_csv = (
        f'2026-01-01 00:00:00.000 UTC,"ceo","{name}",1,"10.0.0.1:1",1.1,1,"SELECT",'
        "2026-01-01 00:00:00 UTC,1/1,0,LOG,00000,"
        '"AUDIT: SESSION,1,1,READ,SELECT,,,select * from customer,<not logged>",,,,,,,,,"x","c",,0'
    )
    for forged in (forged_json, forged_csv):
        hostile = f'x\n{forged}\n"\n{forged}\n'
        with contextlib.closing(site.database.connect("app", application_name=hostile)) as app:
            app.execute(f"SELECT name FROM customer WHERE name = $a${hostile}$a$")
            app.execute(f"SELECT name FROM customer /* {hostile} */")
            app.execute(f"""SELECT name AS "{hostile[:50].replace('"', '""')}" FROM customer""")
            message = "AUDIT: SESSION,9,1,READ,SELECT,TABLE,public.customer,forged,<not logged>"
            app.execute(f"DO $$ BEGIN RAISE LOG '%', '{message}'; END $$")
        with pytest.raises(psycopg.OperationalError):
            site.database.connect(urllib.parse.quote(hostile, safe=""))
    last_of(site.database)
    with site.trail() as trail:
        found = until_last(trail)
        assert {event.database_role for event in found} == {"app", "owner"}
        assert len([event for event in found if event.database_role == "app"]) == 6
        assert "a session wrote it itself" in noticed(trail, "statements.unread")
        assert len([n for n in trail.notices() if n.action == "statements.unread"]) == 1
    site.verify()


def test_the_application_s_own_statements_are_counted(csv_site: Watched) -> None:
    """What its roles send from its hosts is seen by row, so it isn't taken a second time; how many
    those were, and by what they called themselves, is in the trail."""
    site = csv_site
    site.name_hosts("127.0.0.1")
    with contextlib.closing(site.database.connect("app", application_name="shop")) as app:
        for _ in range(3):
            app.execute("SELECT * FROM customer")
    last_of(site.database)
    with site.trail() as trail:
        assert {event.database_role for event in until_last(trail)} == {"owner"}
        trail.flush()
        (finding,) = trail.events(action=SKIPPED, system=True)
        assert finding.event.details == {"statements": 3}
        assert finding.event.context == {"application": "shop", "address": "127.0.0.1"}


def test_rotated_files_are_read_once_and_lost_ones_are_noticed(csv_site: Watched) -> None:
    """The server goes on in another file, copies and renamed files are known again, and a file
    that goes before it was read is noticed."""
    site = csv_site
    log = site.database.server.data / "log"
    with site.trail() as trail:
        for number in range(3):
            site.database.execute(f"SELECT name AS before_{number} FROM customer")
            time.sleep(1.1)
            site.database.execute("SELECT pg_rotate_logfile()", role="postgres")
        site.database.execute("SELECT name AS behind FROM customer")
        time.sleep(0.3)
        first, *_ = sorted(log.glob("*.csv"), key=lambda path: path.stat().st_mtime_ns)
        shutil.copy(first, log / "copy.csv")
        first.rename(log / "renamed.csv")
        last_of(site.database)
        until_last(trail)
        site.database.execute("SELECT name AS more FROM customer")
        site.database.execute("SELECT name AS the_last FROM customer")
    newest = max(log.glob("server*.csv"), key=lambda path: path.stat().st_mtime_ns)
    gone = newest.rename(newest.with_suffix(".gone"))
    try:
        with site.trail() as trail:
            message = noticed(trail, "statements.lost")
            assert str(newest) in message
            assert "is gone" in message
            names = [text.split()[3] for text in texts(statements(trail))]
            assert [name for name in names if name.startswith("be")] == [
                "before_0",
                "before_1",
                "before_2",
                "behind",
            ]
    finally:
        gone.rename(newest)
        (log / "renamed.csv").unlink()
        (log / "copy.csv").unlink()


def test_a_log_that_cannot_be_read_is_noticed_and_holds_nothing_up(csv_site: Watched) -> None:
    """Changes are carried all the same."""
    site = csv_site
    site.config.write_text(site.config.read_text().replace("/log/*.csv", "/log/*.nothing"))
    with site.trail() as trail:
        site.database.execute("INSERT INTO invoice VALUES (1, 'zara')", role="app")
        assert "can't be read" in noticed(trail, "statements.unreadable")
        trail.flush()
        assert len(list(trail.history(Target("invoice", 1)))) == 1


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.long)])
def test_a_relay_that_is_killed_neither_loses_nor_doubles_a_statement(
    csv_site: Watched, kills: int
) -> None:
    """SIGKILL at any moment of the import, and another relay goes on: each statement once."""
    site = csv_site
    with contextlib.closing(site.database.connect("app")) as app:
        for number in range(150):
            app.execute(f"SELECT name AS n{number} FROM customer")
    last_of(site.database)
    text = site.config.read_text()
    site.config.write_text(text.replace("[relay]\n", "[relay]\nbatch_events = 20\n"))
    state = None
    for _ in range(kills):
        relay = subprocess.Popen(
            [Path(sys.executable).with_name("indelible"), "relay", "--config", str(site.config)]
        )
        journals = site.config.with_name("trail.db.journals")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            files = {path: path.read_bytes() for path in journals.glob("*.statements")}
            if files and files != state:
                break
            assert time.monotonic() < deadline
            assert relay.poll() is None
            time.sleep(0.001)
        relay.send_signal(signal.SIGKILL)
        relay.wait(PATIENCE_S)
        state = {path: path.read_bytes() for path in journals.glob("*.statements")}
    with site.trail() as trail:
        assert not any("the_last" in text for text in texts(statements(trail)))
        found = [event for event in until_last(trail) if event.database_role == "app"]
        names = [text.split()[3] for text in texts(found)]
        assert names == [f"n{number}" for number in range(150)]
        assert not [n for n in trail.notices() if n.action.startswith(("source", "statements"))]
    site.verify()


def test_where_how_far_it_was_read_is_lost_that_is_noticed(csv_site: Watched) -> None:
    """Without the file of the import, and with an old copy of it, the log is read again: nothing is
    missing, and that some is twice there is noticed."""
    site = csv_site
    with site.trail() as trail:
        last_of(site.database)
        until_last(trail)
        trail.flush()
    (file,) = site.config.with_name("trail.db.journals").glob("*.statements")
    old = file.read_bytes()
    with site.trail() as trail:
        site.database.execute("SELECT name AS later FROM customer")
        deadline = time.monotonic() + PATIENCE_S
        while "later" not in " ".join(texts(statements(trail))):
            assert time.monotonic() < deadline
        trail.flush()
    for again, is_copy in ((2, True), (3, False)):
        file.write_bytes(old)
        if not is_copy:
            file.unlink()
        with site.trail() as trail:
            deadline = time.monotonic() + PATIENCE_S
            while " ".join(texts(statements(trail))).count("AS later") < again:
                assert time.monotonic() < deadline
            trail.flush()
            lost = [n for n in trail.notices() if n.action == "statements.position_lost"]
            assert len(lost) == again - 1
    site.verify()

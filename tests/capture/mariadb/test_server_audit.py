"""Statements that server_audit logs become accesses: of nobody known, by statement."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from tests.capture.postgres.test_pgaudit import holds, noticed, texts, until_last
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible import Subject
from indelible.questions.sessions import COPIED

from .test_sessions import PATIENCE_S, TRUDY, Watched, until, watched

ZARA = Subject("customer", "zara")


@pytest.fixture(scope="module")
def audited() -> Iterator[MariadbServer]:
    """A server that logs connections, statements and the tables that they open. It has a binary
    log, and knows what programs call themselves."""
    server = MariadbServer(
        has_binary_log=True,
        options=(
            "--log-bin-trust-function-creators=ON",
            "--performance-schema=ON",
            "--plugin-load-add=server_audit",
            "--server-audit-logging=ON",
            "--server-audit-events=CONNECT,QUERY,TABLE",
        ),
    )
    try:
        yield server
    finally:
        server.remove()


_numbers = iter(range(1_000))


@pytest.fixture
def site(audited: MariadbServer, tmp_path: Path) -> Iterator[Watched]:
    database = MariadbDatabase(audited, f"audited{next(_numbers)}")
    database.execute("CREATE TABLE invoice (id INT PRIMARY KEY, customer_id VARCHAR(36))")
    site = watched(database, tmp_path)
    log = log_of(audited)
    text = site.config.read_text()
    site.config.write_text(text.replace("[database]\n", f"[database]\naudit_log = '{log}*'\n"))
    yield site
    database.drop()


def log_of(server: MariadbServer) -> Path:
    return server.directory / "data" / "server_audit.log"


def last_of(site: Watched) -> None:
    site.database.execute("SELECT name AS the_last FROM customer")


def test_what_others_read_is_an_access_by_statement(site: Watched) -> None:
    """The client's reads and what its writes read, of which tables, by which account and address,
    without a literal; what was refused counts as tried. Answer 4 has them as possible."""
    where = ["-h127.0.0.1", f"-P{site.database.server.port}", "-uapp", "-papp"]
    for statement in (
        "SELECT * FROM customer WHERE name IN ('secret', \"secret\", x'736563726574') # secret",
        "SELECT name FROM customer WHERE name = 'secret\\' -- \n'",
        f"SELECT 1 FROM {site.database.name}.invoice JOIN {site.database.name}.customer",
        "INSERT INTO invoice SELECT 7, id FROM customer",
        "UPDATE invoice SET customer_id = NULL",
        "SELECT COUNT(*) FROM information_schema.TABLES",
    ):
        subprocess.run(
            ["mariadb", "--no-defaults", *where, site.database.name, "-e", statement],
            check=True,
            capture_output=True,
        )
    last_of(site)
    with site.trail() as trail:
        found = [event for event in until_last(trail) if event.database_role == "app"]
        kinds = [sorted(target.kind for target in event.targets) for event in found]
        assert kinds == [["customer"], ["customer"], ["customer", "invoice"], ["customer"]]
        assert texts(found)[0] == "SELECT * FROM customer WHERE name IN (?, ?, ?)"
        # What a backslash means hangs on the session.
        assert texts(found)[1] == "SELECT (not shown)"
        for event in found:
            assert event.actor is None
            assert event.context == {"address": "127.0.0.1"}
            assert {target.coverage for target in event.targets} == {"statement"}
        assert not holds(trail, b"secret")
        assert not holds(trail, b"736563")
        people = {finding.database_role: finding for finding in trail.accessors(of=ZARA)}
        assert (people["app"].certain, people["app"].reads) == (False, 4)
        assert not any(notice.action.startswith("statements.") for notice in trail.notices())
    site.verify()


def test_without_tables_in_the_log_they_are_those_that_a_text_may_name(site: Watched) -> None:
    """However the name is quoted, in what only some servers take for a comment, or behind a text
    that isn't understood."""
    server = site.database.server
    server.execute("SET GLOBAL server_audit_events = 'CONNECT,QUERY'")
    try:
        with contextlib.closing(site.database.connect("app")) as app, app.cursor() as cursor:
            for text in (
                "SELECT 1 FROM `customer`",
                "SELECT /*!50000 1 FROM customer */",
                "SELECT 'it\\'s' FROM customer",
                "SET sql_mode = 'ANSI_QUOTES'",
                'SELECT 1 FROM "customer"',
                "SELECT 1",
            ):
                cursor.execute(text)
        last_of(site)
        with site.trail() as trail:
            found = [event for event in until_last(trail) if event.database_role == "app"]
    finally:
        server.execute("SET GLOBAL server_audit_events = 'CONNECT,QUERY,TABLE'")
    assert [event.action for event in found] == ["customer.read"] * 4


def test_the_name_of_who_is_not_let_in_can_hold_lines_and_they_are_doubted(site: Watched) -> None:
    """server_audit writes such a name as it came. Lines made up in that way say themselves that
    they may be, and a statement stays inside of its line."""
    name = site.database.name
    made_up = f"20261130 10:00:00,h,ceo,10.0.0.1,1,1,QUERY,{name},'SELECT * FROM customer',0"
    with contextlib.closing(site.database.connect("app")) as app, app.cursor() as cursor:
        cursor.execute("SELECT name AS quoted FROM customer WHERE name = %s", (f"a\n{made_up}\n",))
    time.sleep(0.2)
    for account in (f"x\n{made_up}\n20261130 10:00:00,h,y", f"a,1,1,1\n{made_up}\nb"):
        with pytest.raises(pymysql.OperationalError):
            pymysql.connect(
                host="127.0.0.1", port=site.database.server.port, user=account, password="x"
            )
    with contextlib.closing(site.database.connect("app")) as app, app.cursor() as cursor:
        cursor.execute("SELECT name AS far FROM customer WHERE name = %s", ("y" * 1_000,))
        cursor.execute("SELECT name AS near FROM customer")
    last_of(site)
    with site.trail() as trail:
        found = until_last(trail)
        doubted = {
            event.database_role for event in found if "perhaps made up" in str(event.targets[0].why)
        }
        assert "ceo" in doubted
        assert all(
            "perhaps made up" in str(event.targets[0].why)
            for event in found
            if event.database_role == "ceo"
        )
        plain = [
            text
            for event, text in zip(found, texts(found), strict=True)
            if "perhaps" not in str(event.targets[0].why)
        ]
        assert "SELECT name AS near FROM customer" in plain
        assert "server_audit's" in noticed(trail, "statements.unread")


def test_rotated_files_are_read_once(site: Watched) -> None:
    """The server renames its files, and each statement is imported once."""
    with site.trail() as trail:
        for number in range(3):
            site.database.execute(f"SELECT name AS be_{number} FROM customer")
            site.database.server.execute("SET GLOBAL server_audit_file_rotate_now = ON")
        site.database.execute("SELECT name AS be_3 FROM customer")
        last_of(site)
        found = until_last(trail)
    told = re.findall(r"AS (be_\d|the_last)", " ".join(texts(found)))
    assert told == ["be_0", "be_1", "be_2", "be_3", "the_last"]
    files = list(log_of(site.database.server).parent.glob("server_audit.log*"))
    assert len(files) == 4
    with site.trail() as trail:
        time.sleep(0.5)
        trail.flush()
        assert not [n for n in trail.notices() if n.action == "statements.lost"]
        assert texts(until_last(trail)) == texts(found)


def test_a_replica_is_seen_as_what_copies_everything(site: Watched) -> None:
    """Whoever reads the binary log gets every row. Where the server tells it, its program shows."""
    server = site.database.server
    server.execute(
        "CREATE USER copy@'%' IDENTIFIED BY 'copy'",
        "GRANT BINLOG MONITOR ON *.* TO copy@'%'",
        "GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
        "GRANT SELECT ON performance_schema.* TO owner@'%'",
    )
    with site.trail() as trail:
        copier = subprocess.Popen(
            [
                "mariadb-binlog",
                "--no-defaults",
                "-R",
                "-h127.0.0.1",
                f"-P{server.port}",
                "-ucopy",
                "-pcopy",
                "--stop-never",
                "binary.000001",
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            seen = until(trail, lambda span: span.role == "copy" and span.how == "replication")
            assert seen.program == "mysqlbinlog"
        finally:
            copier.kill()
            copier.wait(PATIENCE_S)
        trail.flush()
        why = {
            finding.why for finding in trail.accesses(by=TRUDY).sessions() if finding.role == "copy"
        }
        assert COPIED in why

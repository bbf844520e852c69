"""Other clients of a MariaDB server: who was connected, and what answers say of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from tests.capture.postgres.test_sessions import EVERY_S, PATIENCE_S, TRUDY, counted, until
from tests.capture.postgres.test_sessions import Watched as AnyWatched
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible.events.sessions import ENDED
from indelible.questions.sessions import COPIED, OTHER


class Watched(AnyWatched):
    """A database of MariaDB whose sessions are looked at ten times a second."""

    database: MariadbDatabase


def watched(database: MariadbDatabase, directory: Path) -> Watched:
    database.execute(
        "CREATE TABLE customer (id VARCHAR(36) PRIMARY KEY, name TEXT)",
        "INSERT INTO customer VALUES ('zara', 'Zara')",
    )
    return Watched(database, directory)


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Watched:
    return watched(mariadb_database, tmp_path)


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Watched]:
    """A server with a binary log, and with names of programs."""
    server = MariadbServer(has_binary_log=True, options=("--performance-schema=ON",))
    try:
        server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
        yield watched(MariadbDatabase(server, "app"), tmp_path)
    finally:
        server.remove()


def client(database: MariadbDatabase, account: str) -> subprocess.Popen[str]:
    """The command line's client, connected and idle behind a read."""
    where = ["-h127.0.0.1", f"-P{database.server.port}", f"-u{account}", f"-p{account}"]
    started = subprocess.Popen(
        ["mariadb", "--no-defaults", "--unbuffered", "-N", *where, database.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write("SELECT name FROM customer;\n")
    started.stdin.flush()
    assert started.stdout.readline() == "Zara\n"
    return started


def test_the_client_of_the_command_line_is_seen_with_its_span(site: Watched) -> None:
    """Account, address, and a span that begins where the look before was, as the server doesn't
    tell when a session began. Statements may name any database, so all sessions count."""
    with site.trail() as trail:
        time.sleep(3 * EVERY_S)
        before = trail.window("now", None).since
        reader = client(site.database, "app")
        elsewhere = site.database.server.connect("root")
        seen = until(trail, lambda span: span.role == "app")
        until(trail, lambda span: span.role == "root")
        assert before is not None
        assert seen.since <= str(seen.first_seen)
        assert (seen.program, seen.address) == (None, "127.0.0.1")
        reader.communicate("quit\n", timeout=PATIENCE_S)
        elsewhere.close()
        ended = until(trail, lambda span: (span.action, span.role) == (ENDED, "app"))
        assert ended.since == seen.since
        assert str(ended.last_seen) <= ended.until
        until(trail, lambda span: (span.action, span.role) == (ENDED, "root"))
        trail.flush()
        roles = {finding.role: finding for finding in trail.accesses(by=TRUDY).sessions()}
        assert (roles["root"].why, roles["app"].sessions) == (OTHER, 1)
    site.verify()


def test_sessions_shorter_than_a_look_are_counted(site: Watched) -> None:
    """All that the server let in but those that were seen; who was refused isn't counted."""

    def connect() -> None:
        site.database.connect("app").close()
        with pytest.raises(pymysql.OperationalError):
            site.database.server.connect("nobody")

    counted(site, None, "app", connect)


def test_a_replica_is_seen_as_what_copies_everything(replicated: Watched) -> None:
    """Whoever reads the binary log gets every row. Where the server tells it, its program shows."""
    server = replicated.database.server
    server.execute(
        "CREATE USER copy@'%' IDENTIFIED BY 'copy'",
        "GRANT BINLOG MONITOR ON *.* TO copy@'%'",
        "GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
        "GRANT SELECT ON performance_schema.* TO owner@'%'",
    )
    with replicated.trail() as trail:
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

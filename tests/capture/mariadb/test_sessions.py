"""Other clients of a MariaDB server: who was connected, and what answers say of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pymysql
import pytest
from tests.capture.postgres.test_sessions import EVERY_S, PATIENCE_S, TRUDY, counted, until
from tests.capture.postgres.test_sessions import Watched as AnyWatched
from tests.mariadb_server import MariadbDatabase

from indelible.events.sessions import ENDED
from indelible.questions.sessions import OTHER


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

"""The log from install to answers: as profile, compared with triggers, lost, and taken away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.capture.writes.folding import event_of
from tests.servers import Database, PostgresServer

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.postgres.install import check
from indelible.capture.postgres.log import LogDrain
from indelible.events.context import current_frame
from indelible.policy.model import Profile, Server

from .capturing import Captured, MemoryJournal
from .test_trail import Site

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")
TABLE = "CREATE TABLE t (id integer PRIMARY KEY, v text)"


def site_of(database: Database, directory: Path, profile: Any = "log") -> Site:
    database.execute(TABLE)
    database.grant()
    site = Site(database, directory, profile=profile)
    site.run("install")
    return site


def write(site: Site, trail: Trail, actor: Actor, *statements: str) -> None:
    with (
        contextlib.closing(site.database.connect("app")) as app,
        acting_as(actor),
        app.transaction(),
    ):
        site.sender(trail).send_context(app.cursor(), current_frame())
        for statement in statements:
            app.execute(statement)


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def slots(database: Database) -> list[str]:
    with contextlib.closing(database.connect("postgres")) as look:
        found = look.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        ).fetchall()
    return [slot for (slot,) in found]


def noticed(trail: Trail) -> list[str]:
    return [notice.action for notice in trail.notices()]


def test_from_install_to_answers(logged: Database, tmp_path: Path) -> None:
    """Questions, state and proofs know no difference; nothing is doubtful or missing."""
    site = site_of(logged, tmp_path)
    with site.trail() as trail:
        write(site, trail, ALICE, "INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'")
        time.sleep(1.2)
        write(site, trail, ALICE, "UPDATE t SET v = 'c'")
        trail.flush()
        answer = trail.changes(by=ALICE)
        assert [f.event.action for f in answer] == ["t.insert", "t.update", "t.update"]
        assert all(f.certain for f in answer)
        assert all(not reach.missing and not reach.lost for reach in answer.sources())
        (found,) = trail.state(Target("t", 1))
        assert found.state.columns["v"] == "c"
        write(site, trail, BOB, "TRUNCATE t")
        trail.flush()
        (emptied,) = trail.changes(by=BOB)
        assert (emptied.event.action, emptied.certain) == ("t.truncate", False)
        (found,) = trail.state(Target("t", 1))
        assert not found.certain
        assert noticed(trail) == []
        trail.verify()
    assert "bytes kept (reserved)" in site.run("status")


def test_what_was_written_down_is_not_read_again(logged: Database) -> None:
    """Whoever dies before the slot is moved on leaves no second copy; what nobody has to be told
    isn't written down for ever."""
    logged.execute(TABLE)
    captured = Captured(logged, profile="log")
    for n in range(3):
        logged.execute(f"INSERT INTO t VALUES ({n}, 'x'), ({n + 10}, 'y')")
        with captured.ours() as connection:
            LogDrain(connection).drain()  # and never moves the slot on
    with captured.ours() as connection:
        drain = LogDrain(connection)

        def is_quiet() -> bool:
            ends = []
            for _ in range(3):
                drain.drain()
                ends.append(connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone())
            return len(set(ends)) == 1

        assert any(is_quiet() for _ in range(5))  # the server itself writes something now and then
    assert len(captured.rows()) == 6


def test_a_backlog_of_what_concerns_nobody(logged: Database) -> None:
    """More messages of others than are read at once, then a change: it comes."""
    logged.execute(TABLE)
    captured = Captured(logged, profile="log")
    logged.execute(
        "DO $$ BEGIN FOR n IN 1..20500 LOOP PERFORM pg_logical_emit_message(false, 'other', ''); "
        "END LOOP; END $$",
        "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 25000) AS n",
    )
    assert len(captured.rows()) == 25_000


def test_relays_at_once(logged: Database) -> None:
    """Two that read at the same time wait for each other, and write each row once."""
    from concurrent.futures import ThreadPoolExecutor

    logged.execute(TABLE)
    captured = Captured(logged, profile="log")

    def drain() -> None:
        with captured.ours() as connection:
            for _ in range(10):
                LogDrain(connection).drain()

    with ThreadPoolExecutor(3) as threads:
        drains = [threads.submit(drain) for _ in range(2)]
        for n in range(60):
            logged.execute(f"INSERT INTO t VALUES ({n}, 'x')")
        for one in drains:
            one.result()
    assert len(captured.rows()) == 60


def lose_slot(database: Database) -> None:
    """Drop it, as whoever has REPLICATION may."""
    with contextlib.closing(database.connect("postgres")) as connection:
        for slot in slots(database):
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def make_anew(database: Database) -> None:
    (slot,) = slots(database)
    lose_slot(database)
    with contextlib.closing(database.connect("postgres")) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))


def read_away(database: Database) -> None:
    with contextlib.closing(database.connect("postgres")) as connection:
        for slot in slots(database):
            connection.execute(
                "SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", (slot,)
            )


def drop_publication(database: Database) -> None:
    database.execute("DROP PUBLICATION indelible", "INSERT INTO t VALUES (8, 'after')")


@pytest.mark.parametrize("lose", [lose_slot, make_anew, read_away, drop_publication])
def test_whoever_takes_the_log_away_leaves_a_gap(
    logged: Database, lose: Callable[[Database], None]
) -> None:
    """Once, and what was read before stays."""
    logged.execute(TABLE)
    captured = Captured(logged, profile="log")
    logged.execute("INSERT INTO t VALUES (1, 'seen')")
    assert len(captured.rows()) == 1
    logged.execute("INSERT INTO t VALUES (2, 'unseen')")
    lose(logged)
    for _ in range(2):
        events = [event_of(one.draft) for one in captured.decoded().events]
        assert [event.action for event in events] == ["t.insert", "log.lost"]
    (drift, *_) = check(captured.server, captured.policy)
    assert drift.table == "indelible.log"
    captured.install()
    logged.execute("INSERT INTO t VALUES (3, 'seen')")
    assert len(captured.rows()) == 3
    assert check(captured.server, captured.policy) == []


def test_a_log_that_was_lost_is_a_gap(logged: Database, tmp_path: Path) -> None:
    """An entry says since when and from where on; capture goes on by triggers, with a baseline of
    what is there; `install` goes back to the log."""
    site = site_of(logged, tmp_path)
    with site.trail() as trail:
        write(site, trail, ALICE, "INSERT INTO t VALUES (1, 'a')")
        trail.flush()
    site.database.execute("INSERT INTO t VALUES (2, 'unseen')")
    lose_slot(logged)
    with site.trail() as trail:
        wait_for(lambda: "capture.fell_back" in noticed(trail))
        (lost,) = trail.events(action="log.lost", system=True)
        details = lost.event.details or {}
        assert str(details["since"]) < str(details["until"])
        assert "/" in str(details["since_lsn"])
        write(site, trail, ALICE, "UPDATE t SET v = 'seen' WHERE id = 2")
        trail.flush()
        (found,) = trail.state(Target("t", 2))
        assert found.state.columns == {"id": 2, "v": "seen"}
        assert [f.event.action for f in trail.history(Target("t", 2)) if f.event.actor] == [
            "t.update"
        ]
        assert noticed(trail).count("log.lost") == 1
        trail.verify()
    assert "captured by triggers, by log in the policy" in site.run("status", code=1)
    assert site.run("install")
    with site.trail() as trail:
        write(site, trail, BOB, "DELETE FROM t WHERE id = 2")
        trail.flush()
        assert [f.event.database_role for f in trail.changes(by=BOB)] == [None]
    with contextlib.closing(site.database.connect("postgres")) as look:
        assert look.execute(
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
        ).fetchone() == (0,)


def test_a_slot_that_the_server_gave_up(tmp_path: Path) -> None:
    """Beyond max_slot_wal_keep_size the server removes what the slot needs: noticed while nothing
    is lost yet, and then the same gap."""
    server = PostgresServer(
        settings={
            "wal_level": "logical",
            "max_slot_wal_keep_size": "1MB",
            "min_wal_size": "32MB",
        }
    )
    try:
        site = site_of(Database(server, "app"), tmp_path)
        site.database.execute("INSERT INTO t VALUES (1, 'x')")
        with contextlib.closing(server.connect("postgres", "postgres")) as connection:

            def fill_log() -> None:
                for _ in range(4):
                    connection.execute(
                        "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'x', 'y')"
                    )

            fill_log()
            assert "bytes kept (unreserved)" in site.run("status")
            with site.trail() as trail:
                wait_for(lambda: "log.endangered" in noticed(trail))
                trail.flush()
                assert len(list(trail.history(Target("t", 1)))) == 1
            site.database.execute("UPDATE t SET v = 'really unseen'")
            fill_log()
            connection.execute("CHECKPOINT")
        assert "the server removed" in site.run("status", code=1)
        with site.trail() as trail:
            wait_for(lambda: "capture.fell_back" in noticed(trail))
            (lost,) = trail.events(action="log.lost", system=True)
            assert "max_slot_wal_keep_size" in str((lost.event.details or {})["message"])
            trail.flush()
            (found,) = trail.state(Target("t", 1))
            assert found.state.columns["v"] == "really unseen"
    finally:
        server.remove()


def test_both_compare(logged: Database, tmp_path: Path) -> None:
    """Each change is told once, by triggers; what they didn't see and the log did is an entry, and
    so is what stands in the outbox and not in the log."""
    site = site_of(logged, tmp_path, "both")
    with site.trail() as trail:
        write(site, trail, ALICE, "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "UPDATE t SET v = 'c'")
        site.database.execute("TRUNCATE t", "INSERT INTO t VALUES (3, 'd')")
        site.database.execute("BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT")
        trail.flush()
        assert len(list(trail.changes(by=ALICE))) == 4
        assert noticed(trail) == ["changes.unattributed"] * noticed(trail).count(
            "changes.unattributed"
        )
        # All of one transaction, so that nobody who watches the catalogue finds a difference.
        site.database.execute(
            "BEGIN; ALTER TABLE t DISABLE TRIGGER ALL; DELETE FROM t; "
            "ALTER TABLE t ENABLE ALWAYS TRIGGER zz_indelible_delete; COMMIT"
        )
        wait_for(lambda: "capture.differs" in noticed(trail))
        with contextlib.closing(site.database.connect("postgres")) as superuser:
            superuser.execute(
                "INSERT INTO indelible.outbox (layout, op, depth, new) VALUES (1, 1, 0, '(9,x)')"
            )
        wait_for(lambda: noticed(trail).count("capture.differs") == 2)
        trail.flush()
        hidden, forged = (
            finding.event.details or {}
            for finding in trail.events(action="capture.differs", system=True)
        )
        assert (hidden["table"], hidden["gone_by_triggers"], hidden["gone_in_log"]) == (
            "t",
            "0",
            "1",
        )
        assert (forged["come_by_triggers"], forged["come_in_log"]) == ("1", "0")
        trail.verify()


def test_from_one_profile_to_the_other(logged: Database, tmp_path: Path) -> None:
    """Whatever sees the writes, each is told once, and none is missing in between."""
    site = site_of(logged, tmp_path, "triggers")
    row = iter(range(100))
    expected = 0
    for profile in ("log", "both", "log", "triggers"):
        site.database.execute(f"INSERT INTO t VALUES ({next(row)}, 'x')")
        text = site.config.read_text()
        before = text.partition("profile = '")[2].partition("'")[0]
        site.config.write_text(text.replace(f"profile = '{before}'", f"profile = '{profile}'"))
        assert "changed since the last time: t: captured by" in site.run("install")
        assert site.run("install").endswith("nothing had to be changed\n")
        site.database.execute(f"INSERT INTO t VALUES ({next(row)}, 'y')")
        expected += 2
        with site.trail() as trail:
            trail.flush()
            for n in range(expected):
                history = [f.event.kind for f in trail.history(Target("t", n))]
                assert history.count("change") == 1, (profile, n)
            assert set(noticed(trail)) == {"changes.unattributed"}
    assert slots(logged) == []


class Failing(MemoryJournal):
    """A disk that is full."""

    def sync(self) -> None:
        raise OSError("no space left")


@pytest.mark.parametrize(
    ("before", "after"),
    [("triggers", "log"), ("both", "log"), ("log", "both"), ("log", "triggers")],
)
def test_a_change_of_profile_that_was_interrupted(
    logged: Database, before: Profile, after: Profile
) -> None:
    """Behind the first of two tables: each write is told once, meanwhile and after the next run."""
    logged.execute(TABLE, "CREATE TABLE u (id integer PRIMARY KEY, v text)")
    captured = Captured(logged, profile=before)
    captured.server = Server(logged.url(), ("app",), after)
    captured.journal = Failing()
    with pytest.raises(OSError, match="no space"):
        captured.install()
    logged.execute("INSERT INTO t VALUES (1, 'x')", "INSERT INTO u VALUES (1, 'x')")
    assert len(captured.rows()) == 2
    captured.journal = MemoryJournal()
    captured.install()
    logged.execute("DELETE FROM t", "DELETE FROM u")
    events = [event_of(one.draft) for one in captured.decoded().events]
    for table in "tu":
        of_table = [event.action for event in events if event.targets[0].kind == table]
        assert of_table == [f"{table}.insert", f"{table}.delete"]
    assert captured.install().statements == ()


@pytest.mark.parametrize("profile", ["log", "both"])
def test_uninstall_leaves_the_database_as_it_was(
    logged: Database, tmp_path: Path, profile: str
) -> None:
    """Identities, publication and slot; what the log has yet to tell isn't thrown away unasked."""
    logged.execute(
        "CREATE TABLE identified (v integer NOT NULL, w text)",
        "CREATE UNIQUE INDEX identity ON identified (v)",
        "ALTER TABLE identified REPLICA IDENTITY USING INDEX identity",
        "CREATE TABLE nothing (v integer)",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        TABLE,
    )
    before = logged.server.dump(logged.name)
    site = Site(logged, tmp_path, profile=profile)  # type: ignore[arg-type]
    said = site.run("install", "--dry-run")
    assert "SELECT pg_create_logical_replication_slot('indelible_" in said
    assert 'ALTER TABLE "public"."nothing" REPLICA IDENTITY FULL;' in said
    assert logged.server.dump(logged.name) == before
    site.run("install")
    assert site.run("install").endswith("nothing had to be changed\n")
    logged.execute("INSERT INTO nothing VALUES (1)", "UPDATE nothing SET v = 2")
    logged.execute("DELETE FROM nothing")
    assert "3 wait" in site.run("uninstall", code=1)
    site.run("relay", "--once")
    site.run("uninstall")
    assert logged.server.dump(logged.name) == before
    assert slots(logged) == []


def test_what_the_server_lacks_is_said(
    database: Database, logged: Database, tmp_path: Path
) -> None:
    """The wal_level, the role's right, the application's right: each with what to do."""
    database.execute(TABLE)
    said = Site(database, tmp_path, profile="log").run("install", code=1)
    assert "expected wal_level = logical" in said
    (tmp_path / "2").mkdir()
    logged.execute(TABLE)
    site = Site(logged, tmp_path / "2", profile="log")
    with contextlib.closing(logged.connect("postgres")) as superuser:
        superuser.execute("ALTER ROLE owner NOREPLICATION")
        assert "ALTER ROLE owner REPLICATION" in site.run("install", code=1)
        superuser.execute("ALTER ROLE owner REPLICATION")
        of = "pg_catalog.pg_logical_emit_message(boolean, text, bytea)"
        superuser.execute(f"REVOKE EXECUTE ON FUNCTION {of} FROM PUBLIC")
        assert "GRANT EXECUTE ON FUNCTION pg_logical_emit_message" in site.run("install", code=1)
        superuser.execute(f"GRANT EXECUTE ON FUNCTION {of} TO PUBLIC")
    site.run("install")


def test_a_relay_of_its_own_role(logged: Database, tmp_path: Path) -> None:
    """What `--dry-run` grants is enough for the relay, and the application can touch nothing."""
    site = site_of(logged, tmp_path)
    rights = [
        line.removeprefix("-- ").rstrip(";")
        for line in site.run("install", "--dry-run").splitlines()
        if line.startswith("-- ") and '"indelible_relay"' in line
    ]
    with contextlib.closing(logged.connect("postgres")) as superuser:
        superuser.execute("CREATE ROLE indelible_relay LOGIN")
        try:
            for statement in rights:
                superuser.execute(statement)
            assert "not captured" not in site.run("status")
            config = site.config.read_text()
            site.config.write_text(config.replace("//owner@", "//indelible_relay@"))
            with site.trail() as trail:
                logged.execute("INSERT INTO t VALUES (1, 'x')")
                trail.flush()
                assert len(list(trail.history(Target("t", 1)))) == 1
                lose_slot(logged)
                wait_for(lambda: "capture.fallback_failed" in noticed(trail))
                assert noticed(trail).count("log.lost") == 1
        finally:
            superuser.execute("DROP OWNED BY indelible_relay")
            superuser.execute("DROP ROLE indelible_relay")


def test_the_application_touches_nothing_of_ours(logged: Database) -> None:
    """Neither what is written down of the log, nor what makes it be told, nor the slot."""
    logged.execute(TABLE)
    logged.grant()
    Captured(logged, profile="log")
    with contextlib.closing(logged.connect("app")) as app:
        for statement in (
            "DO $$ BEGIN LOCK TABLE indelible.log IN ACCESS SHARE MODE; END $$",
            "UPDATE indelible.log SET lost = 'x'",
            "DELETE FROM indelible.log_counts",
            "UPDATE indelible.published SET subject_sql = 'SELECT 1'",
            "ALTER PUBLICATION indelible DROP TABLE t",
            "ALTER TABLE t REPLICA IDENTITY DEFAULT",
            f"SELECT pg_logical_slot_get_changes('{slots(logged)[0]}', NULL, NULL)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER PUBLICATION indelible DROP TABLE t", "t: not in the publication, or in part"),
        (
            "ALTER PUBLICATION indelible DROP TABLE t; ALTER PUBLICATION indelible ADD TABLE t",
            "t: the publication was touched, and is again as it was",
        ),
        ("ALTER PUBLICATION indelible SET TABLE t WHERE (id > 5)", "t: not in the publication"),
        ("ALTER PUBLICATION indelible SET (publish = 'insert')", "t: not in the publication"),
        ("ALTER TABLE t REPLICA IDENTITY DEFAULT", "t: its REPLICA IDENTITY isn't FULL"),
        ("ALTER TABLE t ADD COLUMN w integer", "t: altered"),
        ("CREATE TABLE fresh (id integer PRIMARY KEY)", "fresh: new"),
    ],
)
def test_what_the_owner_does_is_drift_until_the_next_install(
    logged: Database, statement: str, what: str
) -> None:
    """A table that is taken out of the log, in whole or in part, and what `install` puts right."""
    logged.execute(TABLE)
    captured = Captured(logged, profile="log")
    logged.execute(*statement.split("; "))
    found = [str(drift) for drift in check(captured.server, captured.policy)]
    assert any(what in drift for drift in found), found
    captured.install()
    assert check(captured.server, captured.policy) == []
    logged.execute("INSERT INTO t (id) VALUES (1)", "UPDATE t SET v = 'b'", "DELETE FROM t")
    assert len(captured.rows()) == 3


def test_drift_is_noticed_while_the_relay_runs(logged: Database, tmp_path: Path) -> None:
    """A table that was taken out of the publication is an entry, with its interval."""
    site = site_of(logged, tmp_path)
    with site.trail() as trail:
        time.sleep(1.2)
        site.database.execute("ALTER PUBLICATION indelible DROP TABLE t")
        wait_for(lambda: "capture.drift" in noticed(trail))
        (drift,) = trail.events(action="capture.drift", system=True)
        details = drift.event.details or {}
        assert "t: not in the publication" in str(details["message"])
        assert str(details["since"]) < str(details["until"])
    assert "t: not in the publication" in site.run("status", code=1).replace("\n", " ")

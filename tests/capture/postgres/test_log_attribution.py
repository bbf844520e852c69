"""Under `profile = "log"` who acts is told in the log: to the transaction, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.capture.writes.folding import event_of
from tests.servers import Database, PgBouncer

from indelible import Actor, Target, acting_as
from indelible.capture.asyncpg import connect
from indelible.capture.sqlalchemy import capture
from indelible.events.context import current_frame
from indelible.events.model import Event

from .capturing import Captured
from .test_trail import Site

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


@pytest.fixture
def captured(logged: Database) -> Captured:
    logged.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")
    logged.grant()
    return Captured(logged, profile="log")


@pytest.fixture
def site(logged: Database, tmp_path: Path) -> Site:
    logged.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")
    logged.grant()
    found = Site(logged, tmp_path, profile="log")
    found.run("install")
    return found


def events(captured: Captured) -> list[Event]:
    return [event_of(one.draft, one.seq) for one in captured.decoded().events]


def test_each_actor_of_a_transaction(captured: Captured) -> None:
    """What is told counts from there on, and what a savepoint takes back doesn't."""
    sender = captured.sender()
    with contextlib.closing(captured.database.connect("app")) as app, app.transaction():
        cursor = app.cursor()
        cursor.execute("INSERT INTO t VALUES (1, 'nobody')")
        with acting_as(ALICE):
            nonce = sender.send_context(cursor, current_frame())
        cursor.execute("INSERT INTO t VALUES (2, 'alice')")
        cursor.execute("SAVEPOINT s")
        with acting_as(BOB):
            sender.send_context(cursor, current_frame(), nonce=nonce)
        cursor.execute("INSERT INTO t VALUES (3, 'bob')")
        cursor.execute("ROLLBACK TO s")
        cursor.execute("INSERT INTO t VALUES (4, 'alice')")
    assert [(event.targets[0].ids[0][0], event.actor) for event in events(captured)] == [
        (1, None),
        (2, ALICE),
        (4, ALICE),
    ]


def test_a_live_context_is_good_for_one_transaction(captured: Captured) -> None:
    """Copied into a second transaction it is contested, however the two lie between each other."""
    sender = captured.sender()
    with (
        contextlib.closing(captured.database.connect("app")) as one,
        contextlib.closing(captured.database.connect("app")) as two,
    ):
        with acting_as(ALICE):
            one.execute("BEGIN")
            sender.send_context(one.cursor(), current_frame())
        stolen = one.execute("SELECT current_setting('indelible.ctx')").fetchone()
        one.execute("INSERT INTO t VALUES (1, 'x')")
        one.execute("COMMIT")
        two.execute("BEGIN")
        two.execute(
            "SELECT pg_logical_emit_message(true, 'indelible', convert_to(%s, 'UTF8'))", stolen
        )
        two.execute("INSERT INTO t VALUES (2, 'x')")
        two.execute("COMMIT")
        one.execute("INSERT INTO t VALUES (3, 'x')")
    decoded = captured.decoded()
    assert [notice.action for notice in decoded.notices] == ["context.contested"]
    found = [event_of(event.draft) for event in decoded.events]
    assert [event.actor for event in found] == [ALICE, None, None]
    assert found[1].details == {"attribution": "contested", "claimed_actor": "staff:alice"}


@pytest.mark.parametrize(
    "content",
    [
        '\'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{"nonce":"a:1","actor":'
        '{"kind":"staff","id":"alice"}}\'',
        "'\\x00ff00'::bytea",
        "decode(repeat('00', 100000), 'hex')",
    ],
)
def test_an_actor_is_not_minted_by_hand(captured: Captured, content: str) -> None:
    """A message that Indelible didn't sign, of whatever bytes, is nobody's, and noticed; nor does
    any keep the log from being read."""
    with contextlib.closing(captured.database.connect("app")) as app:
        app.execute(
            f"BEGIN; SELECT pg_logical_emit_message(true, 'indelible', {content});"
            "INSERT INTO t VALUES (1, 'x'); COMMIT"
        )
        app.execute(f"SELECT pg_logical_emit_message(false, 'indelible', {content})")
        app.execute("INSERT INTO t VALUES (2, 'x')")
    decoded = captured.decoded()
    assert [notice.action for notice in decoded.notices] == ["context.invalid"]
    assert [event_of(event.draft).actor for event in decoded.events] == [None, None]


def test_no_event_is_forged_by_hand(captured: Captured) -> None:
    """An explicit event that wasn't signed for this transaction is set aside, and noticed."""
    with contextlib.closing(captured.database.connect("app")) as app:
        for content in ("'e30= x'", "''", "'\\x00'::bytea"):
            app.execute(f"SELECT pg_logical_emit_message(true, 'indelible.event', {content})")
    decoded = captured.decoded()
    assert [event_of(event.draft).action for event in decoded.events] == ["outbox.unreadable"] * 3
    assert [notice.action for notice in decoded.notices] == ["outbox.unreadable"] * 3


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_through_an_engine(site: Site, driver: str) -> None:
    """In a transaction and in autocommit, with an explicit event in the same transaction."""
    engine = create_engine(site.database.url("app").replace("postgresql:", f"postgresql+{driver}:"))
    with site.trail() as trail:
        capture(engine, trail)
        with acting_as(ALICE), engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (1, 'x')"))
            trail.record("t.checked", target=Target("t", 1), on=connection)
        with acting_as(BOB), engine.connect() as connection:
            trail.record("t.forgotten", on=connection)
            connection.rollback()
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("UPDATE t SET v = 'y'"))
        engine.dispose()
        trail.flush()
        (inserted,), (updated,) = trail.changes(by=ALICE), trail.changes(by=BOB)
        assert [one.event.action for one in (inserted, updated)] == ["t.insert", "t.update"]
        (checked,) = trail.events(action="t.*")
        assert (checked.event.action, checked.event.actor) == ("t.checked", ALICE)
        assert checked.event.transaction == inserted.event.transaction
        assert list(trail.notices()) == []
        trail.verify()


def test_through_plain_asyncpg(site: Site) -> None:
    """Its numbered parameters say the same."""

    async def work() -> None:
        connection = await connect(site.database.url("app"), trail=trail)
        with acting_as(ALICE):
            await connection.execute("INSERT INTO t VALUES (1, 'x')")
            async with connection.transaction():
                await connection.execute("UPDATE t SET v = $1", "y")
        await connection.close()

    with site.trail() as trail:
        asyncio.run(work())
        trail.flush()
        assert [f.event.action for f in trail.changes(by=ALICE)] == ["t.insert", "t.update"]
        assert list(trail.notices()) == []


def test_a_prepared_transaction(captured: Captured) -> None:
    """Committed later by another connection, it is whose it was."""
    sender = captured.sender()
    with contextlib.closing(captured.database.connect("app")) as app, acting_as(ALICE):
        app.execute("BEGIN")
        sender.send_context(app.cursor(), current_frame())
        app.execute("INSERT INTO t VALUES (1, 'x')")
        app.execute("PREPARE TRANSACTION 'later'")
        assert events(captured) == []
        app.execute("INSERT INTO t VALUES (2, 'x')")
        app.execute("COMMIT PREPARED 'later'")
    assert [(e.targets[0].ids, e.actor) for e in events(captured)] == [
        (((2,),), None),
        (((1,),), ALICE),
    ]


def test_nobody_mixes_behind_a_pooler(site: Site) -> None:
    """Many threads share four connections of PgBouncer's: each row is whose it says."""
    bouncer = PgBouncer(site.database, pool_size=4)
    engine = create_engine(
        bouncer.url("app").replace("postgresql:", "postgresql+psycopg:"),
        pool_size=16,
        connect_args={"prepare_threshold": None},
    )
    try:
        with site.trail() as trail:
            capture(engine, trail)

            def write(n: int) -> None:
                with acting_as(Actor("staff", f"n{n % 16}")), engine.begin() as connection:
                    connection.execute(
                        text("INSERT INTO t VALUES (:id, :v)"), {"id": n, "v": f"n{n % 16}"}
                    )

            with ThreadPoolExecutor(16) as threads:
                list(threads.map(write, range(200)))
            trail.flush(60)
            for n in range(16):
                found = [one.event.changes for one in trail.changes(by=Actor("staff", f"n{n}"))]
                written = sorted(changes["id"][1] for changes in found if changes is not None)
                assert written == list(range(n, 200, 16))
            assert list(trail.notices()) == []
    finally:
        engine.dispose()
        bouncer.remove()


def test_another_client_is_nobody(site: Site) -> None:
    """What psql writes is in the trail, unattributed, and noticed."""
    with site.trail() as trail:
        site.database.execute("INSERT INTO t VALUES (1, 'x')", role="app")
        trail.flush()
        (finding,) = trail.history(Target("t", 1))
        assert (finding.event.actor, finding.event.database_role) == (None, None)
        assert [notice.action for notice in trail.notices()] == ["changes.unattributed"]


def test_a_standbys_or_a_readers_statement_isnt_disturbed(site: Site) -> None:
    """In a transaction that may not write who acts is told all the same, and nothing fails."""
    engine = create_engine(site.database.url("app").replace("postgresql:", "postgresql+psycopg:"))
    with site.trail() as trail:
        capture(engine, trail)
        with acting_as(ALICE), engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            assert connection.execute(text("SELECT set_config('my.own', 'x', true)")).all() == [
                ("x",)
            ]
        engine.dispose()

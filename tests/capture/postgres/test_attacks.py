"""What the application's role, or whoever speaks through it, can't do, or can't do unnoticed."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from tests.capture.writes.folding import event_of
from tests.servers import Database

from indelible.capture.postgres.install import check
from indelible.capture.postgres.installed import read_installed
from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor

from .capturing import Captured

ALICE = Actor("staff", "alice")


@pytest.fixture
def captured(database: Database) -> Captured:
    database.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")
    database.grant()
    return Captured(database)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM indelible.outbox",
        "DELETE FROM indelible.outbox",
        "UPDATE indelible.outbox SET ctx = NULL",
        "INSERT INTO indelible.outbox (layout, op, depth) VALUES (1, 1, 0)",
        "TRUNCATE indelible.outbox",
        "DROP TABLE indelible.outbox",
        "SELECT * FROM indelible.meta",
        "UPDATE indelible.layouts SET layout = '{}'",
        "SELECT nextval('indelible.outbox_id_seq')",
        "SELECT setval('indelible.outbox_id_seq', 1)",
        "SELECT indelible.stray(1)",
        "DROP FUNCTION indelible.record(bytea, text)",
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "DROP TRIGGER zz_indelible_insert ON t",
        "SET session_replication_role = replica",
        "CREATE TABLE indelible.mine (x int)",
    ],
)
def test_the_application_touches_nothing_of_ours(captured: Captured, statement: str) -> None:
    """Not by itself, and not as the second statement of an injection; what was written stays."""
    with contextlib.closing(captured.database.connect("app")) as app:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(f"INSERT INTO t VALUES (1, 'x'); {statement}; COMMIT")
        app.execute("INSERT INTO t VALUES (2, 'y')")
    assert [event_of(e.draft).targets[0].ids for e in captured.decoded().events] == [((2,),)]


def test_our_functions_are_attached_nowhere_else(captured: Captured) -> None:
    """The application's role may not; where the owner does, a row says so and nothing fails."""
    with captured.ours() as ours:
        (oid,) = read_installed(ours).captured
    captured.database.execute("CREATE TABLE other (id integer)", "ALTER TABLE other OWNER TO owner")
    trigger = (
        "CREATE TRIGGER mine AFTER INSERT ON {} REFERENCING NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION indelible.write_{oid}()"
    )
    with contextlib.closing(captured.database.connect("postgres")) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO app")
    with contextlib.closing(captured.database.connect("app")) as app:
        app.execute("CREATE TABLE theirs (id integer)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(trigger.format("theirs"))
    captured.database.execute(trigger.format("other"), "INSERT INTO other VALUES (1)")
    (event,) = captured.decoded().events
    assert event_of(event.draft).action == "capture.stray"
    assert check_of(captured) == ["other: new"]


def check_of(captured: Captured) -> list[str]:
    return [str(drift) for drift in check(captured.server, captured.policy)]


def test_an_actor_is_not_minted_by_hand(captured: Captured) -> None:
    """A context that Indelible didn't sign is recorded as nobody's, and noticed."""
    with contextlib.closing(captured.database.connect("app")) as app:
        app.execute(
            "BEGIN; SELECT set_config('indelible.ctx', "
            '\'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{"nonce":"a:1","actor":'
            '{"kind":"staff","id":"alice"}}\', true);'
            "INSERT INTO t VALUES (1, 'x'); COMMIT"
        )
    decoded = captured.decoded()
    assert [notice.action for notice in decoded.notices] == ["context.invalid"]
    assert event_of(decoded.events[0].draft).actor is None


def test_a_live_context_is_good_for_one_transaction(captured: Captured) -> None:
    """Copied into a second transaction it is contested; concurrent rows of the first aren't."""
    sender = captured.sender()
    with (
        contextlib.closing(captured.database.connect("app")) as one,
        contextlib.closing(captured.database.connect("app")) as two,
    ):
        with acting_as(ALICE):
            one.execute("BEGIN")
            with one.cursor() as cursor:
                sender.send_context(cursor, current_frame())
        stolen = one.execute("SELECT current_setting('indelible.ctx')").fetchone()
        assert stolen is not None
        one.execute("INSERT INTO t VALUES (1, 'x')")
        two.execute("BEGIN")
        two.execute("SELECT set_config('indelible.ctx', %s, true)", stolen)
        two.execute("INSERT INTO t VALUES (2, 'x')")
        two.execute("COMMIT")
        one.execute("INSERT INTO t VALUES (3, 'x')")
        one.execute("COMMIT")
        assert one.execute("SELECT current_setting('indelible.ctx', true)").fetchone() == ("",)
        one.execute("INSERT INTO t VALUES (4, 'x')")
    decoded = captured.decoded()
    events = [event_of(event.draft) for event in decoded.events]
    assert [notice.action for notice in decoded.notices] == ["context.contested"]
    assert [event.actor for event in events] == [ALICE, None, ALICE, None]
    assert events[1].details == {"attribution": "contested", "claimed_actor": "staff:alice"}


def test_a_rolled_back_savepoint_takes_its_rows_along(captured: Captured) -> None:
    """What was undone never happened, and what follows is attributed once it is said again."""
    sender = captured.sender()
    with (
        contextlib.closing(captured.database.connect("app")) as app,
        acting_as(ALICE),
        app.transaction(),
        app.cursor() as cursor,
    ):
        cursor.execute("SAVEPOINT s")
        nonce = sender.send_context(cursor, current_frame())
        cursor.execute("INSERT INTO t VALUES (1, 'x')")
        cursor.execute("ROLLBACK TO s")
        sender.send_context(cursor, current_frame(), nonce=nonce)
        cursor.execute("INSERT INTO t VALUES (2, 'x')")
    (event,) = captured.decoded().events
    assert event_of(event.draft).targets[0].ids == ((2,),)
    assert event_of(event.draft).actor == ALICE


def test_replication_role_silences_nobody(captured: Captured) -> None:
    """A superuser's session_replication_role = replica fires no trigger but ours."""
    with contextlib.closing(captured.database.connect("postgres")) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("INSERT INTO t VALUES (1, 'x')")
        superuser.execute("TRUNCATE t")
    assert [event_of(e.draft).action for e in captured.decoded().events] == ["t.insert", "t.delete"]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER TABLE t DISABLE TRIGGER zz_indelible_insert", "t: trigger disabled"),
        ("ALTER TABLE t ENABLE TRIGGER zz_indelible_insert", "t: trigger not always"),
        ("DROP TRIGGER zz_indelible_delete ON t", "t: triggers missing"),
        ("ALTER TABLE t ADD COLUMN w integer", "t: altered"),
        ("CREATE TABLE fresh (id integer PRIMARY KEY)", "fresh: new"),
        ("DROP TABLE t", "t: dropped"),
        ("GRANT INSERT ON indelible.outbox TO app", "indelible.outbox: open to app"),
        ("GRANT SELECT ON indelible.outbox TO app", "indelible.outbox: open to app"),
    ],
)
def test_what_the_owner_does_is_drift_until_the_next_install(
    captured: Captured, statement: str, what: str
) -> None:
    """`check` says what changed; `install` makes it whole again."""
    assert check_of(captured) == []
    captured.database.execute(statement)
    assert check_of(captured) == [what]
    captured.install()
    assert check_of(captured) == []


def test_a_replaced_function_is_drift(captured: Captured) -> None:
    """Also when it was put back, and when anybody may attach it."""
    with captured.ours() as ours:
        row = ours.execute(
            "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'write%'"
        ).fetchone()
    assert row is not None
    name, text = row
    captured.database.execute(text.replace("BEGIN\n", "BEGIN RETURN NULL;\n"))
    assert check_of(captured) == ["t: function replaced"]
    captured.database.execute(text)
    assert check_of(captured) == [
        "t: triggers or function were touched, and are again as they were"
    ]
    captured.install()
    captured.database.execute(f"GRANT EXECUTE ON FUNCTION indelible.{name}() TO PUBLIC")
    assert check_of(captured) == ["t: its function may be attached by others"]
    captured.install()
    assert check_of(captured) == []


def test_default_privileges_open_nothing(database: Database) -> None:
    """Where new tables are open to the application by default, ours are closed at once."""
    database.execute(
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO app",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO app",
        "CREATE TABLE t (id integer PRIMARY KEY, v text)",
    )
    captured = Captured(database)
    assert check_of(captured) == []
    with contextlib.closing(database.connect("app")) as app:
        for statement in ("DELETE FROM indelible.outbox", "SELECT indelible.stray(1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)

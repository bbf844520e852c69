"""Who did it: the context that stands beside each change, and what it is worth."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.capture.change_drafts import DecodedRows
from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_rows import OutboxDecoder
from indelible.capture.sqlite3 import connect
from indelible.capture.sqlite_context import WriteContext
from indelible.capture.sqlite_install import install
from indelible.capture.sqlite_outbox import outbox_state, read_layouts, read_outbox
from indelible.errors import ConfigurationError, ProtectedTableError
from indelible.events.context import acting_as
from indelible.events.model import Actor, Event

from .capturing import KEY, MemoryHost, MemoryJournal
from .folding import event_of

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    host = MemoryHost()
    install(path, host.policy, journal=MemoryJournal())
    return path


@pytest.fixture
def captured(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(path, trail=MemoryHost())) as connection:
        yield connection


def decode(path: Path, ledger: ContextLedger | None = None) -> DecodedRows:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        incarnation = outbox_state(reader).incarnation
        layouts = read_layouts(reader)
        rows = read_outbox(reader, 0, 10_000, max_s=60).rows
    return OutboxDecoder(incarnation, layouts, KEY, ledger or ContextLedger()).decode(rows)


def events(path: Path) -> list[Event]:
    return [event_of(one.draft, one.seq) for one in decode(path).events]


def test_each_statement_is_of_the_actor_who_ran_it(
    path: Path, captured: sqlite3.Connection
) -> None:
    """Two actors in one transaction share its id, and keep their own changes and reasons."""
    with acting_as(ALICE, reason="ticket 1"):
        captured.execute("INSERT INTO t VALUES (1, 'a')")
    with acting_as(BOB, on_behalf_of=ALICE):
        captured.execute("UPDATE t SET v = 'b'")
    captured.commit()

    first, second = events(path)

    assert (str(first.actor), first.reason) == ("staff:alice", "ticket 1")
    assert second.actor == Actor("staff", "bob", ALICE)
    assert second.reason is None
    assert first.transaction is not None
    assert first.transaction == second.transaction


def test_transactions_have_ids_of_their_own(path: Path, captured: sqlite3.Connection) -> None:
    """What is committed apart has different transaction ids, also without BEGIN."""
    captured.isolation_level = None
    with acting_as(ALICE):
        for n in range(3):
            captured.execute("INSERT INTO t VALUES (?, 0)", (n,))

    assert len({event.transaction for event in events(path)}) == 3


def test_a_foreign_client_is_seen_and_nobody(path: Path) -> None:
    """A change made past Indelible is recorded, without an actor and without a transaction."""
    with contextlib.closing(sqlite3.connect(path)) as shell:
        shell.execute("INSERT INTO t VALUES (1, 0.1)")
        shell.commit()

    decoded = decode(path)
    (event,) = events(path)

    assert (event.action, event.actor, event.transaction) == ("t.insert", None, None)
    assert decoded.unattributed == 1


def test_a_rolled_back_savepoint_takes_its_events_along(
    path: Path, captured: sqlite3.Connection
) -> None:
    """What was undone never happened; what follows in the transaction is still attributed."""
    captured.isolation_level = None
    with acting_as(ALICE):
        for statement in (
            "BEGIN",
            "INSERT INTO t VALUES (1, 0)",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (2, 0)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (3, 0)",
            "COMMIT",
        ):
            captured.execute(statement)

    found = events(path)

    assert [event.targets[0].ids for event in found] == [((1,),), ((3,),)]
    assert {str(event.actor) for event in found} == {"staff:alice"}
    assert [event.producer.seq for event in found] == [1, 2]


def test_a_copied_context_is_contested(path: Path, captured: sqlite3.Connection) -> None:
    """A context taken from the outbox and used for another write is believed once only."""
    with acting_as(ALICE):
        captured.execute("INSERT INTO t VALUES (1, 0)")
        captured.commit()
        captured.execute("INSERT INTO t VALUES (2, 0)")
        captured.commit()
    with contextlib.closing(sqlite3.connect(path)) as thief:
        (text,) = thief.execute("SELECT ctx FROM indelible_outbox ORDER BY id").fetchone()
        thief.create_function(
            "sqlite_compileoption_get", 1, lambda n: text if n == 7_100_001 else None
        )
        thief.execute("INSERT INTO t VALUES (3, 0)")
        thief.commit()

    decoded = decode(path)

    assert [str(event.actor) for event in events(path)] == ["staff:alice", "staff:alice", "None"]
    assert [notice.action for notice in decoded.notices] == ["context.contested"]


def test_a_forged_context_is_worth_nothing(path: Path, captured: sqlite3.Connection) -> None:
    """Changing the actor inside a signed context makes it nobody's, and that is noticed."""
    with acting_as(ALICE):
        captured.execute("INSERT INTO t VALUES (1, 0)")
        captured.commit()
    with contextlib.closing(sqlite3.connect(path)) as forger:
        forger.execute("UPDATE indelible_outbox SET ctx = replace(ctx, 'alice', 'bobby')")
        forger.commit()

    decoded = decode(path)

    assert [event.actor for event in events(path)] == [None]
    assert [notice.action for notice in decoded.notices] == ["context.invalid"]


def test_judging_again_gives_the_same(path: Path, captured: sqlite3.Connection) -> None:
    """Decoding the same rows again, with a ledger that was kept, gives the same bytes."""
    with acting_as(ALICE):
        for n in range(5):
            captured.execute("INSERT INTO t VALUES (?, 0)", (n,))
            captured.commit()
    ledger = ContextLedger()
    first = decode(path, ledger)

    assert decode(path, ContextLedger(ledger.encode())).events == first.events


def test_the_application_cannot_touch_our_tables(captured: sqlite3.Connection) -> None:
    """Reading, writing and dropping what is Indelible's is refused in our words."""
    for statement in (
        "SELECT * FROM indelible_outbox",
        "DELETE FROM indelible_outbox",
        "UPDATE indelible_meta SET value = ''",
        "DROP TRIGGER indelible_t_after_insert",
    ):
        with pytest.raises(ProtectedTableError, match="belongs to Indelible"):
            captured.execute(statement)


def test_an_untrusted_schema_is_refused_at_once(path: Path) -> None:
    """With `trusted_schema` off no write could say who acts: connecting says so instead."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        with pytest.raises(ConfigurationError, match="trusted_schema"):
            WriteContext(connection, MemoryHost())


def test_counts_and_ids_are_those_without_capture(path: Path, captured: sqlite3.Connection) -> None:
    """`rowcount`, `lastrowid` and `changes()` are the application's own rows, not ours."""
    inserted = captured.execute("INSERT INTO t VALUES (41, 0), (42, 0)")
    assert (inserted.rowcount, inserted.lastrowid) == (2, 42)
    assert captured.execute("UPDATE t SET v = 1").rowcount == 2
    assert captured.execute("SELECT changes(), last_insert_rowid()").fetchone() == (2, 42)
    captured.rollback()

"""Only rows that the application was really given are recorded, and when."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.capture.sqlite3 import Connection, connect
from indelible.errors import DeliveryError
from indelible.events.codec import decode_event, join_parts
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.transport.journal import Journal
from indelible.transport.journal_frames import scan_frames

from .host import MemoryHost, ids_by_kind, targets

ALICE = Actor("staff", "alice")


@pytest.fixture
def connection(database: Path, host: MemoryHost) -> Iterator[Connection]:
    connection = connect(database, trail=host)
    host.take()
    yield connection
    connection.close()


def _ids(host: MemoryHost, kind: str) -> list[int]:
    return [row[0] for target in targets(host.take()) if target.kind == kind for row in target.ids]


def test_rows_not_fetched_are_not_recorded(connection: Connection, host: MemoryHost) -> None:
    """Of a result that was left after three rows, three rows are in the trail."""
    with acting_as(ALICE):
        cursor = connection.execute("SELECT v FROM big ORDER BY id")
        cursor.fetchone()
        cursor.fetchmany(2)

    assert _ids(host, "big") == [1, 2, 3]


def test_a_result_never_fetched_is_a_probe(connection: Connection, host: MemoryHost) -> None:
    """A query whose rows nobody took is recorded without rows."""
    with acting_as(ALICE):
        connection.execute("SELECT v FROM big")

    (target,) = targets(host.take())
    assert (target.ids, target.coverage) == ((), "exact")


def test_rows_are_written_while_they_are_handed_over(
    connection: Connection, host: MemoryHost
) -> None:
    """A long iteration is in the journal before it ends, but for its youngest rows."""
    with acting_as(ALICE):
        for number, _ in enumerate(connection.execute("SELECT v FROM big ORDER BY id"), start=1):
            written = sum(len(t.ids) for t in targets(host.journal.events))
            assert written >= min(number // 2, number - 512)


def test_chunks_name_their_first(connection: Connection, host: MemoryHost) -> None:
    """Later chunks of one statement point at the event of the first."""
    with acting_as(ALICE):
        list(connection.execute("SELECT v FROM big WHERE id < 5 ORDER BY id"))

    events = host.take()
    assert sorted(_flat(events)) == [1, 2, 3, 4]
    assert events[0].part is None
    for number, event in enumerate(events[1:], start=2):
        assert event.part is not None
        assert (event.part.n, event.part.first) == (number, events[0].id)


def test_large_results_are_cut_into_events(connection: Connection, host: MemoryHost) -> None:
    """10,000 rows in one fetch are several events, none too large, that name all rows once."""
    with acting_as(ALICE):
        connection.execute("SELECT v FROM big").fetchall()
        connection.execute("SELECT v FROM doc").fetchall()
        connection.execute("SELECT count(*) FROM doc WHERE v > 0").fetchall()
        connection.execute("SELECT DISTINCT g FROM big").fetchall()

    events = host.take()
    assert max(map(len, host.journal.drafts)) <= 48 * 1024
    found = ids_by_kind(events)
    assert found["big"] == {(n,) for n in range(1, 10_001)}
    assert len(found["doc"]) == 3000
    assert {t.coverage for t in targets(events)} == {"exact"}


def test_one_by_one_distinct_rows_are_exact_at_the_end(
    connection: Connection, host: MemoryHost
) -> None:
    """DISTINCT rows taken one at a time are exact if all were, and a superset if not."""
    with acting_as(ALICE):
        list(connection.execute("SELECT DISTINCT g FROM big WHERE id < 10"))
    (target,) = targets(host.take())
    assert (len(target.ids), target.coverage) == (9, "exact")

    with acting_as(ALICE):
        connection.execute("SELECT DISTINCT g FROM big WHERE id < 10").fetchone()
    (target,) = targets(host.take())
    assert (len(target.ids), target.coverage) == (9, "superset")


def test_parameters_too_large_for_one_event(
    database: Path, host: MemoryHost, tmp_path: Path
) -> None:
    """A query by 2,000 long values that finds nothing runs, and all of them are in the trail."""
    journal = Journal(tmp_path / "journals")
    host.journal = journal  # type: ignore[assignment]
    connection = connect(database, trail=host)
    values = [f"{n:050}" for n in range(2_000)]
    places = ",".join("?" * len(values))
    with acting_as(ALICE):
        rows = connection.execute(f"SELECT v FROM doc WHERE uuid IN ({places})", values).fetchall()
    connection.close()
    journal.close()

    assert rows == []
    scan = scan_frames(journal.path.read_bytes(), is_end=True, limit=100, max_bytes=1 << 30)
    (bodies,) = [frame.bodies for frame in scan.frames if b"doc.read" in frame.content]
    event = join_parts([decode_event(body) for body in bodies])
    assert event.statement is not None
    assert event.statement.parameters == tuple(values)


def test_keys_come_from_the_snapshot_of_the_rows(
    connection: Connection, database: Path, host: MemoryHost
) -> None:
    """A row that another process adds between key query and statement is in neither or both."""
    connection.execute("PRAGMA journal_mode = WAL")
    writer = sqlite3.connect(database, isolation_level=None)
    numbers = iter(range(20_000, 30_000))
    rewriting = connection._reads._rewriting
    fetch = rewriting.fetch_companions

    def fetch_then_write(*args: object) -> object:
        release = fetch(*args)  # type: ignore[arg-type]
        writer.execute("INSERT INTO empty VALUES (?, 'late')", (next(numbers),))
        return release

    rewriting.fetch_companions = fetch_then_write  # type: ignore[method-assign, assignment]
    writer.execute("INSERT INTO empty VALUES (1, 'early')")
    with acting_as(ALICE):
        rows = connection.execute("SELECT DISTINCT v FROM empty").fetchall()
    writer.close()

    assert rows == [("early",)]
    assert _ids(host, "empty") == [1]


def test_strict_keys_are_on_disk_before_the_rows_are_there(
    connection: Connection, host: MemoryHost
) -> None:
    """Under `strict` the statement and then each row's key are synced first."""
    cursor = connection.cursor()
    with acting_as(ALICE):
        cursor.execute("SELECT v FROM vault ORDER BY id")
        assert host.journal.is_synced
        assert len(host.journal.events) == 1
        for number in (1, 2, 3):
            cursor.fetchone()
            assert host.journal.is_synced
            assert ids_by_kind(host.journal.events) == {"vault": {(n + 1,) for n in range(number)}}


def test_strict_fails_rather_than_hand_over_what_cannot_be_recorded(
    connection: Connection, host: MemoryHost
) -> None:
    """With a full disk a `strict` table can't be read, and no row gets out."""
    cursor = connection.execute("SELECT v FROM vault")
    host.journal.is_full = True

    with pytest.raises(DeliveryError, match="full"):
        cursor.fetchall()
    with pytest.raises(DeliveryError, match="full"):
        connection.execute("SELECT v FROM vault")
    host.journal.is_full = False


def test_other_reads_go_on_when_the_journal_is_full(
    connection: Connection, host: MemoryHost
) -> None:
    """A read never fails because of capture; the loss is noticed."""
    host.journal.is_full = True
    with acting_as(ALICE):
        assert len(connection.execute("SELECT v FROM big").fetchall()) == 10_000
    host.journal.is_full = False

    assert "capture.access_lost" in host.notices


def test_request_is_durable_when_the_outermost_scope_ends(
    connection: Connection, host: MemoryHost
) -> None:
    """Everything read in a request is on disk when its `acting_as` is left."""
    with acting_as(ALICE):
        with acting_as(Actor("staff", "inner")):
            connection.execute("SELECT v FROM big WHERE id = 1").fetchall()
        assert not host.journal.is_synced
    assert host.journal.is_synced


def test_unattributed_reads_are_durable_when_the_connection_closes(
    database: Path, host: MemoryHost
) -> None:
    """A read outside of any `acting_as` is recorded without an actor, and synced at close."""
    connection = connect(database, trail=host)
    connection.execute("SELECT v FROM big WHERE id = 1").fetchone()
    connection.close()

    assert host.journal.is_synced
    assert [event.actor for event in host.take()] == [None]


def test_the_actor_is_who_ran_the_statement(connection: Connection, host: MemoryHost) -> None:
    """Rows fetched by somebody else's code still belong to whoever ran the query."""
    with acting_as(ALICE):
        cursor = connection.execute("SELECT v FROM big WHERE id < 4")
    host.take()
    with acting_as(Actor("staff", "bob")):
        cursor.fetchall()

    assert {event.actor for event in host.take()} == {ALICE}


def test_rows_read_and_handed_out_later_by_threads(database: Path, host: MemoryHost) -> None:
    """Threads with connections of their own: each read under its own actor, none lost."""

    def work(number: int) -> None:
        connection = connect(database, trail=host)
        with acting_as(Actor("staff", str(number))):
            for n in range(20):
                connection.execute("SELECT v FROM big WHERE id = ?", (number * 100 + n,)).fetchone()
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    events = host.take()
    seen = sorted((event.actor.id, row[0]) for event in events if event.actor
                  for target in event.targets for row in target.ids)  # fmt: skip
    expected = [(str(t), t * 100 + n) for t in range(8) for n in range(20) if t or n]
    assert seen == sorted(expected)


def _flat(events: list) -> list[int]:  # type: ignore[type-arg]
    return [row[0] for target in targets(events) for row in target.ids]

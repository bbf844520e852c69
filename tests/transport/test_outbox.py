"""Carrying the outbox of a real SQLite database: restores, removals, locks and nonsense."""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.capture.sqlite_install import install
from indelible.events.codec import decode_event
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.events.values import ABSENT, TypedValue
from indelible.policy.model import RelaySettings
from indelible.transport.delivery import Gap
from indelible.transport.outbox import OutboxSources
from indelible.transport.outbox_reader import SqliteOutboxReader
from indelible.transport.relay import Relay

from .captured import INCARNATION, KEY, OPENED, READ_S, Application, ListJournal
from .conftest import SETTINGS
from .memory_sink import FailingTimes, MemorySink

NEXT = OPENED + 1


@pytest.fixture(params=["wal", "delete"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    application = Application(tmp_path / "shop.db", journal_mode=request.param)
    yield application
    application.close()


class Carrier:
    """A relay on one outbox, as after a start of the process."""

    def __init__(
        self,
        application: Application,
        sink: MemorySink,
        *,
        settings: RelaySettings = SETTINGS,
    ) -> None:
        self.sources = OutboxSources(application.reader, sink)
        self.sources.watch(application.path)
        self.relay = Relay([self.sources], sink, settings)

    def carry(self) -> None:
        self.relay.flush(timeout_s=10)

    @property
    def delivered_through(self) -> int:
        return self.sources.delivered_through(INCARNATION)

    def status(self) -> str | None:
        return self.relay.status()[0].last_error


def notes(sink: MemorySink) -> list[str]:
    return [str((event.changes or {})["text"][1]) for event in sink.events]


def places(sink: MemorySink) -> list[tuple[int, int]]:
    return [(event.producer.epoch, event.producer.seq) for event in sink.events]


def test_rows_come_in_order_and_once(application: Application, sink: MemorySink) -> None:
    """Each committed row becomes one event at its number; rolled-back ones never were."""
    carrier = Carrier(application, sink)
    application.write("a", "b")
    carrier.carry()
    application.connection.execute("BEGIN")
    application.connection.execute("INSERT INTO note (text) VALUES ('never')")
    application.connection.execute("ROLLBACK")
    application.write("c", delivered_through=carrier.delivered_through)
    carrier.carry()
    Carrier(application, sink).carry()

    assert notes(sink) == ["a", "b", "c"]
    assert places(sink) == [(OPENED, 1), (OPENED, 2), (OPENED, 3)]
    assert sink.ids == [f"{INCARNATION}.{OPENED}.{n}" for n in (1, 2, 3)]
    assert application.ids() == [2, 3]
    assert sink.gaps == [] and sink.notices == [] and sink.conflicts == []
    said = [message.partition("known: ")[2][0] for _, message, _ in sink.unattributed]
    assert said == ["2", "1"], "changes by nobody known are noticed, once a batch"


def test_the_database_is_never_written_to(application: Application, sink: MemorySink) -> None:
    """Not one byte of the application's database file changes while its outbox is carried."""
    application.write(*(str(number) for number in range(5_000)))
    before = hashlib.sha256(application.path.read_bytes()).digest()
    carrier = Carrier(application, sink)
    carrier.carry()
    carrier.relay.stop()

    assert len(sink.arrived) == 5_000
    assert hashlib.sha256(application.path.read_bytes()).digest() == before
    assert len(application.ids()) == 5_000


def test_nothing_may_be_deleted_before_it_was_delivered(
    application: Application, sink: MemorySink
) -> None:
    """What may be deleted is 0 until the database is known, and never runs ahead of the sink."""
    carrier = Carrier(application, sink)
    assert carrier.delivered_through == 0
    application.write("a", "b", "c")
    sink.fault = FailingTimes(1)
    carrier.relay.step()
    assert carrier.delivered_through == 0
    carrier.carry()
    assert carrier.delivered_through == 3
    carrier.relay.stop()
    assert carrier.delivered_through == 0


def test_restored_from_an_older_backup(
    application: Application, sink: MemorySink, tmp_path: Path
) -> None:
    """After a restore the old numbers come again with other rows: all are kept, in a new epoch,
    none twice, and it is noticed; later restarts don't notice it again."""
    carrier = Carrier(application, sink)
    application.write("1", "2", "3")
    carrier.carry()
    application.write("4", "5")
    application.back_up(tmp_path / "backup.db")
    application.write("6", "7", "8", delivered_through=carrier.delivered_through)
    carrier.carry()
    application.restore(tmp_path / "backup.db")
    application.write("6'", "7'")
    carrier.carry()
    application.write("8'", "9'", "10'", delivered_through=carrier.delivered_through)
    carrier.carry()
    Carrier(application, sink).carry()

    assert notes(sink) == ["1", "2", "3", "4", "5", "6", "7", "8", "6'", "7'", "8'", "9'", "10'"]
    assert places(sink)[8:] == [(NEXT, seq) for seq in range(6, 11)]
    assert sink.conflicts == []
    assert sink.noticed == ["incarnation.opened"]
    _, message, details = sink.notices[0]
    assert "restored from an older backup? Rows after 5 are taken as new ones" in message
    assert details == {
        "incarnation": INCARNATION,
        "epoch": str(NEXT),
        "epoch_before": str(OPENED),
        "delivered_before": "8",
        "after": "5",
    }
    why = "stands in an earlier epoch: the database was restored from a backup"
    assert sink.gaps == [Gap(INCARNATION, NEXT, 1, 5, why)]


@pytest.mark.parametrize("written", [0, 1, 2, 3, 4, 5])
def test_restored_while_nobody_looked(
    application: Application, sink: MemorySink, tmp_path: Path, written: int
) -> None:
    """The restore is seen by a relay that starts later, however far the numbers have come."""
    application.write("1", "2")
    application.back_up(tmp_path / "backup.db")
    application.write("3", "4", "5")
    Carrier(application, sink).carry()
    application.restore(tmp_path / "backup.db")
    new = [f"new {number}" for number in range(written)]
    application.write(*new)
    for _ in range(3):
        Carrier(application, sink).relay.step()

    assert notes(sink) == ["1", "2", "3", "4", "5", *new]
    assert places(sink)[5:] == [(NEXT, 3 + number) for number in range(written)]
    assert sink.noticed == ["incarnation.opened"]
    assert sink.conflicts == []


def test_restored_twice(application: Application, sink: MemorySink, tmp_path: Path) -> None:
    """A second restore, to before the first, again takes up each row once."""
    application.write("1")
    application.back_up(tmp_path / "one.db")
    application.write("2")
    application.back_up(tmp_path / "two.db")
    application.write("3")
    Carrier(application, sink).carry()
    application.restore(tmp_path / "two.db")
    application.write("3'")
    Carrier(application, sink).carry()
    application.restore(tmp_path / "one.db")
    application.write("2''", "3''")
    Carrier(application, sink).carry()

    assert notes(sink) == ["1", "2", "3", "3'", "2''", "3''"]
    assert places(sink)[3:] == [(NEXT, 3), (NEXT + 1, 2), (NEXT + 1, 3)]
    assert sink.noticed == ["incarnation.opened"] * 2
    assert sink.conflicts == []


@pytest.mark.parametrize("is_lost_after", [False, True])
def test_restored_while_the_sink_fails(
    application: Application, sink: MemorySink, tmp_path: Path, is_lost_after: bool
) -> None:
    """Failures in the midst of taking up a restored database lose neither row nor notice."""
    application.write("1", "2")
    application.back_up(tmp_path / "backup.db")
    application.write("3")
    carrier = Carrier(application, sink)
    carrier.carry()
    application.restore(tmp_path / "backup.db")
    application.write("3'", "4'")
    fault = FailingTimes(1)
    if is_lost_after:
        sink.fault_after = fault
    else:
        sink.fault = fault
    carrier.relay.step()
    assert carrier.delivered_through == 0
    carrier.carry()

    assert fault.left == 0
    assert notes(sink) == ["1", "2", "3", "3'", "4'"]
    assert places(sink)[3:] == [(NEXT, 3), (NEXT, 4)]
    assert sink.noticed == ["incarnation.opened"]
    assert len(sink.gaps) == 1


def test_deleted_waiting_rows_are_a_gap(application: Application, sink: MemorySink) -> None:
    """Rows that somebody deleted before they were delivered are reported, in the middle and at
    the end, once; the others come."""
    application.write(*(str(number) for number in range(1, 11)))
    application.connection.execute("DELETE FROM indelible_outbox WHERE id IN (1, 4, 5, 9, 10)")
    carrier = Carrier(application, sink)
    carrier.carry()
    application.write("11")
    carrier.carry()

    assert notes(sink) == ["2", "3", "6", "7", "8", "11"]
    assert [(gap.first, gap.last) for gap in sink.gaps] == [(1, 1), (4, 5), (9, 10)]
    assert {gap.why for gap in sink.gaps} == {"not in the outbox: deleted before it was delivered"}
    assert sink.noticed == []
    Carrier(application, sink).carry()
    assert len(sink.gaps) == 3


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_restored_after_rows_were_reported_missing(
    application: Application, sink: MemorySink, tmp_path: Path, written: int
) -> None:
    """Numbers that were reported as deleted and are given out again keep nobody from coming."""
    application.write("1", "2")
    application.back_up(tmp_path / "backup.db")
    application.write("3", "4")
    application.connection.execute("DELETE FROM indelible_outbox WHERE id > 2")
    carrier = Carrier(application, sink)
    carrier.carry()
    assert [(gap.first, gap.last) for gap in sink.gaps] == [(3, 4)]
    application.restore(tmp_path / "backup.db")
    new = [f"new {number}" for number in range(written)]
    application.write(*new)
    carrier.relay.step()
    carrier.relay.step()

    assert notes(sink) == ["1", "2", *new]
    assert sink.conflicts == []
    # From two rows on the numbers have caught up, and the last delivered row is as it was.
    assert sink.noticed == (["incarnation.opened"] if written < 2 else [])


def test_a_changed_delivered_row_is_noticed(application: Application, sink: MemorySink) -> None:
    """Somebody edits or deletes the row that was delivered last: it can't be told from a restored
    database, so a new epoch is noticed, and later rows come."""
    application.write("1", "2")
    carrier = Carrier(application, sink)
    carrier.carry()
    application.connection.execute("DELETE FROM indelible_outbox WHERE id = 2")
    application.write("3")
    carrier.carry()

    assert sink.noticed == ["incarnation.opened"]
    assert notes(sink) == ["1", "2", "3"]
    assert sink.conflicts == []


def test_nonsense_is_an_event_that_says_so(application: Application, sink: MemorySink) -> None:
    """A row that no trigger of ours wrote is kept with what is in it, and noticed; others come."""
    carrier = Carrier(application, sink)
    application.write("1")
    application.connection.execute(
        "INSERT INTO indelible_outbox (time, layout, op, o0) VALUES ('soon', 99, 'x', x'00ff')"
    )
    application.write("3", "4")
    carrier.carry()

    assert [event.action for event in sink.events] == [
        "note.insert",
        "outbox.unreadable",
        "note.insert",
        "note.insert",
    ]
    assert b'{"t":"bytes","v":"AP8="}' in sink.arrived[1].bodies[0]
    assert sink.noticed == ["outbox.unreadable"]
    assert carrier.delivered_through == 4
    assert sink.gaps == []


def test_what_fits_into_no_event_is_set_aside(application: Application, sink: MemorySink) -> None:
    """A row with a key of 100,000 characters is handed over as it is, cell by cell."""
    application.connection.execute("INSERT INTO label VALUES (?)", ("k" * 100_000,))
    application.write("2")
    carrier = Carrier(application, sink)
    carrier.carry()

    assert notes(sink) == ["2"]
    (poison,) = sink.poison
    assert poison.seq == 1
    assert b"k" * 100_000 in poison.bodies[0]
    assert carrier.delivered_through == 2


def test_a_replayed_context_is_noticed(application: Application, sink: MemorySink) -> None:
    """A context used in a second transaction is noticed and names nobody, also when the relay was
    started again between the two; the database isn't taken for another on that account."""
    with acting_as(Actor("staff", "alice")):
        application.write_as_actor("1", "2")
    application.write("3")
    Carrier(application, sink).carry()
    assert sink.noticed == []
    application.replay(1)
    Carrier(application, sink).carry()
    assert sink.noticed == ["context.contested"]
    assert sink.notices[0][2]["outbox_id"] == "4"
    Carrier(application, sink).carry()
    application.write("5", delivered_through=4)
    Carrier(application, sink).carry()

    assert sink.noticed == ["context.contested"]
    assert notes(sink) == ["1", "2", "3", "1", "5"]
    assert [str(event.actor) for event in sink.events] == [
        *["staff:alice", "staff:alice", "None", "None", "None"]
    ]
    assert sink.conflicts == []


@pytest.mark.parametrize("damage", ["removed", "garbage"])
def test_lost_memory_of_contexts_is_noticed(
    application: Application, sink: MemorySink, damage: str
) -> None:
    """Whoever removes the memory of used contexts is noticed with the next row."""
    application.write("1")
    Carrier(application, sink).carry()
    (ledger,) = application.policy.journals.iterdir()
    assert ledger.name == f"{INCARNATION}.{OPENED}.ledger"
    assert ledger.stat().st_mode & 0o777 == 0o600
    if damage == "removed":
        ledger.unlink()
    else:
        ledger.write_bytes(b"garbage")
    application.write("2")
    sink.fault = FailingTimes(1)
    Carrier(application, sink).carry()
    application.write("3")
    Carrier(application, sink).carry()

    assert sink.noticed == ["context.memory_lost"]
    assert notes(sink) == ["1", "2", "3"]


def test_a_migration_while_rows_wait(application: Application, sink: MemorySink) -> None:
    """Rows written before and after a table changed are each read as they were written."""
    carrier = Carrier(application, sink)
    application.write("1")
    carrier.carry()
    application.write("2")
    application.connection.execute("ALTER TABLE note ADD COLUMN colour DEFAULT 'blue'")
    install(application.path, application.policy, journal=ListJournal())
    application.write("3")
    carrier.carry()

    assert notes(sink) == ["1", "2", "3"]
    colours = [(event.changes or {}).get("colour") for event in sink.events]
    assert colours == [None, None, (ABSENT, "blue")]


def test_two_relays_at_once(application: Application, sink: MemorySink) -> None:
    """Two relays on one outbox, with delivered rows deleted between: once each, nothing noticed."""
    carriers = [Carrier(application, sink) for _ in range(2)]
    for number in range(30):
        through = max(carrier.delivered_through for carrier in carriers)
        application.write(str(number), delivered_through=through)
        carriers[number % 3 % 2].relay.step()
    for carrier in carriers:
        carrier.carry()

    assert notes(sink) == [str(number) for number in range(30)]
    assert sink.gaps == [] and sink.notices == [] and sink.conflicts == []


def test_a_locked_database_blocks_nobody_for_long(
    application: Application, sink: MemorySink, tmp_path: Path
) -> None:
    """A database that stays locked costs a pass no more than the read bound; others are carried,
    and the application's lock is never waited for by anybody else."""
    other = Application(tmp_path / "other.db")
    other.connection.execute("UPDATE indelible_meta SET value = 'ff' WHERE key = 'incarnation'")
    other.write("there")
    application.write("1")
    carrier = Carrier(application, sink)
    carrier.sources.watch(other.path)
    application.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    application.connection.execute("BEGIN EXCLUSIVE")
    application.connection.execute("UPDATE note SET text = text")
    began = time.monotonic()
    carrier.relay.step()
    took_s = time.monotonic() - began
    assert "there" in notes(sink)
    application.connection.execute("ROLLBACK")
    mode = application.connection.execute("PRAGMA journal_mode").fetchone()[0]
    application.connection.execute("PRAGMA locking_mode = NORMAL")
    application.connection.execute("SELECT count(*) FROM indelible_outbox").fetchone()
    carrier.carry()
    other.close()

    assert took_s < 10 * READ_S, mode
    assert sorted(notes(sink)) == ["1", "there"]


def test_reads_are_short(application: Application) -> None:
    """A page ends after the time, the rows or the bytes that were set, but always goes on."""
    application.write(*("x" * 2_000 for _ in range(20_000)))
    reader = SqliteOutboxReader(
        application.path, context_key=KEY, ledgers=application.policy.journals, read_s=0.002
    )
    page = reader.read_page(0, limit=50_000, max_bytes=1 << 30)
    assert 1 <= len(page.rows) < 20_000
    assert not page.is_whole and page.last_id == 20_000
    page = application.reader(application.path).read_page(0, limit=10, max_bytes=1 << 30)
    assert len(page.rows) == 10
    page = reader.read_page(5, limit=50, max_bytes=1)
    assert [row[0] for row in page.rows] == [5, 6] and not page.is_whole
    page = reader.read_page(19_999, limit=50, max_bytes=1)
    assert [row[0] for row in page.rows] == [19_999, 20_000] and page.is_whole


def test_not_installed_is_said(tmp_path: Path, sink: MemorySink) -> None:
    """A database without an outbox, and one that isn't there, are errors in the status; nothing
    is created."""
    sqlite3.connect(tmp_path / "empty.db").close()
    for name in ("empty.db", "missing.db"):
        sources = OutboxSources(
            lambda path: SqliteOutboxReader(path, context_key=KEY, ledgers=tmp_path, read_s=0.05),
            sink,
        )
        sources.watch(tmp_path / name)
        relay = Relay([sources], sink, SETTINGS)
        relay.step()
        error = str(relay.status()[0].last_error)
        assert "indelible install" in error or "unable to open" in error
    assert not (tmp_path / "missing.db").exists()
    assert sink.arrived == []


def test_another_database_at_the_same_path(
    application: Application, sink: MemorySink, tmp_path: Path
) -> None:
    """A database that was installed anew is a source of its own from its first row on."""
    carrier = Carrier(application, sink)
    application.write("1", "2")
    carrier.carry()
    application.connection.execute(
        "UPDATE indelible_meta SET value = 'fedcba9876543210' WHERE key = 'incarnation'"
    )
    application.connection.execute("DELETE FROM indelible_outbox")
    application.connection.execute("DELETE FROM sqlite_sequence")
    application.connection.execute(
        "UPDATE indelible_meta SET value = replace(value, '\"text\"', '\"words\"') "
        "WHERE key LIKE 'layout:%'"
    )
    application.write("one")
    carrier.carry()

    assert [event.producer.id for event in sink.events] == [INCARNATION] * 2 + ["fedcba9876543210"]
    assert list(sink.events[2].changes or {}) == ["id", "words"]
    assert carrier.delivered_through == 0
    assert carrier.sources.delivered_through("fedcba9876543210") == 1
    assert sink.gaps == [] and sink.notices == []


def test_values_stay_what_they_were(application: Application, sink: MemorySink) -> None:
    """Text that isn't UTF-8, blobs, integers of 64 bits and infinities come bit for bit."""
    application.connection.execute(
        "INSERT INTO note (text) SELECT column1 FROM "
        "(VALUES (CAST(x'ff00' AS TEXT)), (x'ff00'), (9223372036854775807), (9e999))"
    )
    Carrier(application, sink).carry()
    assert [(event.changes or {})["text"][1] for event in sink.events] == [
        TypedValue("text", "/wA="),
        TypedValue("bytes", "/wA="),
        TypedValue("int", "9223372036854775807"),
        TypedValue("real", "inf"),
    ]


def test_large_rows_become_parts(application: Application, sink: MemorySink) -> None:
    """A row of 200,000 characters is one delivery in parts at its number."""
    application.write("x" * 200_000, "y")
    Carrier(application, sink).carry()
    parts = [decode_event(body) for body in sink.arrived[0].bodies]
    assert len(parts) > 3
    assert [part.id for part in parts[1:]] == [
        f"{INCARNATION}.{OPENED}.1.{n}" for n in range(2, len(parts) + 1)
    ]
    assert [delivery.seq for delivery in sink.arrived] == [1, 2]


def test_source_names_hold_nothing_captured(application: Application, sink: MemorySink) -> None:
    """Status names the database by its path and counts what waits."""
    application.write(*(str(number) for number in range(25)))
    carrier = Carrier(application, sink, settings=RelaySettings(batch_events=10))
    waiting = []
    for _ in range(3):
        carrier.relay.step()
        (status,) = carrier.relay.status()
        waiting.append(status.waiting)
    assert waiting == [15, 5, 0]
    assert status.name == f"outbox {application.path}"
    assert (status.producer_id, status.epoch) == (INCARNATION, OPENED)

"""Each attack first succeeds against a plain audit table, and is then named in a trail.

The table is what a careful owner makes: append-only by triggers, numbered without gaps, unique by
source and number. Whoever holds the file takes the triggers away, edits, puts numbers and triggers
back; `suspicions` is all that can be asked of such a table afterwards.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from indelible.events.codec import decode_event
from indelible.events.model import Actor, Event
from indelible.integrity.faults import (
    EntryMismatchError,
    ForkError,
    IndexMismatchError,
    MissingEntryError,
    RollbackError,
    StrayEntryError,
    TrailFaultError,
    UncheckpointedError,
)
from indelible.integrity.seen import Seen
from indelible.integrity.verifier import verify_trail
from indelible.testing import tamper
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery
from tests.integrity.test_tampering import (
    behind_the_back,
    change_lines,
    edit_only_an_index_row,
    replace_in,
)
from tests.integrity.trails import EPOCH, SOURCE, Maker, delivery_at

SCHEMA = """
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, actor TEXT, body TEXT NOT NULL,
  UNIQUE (source, seq)
);
CREATE INDEX audit_actor ON audit (actor);
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""
OLDER, EVENTS = 400, 700


class Plain:
    """The plain table, which is given the same events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as connection:
            connection.executescript(SCHEMA)
            self.schema = self._schema(connection)

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            yield connection

    def append(self, deliveries: Iterable[Delivery]) -> None:
        with self.open() as connection:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO audit (source, seq, at, actor, body) VALUES (?, ?, ?, ?, ?)",
                [
                    (each.producer_id, each.seq, event.time, str(event.actor), body.decode())
                    for each in deliveries
                    for body in each.bodies
                    for event in [decode_event(body)]
                ],
            )
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def behind_its_back(self) -> Iterator[sqlite3.Connection]:
        """Triggers away and back again, and the numbers without a gap."""
        with self.open() as connection:
            connection.executescript("DROP TRIGGER audit_kept; DROP TRIGGER audit_stays")
            connection.execute("BEGIN")
            yield connection
            rows = connection.execute("SELECT id FROM audit ORDER BY id").fetchall()
            for number, (row,) in enumerate(rows, start=1):
                # Behind all others first, so that no number is there twice on the way.
                connection.execute(
                    "UPDATE audit SET id = ?, seq = ? WHERE id = ?",
                    (number + 10**6, number + 10**6, row),
                )
            connection.execute("UPDATE audit SET id = id - 1000000, seq = seq - 1000000")
            connection.execute("UPDATE sqlite_sequence SET seq = ?", (len(rows),))
            connection.execute("COMMIT")
            connection.executescript(SCHEMA[SCHEMA.index("CREATE TRIGGER") :])

    def actors(self, actor: str) -> int:
        """How many entries an answer about `actor` has."""
        with self.open() as connection:
            found = connection.execute("SELECT count(*) FROM audit WHERE actor = ?", (actor,))
            return int(found.fetchone()[0])

    def suspicions(self) -> list[str]:
        found = []
        with self.open() as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                found.append("the file is damaged")
            if self._schema(connection) != self.schema:
                found.append("triggers or tables are others")
            rows = connection.execute("SELECT id, seq, body FROM audit ORDER BY id").fetchall()
            (last,) = connection.execute("SELECT seq FROM sqlite_sequence").fetchone()
        numbers = list(range(1, len(rows) + 1))
        if [row[0] for row in rows] != numbers or last != len(rows):
            found.append("ids have a gap")
        if [row[1] for row in rows] != numbers:
            found.append("numbers of the source have a gap")
        for _, _, body in rows:
            json.loads(body)
        return found

    def _schema(self, connection: sqlite3.Connection) -> list[tuple[str, str]]:
        return sorted(
            (name, sql)
            for name, sql in connection.execute(
                "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
            )
        )


class Both(NamedTuple):
    """A trail and a plain table of the same 700 events, and a copy of each of the first 400."""

    maker: Maker
    plain: Plain
    older_trail: Path
    older_plain: Path
    seen: Seen

    def verify(self, path: Path | None = None, *, seen: Seen | None = None) -> None:
        verify_trail(path or self.maker.path, self.maker.key.verifier_key, seen=seen)


@pytest.fixture
def both(maker: Maker, tmp_path: Path) -> Both:
    plain = Plain(tmp_path / "plain.db")
    older = tmp_path / "older.db"
    plain.append(map(delivery_at, range(1, OLDER + 1)))
    shutil.copy(plain.path, tmp_path / "older_plain.db")
    plain.append(map(delivery_at, range(OLDER + 1, EVENTS + 1)))
    maker.fill([OLDER])
    tamper.copy_trail(maker.path, older)
    maker.fill([EVENTS - OLDER])
    seen = verify_trail(maker.path, maker.key.verifier_key).seen
    assert plain.suspicions() == []
    return Both(maker, plain, older, tmp_path / "older_plain.db", seen)


class Attack(NamedTuple):
    """The same deed in both, and what names it in a trail."""

    plain: Callable[[sqlite3.Connection], object]
    trail: Callable[[Path], object]
    error: type[TrailFaultError]
    index: int


def on_file(edit: Callable[[sqlite3.Connection], object]) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        with behind_the_back(path) as connection:
            edit(connection)

    return attack


def swap_rows(c: sqlite3.Connection) -> None:
    one, other = (
        c.execute("SELECT at, actor, body FROM audit WHERE id = ?", (id_,)).fetchone()
        for id_ in (4, 5)
    )
    for id_, values in ((4, other), (5, one)):
        c.execute("UPDATE audit SET at = ?, actor = ?, body = ? WHERE id = ?", (*values, id_))


def insert_row(c: sqlite3.Connection) -> None:
    c.execute("UPDATE audit SET id = id + 1000, seq = seq + 1000 WHERE id > 50")
    c.execute(
        "INSERT INTO audit SELECT 51, source, 51, at, 'staff:mallory', body FROM audit WHERE id = 4"
    )


def add_row(c: sqlite3.Connection) -> None:
    c.execute("INSERT INTO audit SELECT 701, source, 701, at, actor, body FROM audit WHERE id = 4")


def sql(statement: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(statement)


FORGED = delivery_at(9_999).bodies[0]
ATTACKS = {
    "edit": Attack(
        sql("UPDATE audit SET body = replace(body, 'actor1', 'actor2') WHERE id = 8"),
        lambda path: tamper.edit_body(path, 7, lambda b: b.replace(b"actor1", b"actor2")),
        EntryMismatchError,
        7,
    ),
    "edit what answers are found by": Attack(
        sql("UPDATE audit SET actor = 'staff:actor2' WHERE id = 8"),
        on_file(edit_only_an_index_row),
        IndexMismatchError,
        5,
    ),
    "swap": Attack(swap_rows, lambda path: tamper.swap_entries(path, 3, 4), EntryMismatchError, 3),
    "delete": Attack(
        sql("DELETE FROM audit WHERE id = 21"),
        lambda path: tamper.delete_entry(path, 20),
        EntryMismatchError,
        20,
    ),
    "cut the tail": Attack(
        sql("DELETE FROM audit WHERE id > 580"),
        lambda path: tamper.cut_tail(path, 580),
        MissingEntryError,
        580,
    ),
    "insert": Attack(
        insert_row,
        lambda path: tamper.insert_entry(path, 50, FORGED),
        EntryMismatchError,
        50,
    ),
    "renumber": Attack(
        swap_rows,
        on_file(lambda c: change_lines(c, 0, "stems", replace_in(9, b",10]", b",11]"))),
        EntryMismatchError,
        9,
    ),
    "add behind the end": Attack(
        add_row,
        lambda path: tamper.insert_entry(path, EVENTS + 2, FORGED),
        StrayEntryError,
        EVENTS + 2,
    ),
    "more bytes": Attack(
        sql("UPDATE audit SET body = body || ' ' WHERE id = 8"),
        lambda path: tamper.edit_body(path, 7, lambda body: body + b" "),
        EntryMismatchError,
        7,
    ),
    "erase without authority": Attack(
        sql("UPDATE audit SET body = '{}' WHERE id = 8"),
        lambda path: tamper.edit_body(path, 7, lambda body: b"{}"),
        EntryMismatchError,
        7,
    ),
    "prune without authority": Attack(
        sql("DELETE FROM audit WHERE id <= 256"),
        on_file(lambda c: c.execute("DELETE FROM block WHERE n = 0")),
        MissingEntryError,
        0,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_edit_of_the_file(both: Both, name: str) -> None:
    """Nothing shows in the plain table; `verify` names the first index that is wrong."""
    attack = ATTACKS[name]
    with both.plain.behind_its_back() as connection:
        before = connection.total_changes
        attack.plain(connection)
        assert connection.total_changes > before
    assert both.plain.suspicions() == []
    attack.trail(both.maker.path)
    with pytest.raises(attack.error) as caught:
        both.verify()
    assert caught.value.index == attack.index


def test_a_row_that_an_answer_leaves_out(both: Both) -> None:
    """Who asks about the actor gets one less of the plain table, and no word."""
    before = both.plain.actors("staff:actor1")
    with both.plain.behind_its_back() as connection:
        ATTACKS["edit what answers are found by"].plain(connection)
    assert both.plain.actors("staff:actor1") == before - 1
    assert both.plain.suspicions() == []


def test_a_backup_put_back(both: Both) -> None:
    """The older plain table is as good as any; a trail isn't for who remembers the newer one."""
    shutil.copy(both.older_plain, both.plain.path)
    assert both.plain.suspicions() == []
    both.verify(both.older_trail)
    with pytest.raises(RollbackError, match="last seen size 702, offered 401"):
        both.verify(both.older_trail, seen=both.seen)


MALLORY = Event(action="invoice.update", kind="change", actor=Actor("staff", "mallory"))


def another_history(path: Path, key: SigningKey, events: range) -> None:
    """As an honest sequencer goes on with the file that it finds, given other events."""
    maker = Maker.going_on(path, key, seq=events.start - 1)
    maker.sequencer.deliver([maker.delivery(MALLORY) for _ in events])
    maker.close()


@pytest.mark.parametrize("size", [EVENTS - 1, EVENTS, EVENTS + 50])
def test_another_history_from_an_older_state(both: Both, size: int) -> None:
    """A backup that goes on, two hosts with one file, a thief of the key: signed, and another tree,
    smaller, as large or larger. Of two plain tables each looks whole.
    """
    shutil.copy(both.older_plain, both.plain.path)
    both.plain.append(delivery_at(seq, MALLORY) for seq in range(OLDER + 1, size + 1))
    assert both.plain.suspicions() == []
    another_history(both.older_trail, both.maker.key, range(OLDER + 1, size + 1))
    both.verify(both.older_trail)
    error = RollbackError if size < EVENTS else ForkError
    with pytest.raises(error) as caught:
        both.verify(both.older_trail, seen=both.seen)
    assert caught.value.index == (size + 2 if size < EVENTS else 0)


def test_a_history_written_anew(both: Both, tmp_path: Path) -> None:
    """By who has the key, from the first entry on; in the plain table by whoever has the file."""
    with both.plain.behind_its_back() as connection:
        connection.execute("UPDATE audit SET actor = 'staff:mallory'")
    assert both.plain.suspicions() == []
    (tmp_path / "anew").mkdir()
    forger = Maker(tmp_path / "anew" / "trail.db", both.maker.key)
    forger.fill([OLDER, EVENTS - OLDER])
    both.verify(forger.path)
    with pytest.raises(ForkError):
        both.verify(forger.path, seen=both.seen)
    forger.close()


def test_an_older_checkpoint_replayed(both: Both) -> None:
    """A plain table has none: what is behind it looks the same as what is under it."""
    tamper.replace_checkpoint(both.maker.path, tamper.read_checkpoint(both.older_trail))
    with pytest.raises(UncheckpointedError) as caught:
        both.verify()
    assert caught.value.index == OLDER + 1


def test_a_number_used_again(both: Both) -> None:
    """The plain table has the last that came; a trail keeps both, and it is noticed."""
    with both.plain.behind_its_back() as connection:
        connection.execute("DELETE FROM audit WHERE seq = 8")
        connection.execute(
            "INSERT INTO audit SELECT 8, source, 8, at, 'staff:mallory', body FROM audit"
            " WHERE seq = 9"
        )
    assert both.plain.suspicions() == []
    both.maker.sequencer.deliver([delivery_at(8, MALLORY)])
    both.verify()
    (notice,) = both.maker.store.notices()
    assert notice.action == "source.conflict" and notice.index > EVENTS
    epoch = both.maker.store.last_epoch(SOURCE)
    assert len(both.maker.store.bodies_at(SOURCE, epoch, 8)) == 2


def test_a_clock_set_back(both: Both) -> None:
    """A row dated a year ago stands in the plain table's answers about that year; here as doubtful,
    and it is an answer about the time of receipt, too.
    """
    late = delivery_at(EVENTS + 1, time=EPOCH - 365 * 86_400_000_000)
    both.plain.append([late])
    assert both.plain.suspicions() == []
    both.maker.sequencer.deliver([late])
    both.verify()
    entry = both.maker.store.entry(EVENTS + 2)
    assert entry.doubtful and decode_event(entry.body).time < "2023" < entry.received

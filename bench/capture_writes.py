"""What capturing writes costs: client CPU with triggers and context beside the same without.

Two copies of one database, one of them installed and written to through a captured connection or
engine (SQLAlchemy's unit of work); blocks of the same work in turn (A B B A …), CPU time of the
process, median of the ratios of neighbouring blocks. The cost of the relay, which runs elsewhere or
later, isn't in it; decoding is measured by itself.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_rows import OutboxDecoder
from indelible.capture.sqlalchemy import capture
from indelible.capture.sqlite3 import connect
from indelible.capture.sqlite_install import install
from indelible.capture.sqlite_outbox import outbox_state, read_layouts, read_outbox
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.policy import Policy, parse_policy
from indelible.transport.journal import Journal

ROWS = 20_000
BLOCKS = 20
POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.person]
subject = "self"
"""
SCHEMA = """
CREATE TABLE person (
  id INTEGER PRIMARY KEY, name TEXT, town TEXT, email TEXT, phone TEXT, grade INTEGER,
  note TEXT, balance REAL
);
CREATE INDEX person_town ON person (town);
"""
INSERT = (
    "INSERT INTO person (name, town, email, phone, grade, note, balance) VALUES (?,?,?,?,?,?,?)"
)


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    town: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]
    grade: Mapped[int]
    note: Mapped[str]
    balance: Mapped[float]


class Host:
    """As much of a trail as writes need; everything is delivered at once."""

    def __init__(self, directory: Path) -> None:
        self.policy: Policy = parse_policy(POLICY)
        self.journal = Journal(directory)
        self.context_key = bytes(32)
        self.delivered = 0

    def delivered_through(self, incarnation: str) -> int:
        return self.delivered

    def watch_database(self, path: Path) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        raise SystemExit(f"{action}: {message}")


def person(n: int) -> tuple[object, ...]:
    return (f"name {n}", f"town {n % 50}", f"{n}@example.org", str(n), n % 7, "n" * 40, n / 3)


def make_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    connection.executemany(INSERT, (person(n) for n in range(ROWS)))
    connection.commit()
    connection.close()


def insert_each(connection: sqlite3.Connection) -> None:
    """Single-row write transactions."""
    for n in range(300):
        connection.execute(INSERT, person(n))
        connection.commit()


def get_and_change(connection: sqlite3.Connection) -> None:
    """A row read by its key, changed, committed."""
    for n in range(1, 300):
        connection.execute("SELECT * FROM person WHERE id = ?", (n * 37,)).fetchone()
        connection.execute("UPDATE person SET grade = grade + 1 WHERE id = ?", (n * 37,))
        connection.commit()


def bulk_insert(connection: sqlite3.Connection) -> None:
    connection.executemany(INSERT, (person(n) for n in range(ROWS)))
    connection.rollback()


def bulk_update(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE person SET grade = grade + 1 WHERE id <= ?", (ROWS,))
    connection.rollback()


def orm_insert_each(engine: Engine) -> None:
    names = ("name", "town", "email", "phone", "grade", "note", "balance")
    for n in range(100):
        with Session(engine) as session:
            session.add(Person(**dict(zip(names, person(n), strict=True))))
            session.commit()


def orm_get_and_change(engine: Engine) -> None:
    for n in range(1, 100):
        with Session(engine) as session:
            found = session.get_one(Person, n * 37)
            found.grade += 1
            session.commit()


def compare(work: Callable[[], None], captured: Callable[[], None], blocks: int) -> float:
    """The median ratio of CPU time, captured to plain."""
    for once in (work, captured):
        once()
    ratios = []
    for block in range(blocks):
        taken = [0.0, 0.0]
        for which in (0, 1) if block % 2 else (1, 0):
            begin = time.process_time()
            (captured if which else work)()
            taken[which] = time.process_time() - begin
        ratios.append(taken[1] / taken[0])
    return statistics.median(ratios)


def measure(directory: Path, blocks: int) -> dict[str, float]:
    paths = [directory / "plain.sqlite", directory / "captured.sqlite"]
    for path in paths:
        make_database(path)
    host = Host(directory / "journals")
    install(paths[1], host.policy, journal=host.journal)
    plain = sqlite3.connect(paths[0])
    captured = connect(paths[1], trail=host)
    reader = sqlite3.connect(paths[1], isolation_level=None)
    engines = [create_engine(f"sqlite:///{path}") for path in paths]
    capture(engines[1], host)
    results = {}
    for connection in (plain, captured):
        connection.execute("PRAGMA synchronous = NORMAL")
    orm = {
        "ORM: single-row insert transactions": orm_insert_each,
        "ORM: get and change": orm_get_and_change,
    }
    works = {
        "single-row insert transactions": (insert_each, blocks),
        "get and change": (get_and_change, blocks),
        f"bulk insert of {ROWS}": (bulk_insert, max(3, blocks // 4)),
        f"bulk update of {ROWS}": (bulk_update, max(3, blocks // 4)),
    }
    with acting_as(Actor("staff", "alice"), reason="bench"):
        for name, each in orm.items():
            ratio = compare(lambda e=each: e(engines[0]), lambda e=each: e(engines[1]), blocks)  # type: ignore[misc]
            results[name] = round(ratio, 3)
        for engine in engines:
            engine.dispose()
        for name, (work, times) in works.items():
            ratio = compare(lambda w=work: w(plain), lambda w=work: w(captured), times)  # type: ignore[misc]
            results[name] = round(ratio, 3)
            host.delivered = outbox_state(reader).newest
    captured.close()
    results["decode, microseconds a row"] = decode_cost(reader)
    plain.close()
    reader.close()
    return results


def decode_cost(reader: sqlite3.Connection) -> float:
    """What the relay spends on a row, reading included."""
    state = outbox_state(reader)
    decoder = OutboxDecoder(state.incarnation, read_layouts(reader), bytes(32), ContextLedger())
    begin = time.process_time()
    rows = read_outbox(reader, 0, 1_000_000, max_bytes=1 << 40, max_s=600).rows
    decoder.decode(rows)
    return round((time.process_time() - begin) * 1e6 / len(rows), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        print(json.dumps(measure(Path(directory), options.blocks), indent=2))


if __name__ == "__main__":
    main()

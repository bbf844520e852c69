"""What capturing reads costs: client CPU with capture beside without, in one process.

Two engines on the same file, one captured into a real journal; blocks of the same work in turn
(A B B A …), CPU time of the process, median of the ratios of neighbouring blocks.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from indelible.capture.sqlalchemy import capture
from indelible.capture.sqlite3 import connect
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.policy import Policy, parse_policy
from indelible.transport.journal import Journal

ROWS = 20_000
BLOCKS = 40
WORKS_A_BLOCK = 6
POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.person]
subject = "self"
[tables.bill]
subject = "person -> person"
"""


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    town: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]
    street: Mapped[str]
    grade: Mapped[int]
    note: Mapped[str]
    a: Mapped[int]
    b: Mapped[float]
    c: Mapped[str]
    d: Mapped[str]


class Plain(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    town: Mapped[str]
    grade: Mapped[int]


class Host:
    """As much of a trail as reads need, with a real journal."""

    def __init__(self, directory: Path) -> None:
        self.policy: Policy = parse_policy(POLICY)
        self.journal = Journal(directory)
        self.context_key = bytes(32)

    def delivered_through(self, incarnation: str) -> int:
        return 0

    def watch_database(self, path: Path) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        if action != "capture.not_installed":  # reads are all that's measured here
            raise SystemExit(f"{action}: {message}")


def make_database(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.execute(
            insert(Person),
            [
                {
                    "id": n,
                    "name": f"name {n}",
                    "town": f"town {n % 50}",
                    "email": f"{n}@example.org",
                    "phone": str(n),
                    "street": f"street {n}",
                    "grade": n % 7,
                    "note": "n" * 40,
                    "a": n,
                    "b": n / 3,
                    "c": "c" * 20,
                    "d": "d" * 20,
                }
                for n in range(1, ROWS + 1)
            ],
        )
        connection.execute(
            insert(Plain),
            [
                {"id": n, "name": f"n {n}", "town": f"t {n % 50}", "grade": n % 7}
                for n in range(1, ROWS)
            ],
        )
    engine.dispose()


def orm_get(engine: Engine) -> Callable[[], None]:
    def work() -> None:
        with Session(engine) as session:
            for n in range(1, 60):
                session.get(Person, n * 37)

    return work


def orm_entities(engine: Engine) -> Callable[[], None]:
    def work() -> None:
        with Session(engine) as session:
            for start in (0, 5000):
                query = select(Person).where(Person.id > start).order_by(Person.id).limit(1000)
                session.scalars(query).all()
                session.expunge_all()

    return work


def core(engine: Engine, sql: str, times: int) -> Callable[[], None]:
    statement = text(sql)

    def work() -> None:
        with engine.connect() as connection:
            for n in range(times):
                connection.execute(statement, {"n": n * 20}).all()

    return work


def plain(connection: sqlite3.Connection, sql: str, times: int) -> Callable[[], None]:
    def work() -> None:
        for n in range(times):
            connection.execute(sql, (n * 20,)).fetchall()

    return work


def compare(without: Callable[[], None], captured: Callable[[], None], blocks: int) -> float:
    """The median ratio of CPU time, captured to without."""

    for _ in range(2):
        without()
        _as_someone(captured, 1)
    ratios = []
    for block in range(blocks):
        taken = [0.0, 0.0]
        for which in (0, 1) if block % 2 else (1, 0):
            begin = time.process_time()
            if which:
                _as_someone(captured, WORKS_A_BLOCK)
            else:
                for _ in range(WORKS_A_BLOCK):
                    without()
            taken[which] = time.process_time() - begin
        ratios.append(taken[1] / taken[0])
    return statistics.median(ratios)


def _as_someone(work: Callable[[], None], times: int) -> None:
    """One request: what it read is on disk at its end, by one sync."""
    with acting_as(Actor("staff", "alice"), reason="bench"):
        for _ in range(times):
            work()


def measure(directory: Path, blocks: int) -> dict[str, float]:
    path = directory / "app.sqlite"
    make_database(path)
    host = Host(directory / "journals")
    engines = [create_engine(f"sqlite:///{path}") for _ in range(2)]
    capture(engines[1], host)
    connections = [sqlite3.connect(path), connect(path, trail=host)]
    narrow = "SELECT name FROM {} WHERE id > {} ORDER BY id LIMIT 1000"
    one = "SELECT name FROM item WHERE id = {}"
    grouped = "SELECT grade, count(*) FROM item WHERE id > {} AND id < 1500 GROUP BY grade"
    works: dict[str, list[Callable[[], None]]] = {
        "SQLAlchemy, get by key": [orm_get(engine) for engine in engines],
        "SQLAlchemy, 1,000 entities": [orm_entities(engine) for engine in engines],
        "SQLAlchemy, one name": [core(e, one.format(":n"), 60) for e in engines],
        "SQLAlchemy, 1,000 names": [core(e, narrow.format("item", ":n"), 10) for e in engines],
        "SQLAlchemy, 1,000 rows of 4 columns, no key": [
            core(e, "SELECT name, town, phone, street FROM person WHERE id > :n LIMIT 1000", 10)
            for e in engines
        ],
        "SQLAlchemy, 1,000 names, each its own subject": [
            core(e, narrow.format("person", ":n"), 10) for e in engines
        ],
        "SQLAlchemy, GROUP BY over 1,000": [core(e, grouped.format(":n"), 20) for e in engines],
        "sqlite3, one name": [plain(c, one.format("?"), 200) for c in connections],
        "sqlite3, 1,000 names": [plain(c, narrow.format("item", "?"), 10) for c in connections],
        "sqlite3, GROUP BY over 1,000": [plain(c, grouped.format("?"), 20) for c in connections],
    }
    results = {
        name: compare(without, captured, blocks) for name, (without, captured) in works.items()
    }
    for connection in connections:
        connection.close()
    for engine in engines:
        engine.dispose()
    host.journal.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory), arguments.blocks)
    if arguments.json:
        print(json.dumps(results))
        return
    for name, ratio in results.items():
        print(f"{name:50} x{ratio:.2f}")


if __name__ == "__main__":
    main()

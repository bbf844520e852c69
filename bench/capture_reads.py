"""What capturing reads costs: client CPU with capture beside without, in one process.

Three engines on the same file: one as it is, one captured into a real journal, one captured into a
journal that drops what it is given. Blocks of the same work in turn (A B C C B A …), CPU time of
the process, median of the ratios of neighbouring blocks. The microseconds are those ratios times
what a statement takes without capture: for finding its keys, and for the journal.

Of lists that don't select their key it is measured beside, on a fourth engine without capture, what
it costs to have the keys selected as one more column ("selected"), which nobody looks at: nothing
that knows which rows were read can cost less.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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
GETS = 59
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


class NoJournal:
    """Takes events and drops them."""

    def append(self, draft: bytes) -> str:
        return ""

    def append_later(self, draft: bytes) -> None:
        pass

    def sync(self) -> None:
        pass


class Host:
    """As much of a trail as reads need, with a real journal."""

    def __init__(self, journal: Journal | NoJournal) -> None:
        self.policy: Policy = parse_policy(POLICY)
        self.journal = journal
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
            for n in range(1, GETS + 1):
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


def keys_selected(engine: Engine, sql: str, key: str, times: int) -> Callable[[], None]:
    return core(engine, sql.replace(" FROM", f", {key} FROM", 1), times)


def plain(connection: sqlite3.Connection, sql: str, times: int) -> Callable[[], None]:
    def work() -> None:
        for n in range(times):
            connection.execute(sql, (n * 20,)).fetchall()

    return work


class Cost(NamedTuple):
    """Ratios to the same without capture, and microseconds of CPU time a statement."""

    ratio: float
    ratio_without_journal: float
    ratio_selected: float | None
    without_us: float
    keys_us: float
    journal_us: float


def compare(works: Sequence[Callable[[], None]], statements: int, blocks: int) -> Cost:
    """`works` are the same without capture, with it, and with it but for the journal; then perhaps
    with the keys merely selected, too."""
    for _ in range(2):
        for work in works:
            _as_someone(work, 1)
    taken: list[list[float]] = [[] for _ in works]
    turn = list(range(len(works)))
    for block in range(blocks):
        for which in reversed(turn) if block % 2 else turn:
            begin = time.process_time()
            _as_someone(works[which], WORKS_A_BLOCK)
            taken[which].append(time.process_time() - begin)
    without, captured, unwritten, *with_keys = taken
    each = WORKS_A_BLOCK * statements / 1e6
    plain_us = statistics.median(without) / each
    ratio, unjournaled, *selected = [
        statistics.median(b / a for a, b in zip(without, others, strict=True))
        for others in (captured, unwritten, *with_keys)
    ]
    return Cost(
        ratio,
        unjournaled,
        selected[0] if selected else None,
        plain_us,
        plain_us * (unjournaled - 1),
        plain_us * (ratio - unjournaled),
    )


def _as_someone(work: Callable[[], None], times: int) -> None:
    """One request: what it read is on disk at its end, by one sync."""
    with acting_as(Actor("staff", "alice"), reason="bench"):
        for _ in range(times):
            work()


def measure(directory: Path, blocks: int) -> dict[str, Cost]:
    path = directory / "app.sqlite"
    make_database(path)
    journal = Journal(directory / "journals")
    hosts = [Host(journal), Host(NoJournal())]
    engines = [create_engine(f"sqlite:///{path}") for _ in range(3)]
    connections = [sqlite3.connect(path)]
    for engine, host in zip(engines[1:], hosts, strict=True):
        capture(engine, host)
        connections.append(connect(path, trail=host))
    narrow = "SELECT name FROM {} WHERE id > {} ORDER BY id LIMIT 1000"
    one = "SELECT name FROM item WHERE id = {}"
    four = "SELECT name, town, phone, street FROM person WHERE id > :n LIMIT 1000"
    grouped = "SELECT grade, count(*) FROM item WHERE id > {} AND id < 1500 GROUP BY grade"
    works: dict[str, tuple[list[Callable[[], None]], int]] = {
        "SQLAlchemy, get by key": ([orm_get(engine) for engine in engines], GETS),
        "SQLAlchemy, 1,000 entities": ([orm_entities(engine) for engine in engines], 2),
        "SQLAlchemy, one name": ([core(e, one.format(":n"), 60) for e in engines], 60),
        "SQLAlchemy, 1,000 names": (
            [
                *(core(e, narrow.format("item", ":n"), 10) for e in engines),
                keys_selected(engines[0], narrow.format("item", ":n"), "id", 10),
            ],
            10,
        ),
        "SQLAlchemy, 1,000 rows of 4 columns, no key": (
            [*(core(e, four, 10) for e in engines), keys_selected(engines[0], four, "id", 10)],
            10,
        ),
        "SQLAlchemy, 1,000 names, each its own subject": (
            [
                *(core(e, narrow.format("person", ":n"), 10) for e in engines),
                keys_selected(engines[0], narrow.format("person", ":n"), "id", 10),
            ],
            10,
        ),
        "SQLAlchemy, GROUP BY over 1,000": (
            [
                *(core(e, grouped.format(":n"), 20) for e in engines),
                keys_selected(engines[0], grouped.format(":n"), "group_concat(id)", 20),
            ],
            20,
        ),
        "sqlite3, one name": ([plain(c, one.format("?"), 200) for c in connections], 200),
        "sqlite3, 1,000 names": (
            [plain(c, narrow.format("item", "?"), 10) for c in connections],
            10,
        ),
        "sqlite3, GROUP BY over 1,000": (
            [plain(c, grouped.format("?"), 20) for c in connections],
            20,
        ),
    }
    results = {
        name: compare(captured, statements, blocks)
        for name, (captured, statements) in works.items()
    }
    for connection in connections:
        connection.close()
    for engine in engines:
        engine.dispose()
    journal.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory), arguments.blocks)
    if arguments.json:
        print(json.dumps({name: cost._asdict() for name, cost in results.items()}))
        return
    print(
        f"{'':46}{'capture':>8}{'no journal':>12}{'selected':>10}"
        f"{'plain':>11}{'keys':>10}{'journal':>10}"
    )
    for name, cost in results.items():
        print(
            f"{name:46}{cost.ratio:>7.2f}x{cost.ratio_without_journal:>11.2f}x"
            f"{'' if cost.ratio_selected is None else f'{cost.ratio_selected:.2f}x':>10}"
            f"{cost.without_us:>8.0f} us{cost.keys_us:>+7.0f} us{cost.journal_us:>+7.0f} us"
        )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"load averages (1, 5, 15 minutes) at the end: {load}")


if __name__ == "__main__":
    main()

"""What capture costs on PostgreSQL: processor time of client and backend, captured beside plain.

`python -m bench capture_postgres`. Two databases of one server of its own, written to through
SQLAlchemy 2 on psycopg by the same work in blocks in turn (A B B A …); median of the ratios of
neighbouring blocks. The relay isn't in it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, create_engine, insert, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.servers import Database, PostgresServer

from bench.machine import describe_machine
from indelible.capture.postgres.install import install
from indelible.capture.sqlalchemy import capture
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.policy import Policy, parse_policy
from indelible.transport.journal import Journal

ROWS = 5_000
SINGLES = 100
BLOCKS = 12


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    town: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]
    street: Mapped[str]
    grade: Mapped[int]
    note: Mapped[str]
    total: Mapped[float]
    count: Mapped[int]


class Host:
    """As much of a trail as capture needs."""

    def __init__(self, directory: Path, url: str) -> None:
        self.policy: Policy = parse_policy(
            f"[trail]\nurl = 'sqlite:///trail.db'\n[database]\nurl = '{url}'\n"
        )
        self.journal = Journal(directory)
        self.context_key = bytes(32)

    def delivered_through(self, incarnation: str) -> int:
        return 0

    def watch_database(self, path: Path) -> None:
        pass

    def watch_server(self) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        raise SystemExit(f"{action}: {message}")


class Site:
    """One database, its engine, and how much processor time both sides have used."""

    def __init__(self, database: Database, directory: Path, *, is_captured: bool) -> None:
        url = database.url()
        self.engine: Engine = create_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), pool_size=1, max_overflow=0
        )
        Base.metadata.create_all(self.engine)
        if is_captured:
            host = Host(directory, url)
            assert host.policy.server is not None
            install(host.policy.server, host.policy, journal=host.journal)
            capture(self.engine, host)
        with self.engine.connect() as connection:
            self._pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        self._clean = "TRUNCATE item" + (", indelible.outbox" if is_captured else "")

    def used_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    def clean(self) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(self._clean))


def row(n: int) -> dict[str, object]:
    return {
        "id": n,
        "name": f"name {n}",
        "town": f"town {n % 50}",
        "email": f"{n}@example.org",
        "phone": str(n),
        "street": f"street {n}",
        "grade": n % 7,
        "note": "n" * 60,
        "total": n / 3,
        "count": n,
    }


def insert_singly(site: Site) -> None:
    for n in range(1, SINGLES + 1):
        with Session(site.engine) as session:
            session.add(Item(**row(n)))
            session.commit()


def change_singly(site: Site) -> None:
    for n in range(1, SINGLES + 1):
        with Session(site.engine) as session:
            item = session.get_one(Item, n)
            item.count += 1
            session.commit()


def insert_many(site: Site) -> None:
    with Session(site.engine) as session:
        session.execute(insert(Item), [row(n) for n in range(1_000, 1_000 + ROWS)])
        session.commit()


def insert_together(site: Site) -> None:
    with site.engine.begin() as connection:
        for start in range(10_000, 10_000 + ROWS, 1_000):
            connection.execute(insert(Item).values([row(n) for n in range(start, start + 1_000)]))


def update_many(site: Site) -> None:
    with site.engine.begin() as connection:
        connection.execute(update(Item).values(count=Item.count + 1))


WORKS: dict[str, tuple[Callable[[Site], None], int]] = {
    "insert, a transaction each": (insert_singly, SINGLES),
    "get, change, commit": (change_singly, SINGLES),
    "executemany, a row": (insert_many, ROWS),
    "1,000 rows a statement, a row": (insert_together, ROWS),
    "bulk update, a row": (update_many, 2 * ROWS + SINGLES),
}


def main() -> None:
    print(describe_machine())
    server = PostgresServer(shared_buffers="512MB")
    try:
        with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
            sites = [
                Site(Database(server, name), Path(directory), is_captured=name == "captured")
                for name in ("plain", "captured")
            ]
            measure(sites)
    finally:
        server.remove()


def measure(sites: list[Site]) -> None:
    used: dict[str, list[list[float]]] = {name: [[], []] for name in WORKS}
    for block in range(-1, BLOCKS):
        for place in (0, 1) if block % 2 else (1, 0):
            site = sites[place]
            site.clean()
            for name, (work, count) in WORKS.items():
                before = site.used_s()
                with acting_as(Actor("staff", "alice")):
                    work(site)
                if block >= 0:  # the first warms up
                    used[name][place].append((site.used_s() - before) / count * 1e6)
    print(f"{'':32}{'ratio':>8}{'plain':>12}{'added':>12}")
    for name, (plain, captured) in used.items():
        ratio = statistics.median(c / p for p, c in zip(plain, captured, strict=True))
        base = statistics.median(plain)
        print(f"{name:<32}{ratio:>7.2f}x{base:>9.1f} us{base * (ratio - 1):>+9.1f} us")


if __name__ == "__main__":
    main()

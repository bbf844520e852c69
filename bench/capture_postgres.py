"""What capture costs on PostgreSQL: processor time of client and backend, captured beside plain.

`python -m bench capture_postgres`. Three databases of one server of its own (plain, captured by
triggers, captured by the log), written to through SQLAlchemy 2 by the same work in blocks in turn
(A B C C B A …); median of the ratios of neighbouring blocks. All works through psycopg, then one
through each driver. The relay isn't in it, nor is what the server does for it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Engine, create_engine, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
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
LISTS = 20
BLOCKS = 12
S = TypeVar("S", bound="Measured")


class Measured(Protocol):
    """One database, captured or plain."""

    def used_s(self) -> float:
        """How much processor time client and server have used so far."""

    def clean(self) -> None:
        """Take all rows away."""


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

    def __init__(self, directory: Path, url: str, profile: str) -> None:
        self.policy: Policy = parse_policy(
            f"[trail]\nurl = 'sqlite:///trail.db'\n[database]\nurl = '{url}'\n"
            f"profile = '{profile}'\n"
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

    def __init__(
        self, database: Database, directory: Path, *, profile: str | None, driver: str = "psycopg"
    ) -> None:
        url = database.url()
        self.engine: Engine = create_engine(
            url.replace("postgresql:", f"postgresql+{driver}:"), pool_size=1, max_overflow=0
        )
        Base.metadata.create_all(self.engine)
        if profile is not None:
            host = Host(directory, url, profile)
            assert host.policy.server is not None
            install(host.policy.server, host.policy, journal=host.journal)
            capture(self.engine, host)
        with self.engine.connect() as connection:
            self.pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        self._clean = "TRUNCATE item" + (", indelible.outbox" if profile is not None else "")

    def used_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    def clean(self) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(self._clean))


class AsyncSite:
    """The same, of an asynchronous engine."""

    def __init__(
        self, database: Database, directory: Path, *, profile: str | None, driver: str
    ) -> None:
        self._site = Site(database, directory, profile=profile)
        self.loop = asyncio.new_event_loop()
        self.engine: AsyncEngine = create_async_engine(
            database.url().replace("postgresql:", f"postgresql+{driver}:"),
            pool_size=1,
            max_overflow=0,
        )
        if profile is not None:
            capture(self.engine, Host(directory / driver, database.url(), profile))
        self._site.pid = self.loop.run_until_complete(self._find_pid())
        self.used_s = self._site.used_s
        self.clean = self._site.clean

    async def _find_pid(self) -> int:
        async with self.engine.connect() as connection:
            found: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            return found


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


def get_singly(site: Site) -> None:
    for n in range(1_000, 1_000 + SINGLES):
        with Session(site.engine) as session:
            session.get_one(Item, n)


def list_entities(site: Site) -> None:
    with Session(site.engine) as session:
        for _ in range(LISTS):
            session.scalars(select(Item).where(Item.id < 1_100)).all()
            session.expunge_all()


def list_names(site: Site) -> None:
    """The key isn't among what is asked for."""
    with site.engine.connect() as connection:
        for _ in range(LISTS):
            connection.execute(select(Item.name).where(Item.id < 2_000)).all()


def count_some(site: Site) -> None:
    with site.engine.connect() as connection:
        for _ in range(LISTS):
            connection.execute(select(func.count()).where(Item.grade == 3)).all()


def change_async(site: AsyncSite) -> None:
    async def work() -> None:
        for n in range(1, SINGLES + 1):
            async with AsyncSession(site.engine) as session:
                session.add(Item(**row(n)))
                await session.commit()
            async with AsyncSession(site.engine) as session:
                item = await session.get_one(Item, n)
                item.count += 1
                await session.commit()

    site.loop.run_until_complete(work())


def change_sync(site: Site) -> None:
    insert_singly(site)
    change_singly(site)


WORKS: dict[str, tuple[Callable[[Site], None], int]] = {
    "insert, a transaction each": (insert_singly, SINGLES),
    "get, change, commit": (change_singly, SINGLES),
    "executemany, a row": (insert_many, ROWS),
    "1,000 rows a statement, a row": (insert_together, ROWS),
    "get by key": (get_singly, SINGLES),
    "100 entities": (list_entities, LISTS),
    "1,000 names without their keys": (list_names, LISTS),
    "count of a seventh": (count_some, LISTS),
    "bulk update, a row": (update_many, 2 * ROWS + SINGLES),
}


def main() -> None:
    print(describe_machine())
    server = PostgresServer(shared_buffers="512MB", settings={"wal_level": "logical"})
    print(f"{'':44}{'plain':>12}{'triggers':>10}{'added':>12}{'log':>10}{'added':>12}")
    try:
        with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
            measure(sites_of(Site, server, Path(directory), "psycopg"), WORKS)
            name = "insert; get, change, commit: {}"
            for driver in ("psycopg", "psycopg2"):
                found = sites_of(Site, server, Path(directory), driver)
                measure(found, {name.format(driver): (change_sync, 2 * SINGLES)})
            for driver in ("psycopg", "asyncpg"):
                found_async = sites_of(AsyncSite, server, Path(directory), driver)
                work = {name.format(f"{driver}, async"): (change_async, 2 * SINGLES)}
                measure(found_async, work)
    finally:
        server.remove()


def sites_of(
    kind: Callable[..., S], server: PostgresServer, directory: Path, driver: str
) -> list[S]:
    """One plain, one of each profile, in databases of their own."""
    number = len(list(directory.iterdir()))
    own = directory / str(number)
    own.mkdir(mode=0o700)
    return [
        kind(
            Database(server, f"{name}_{number}"),
            own / name,
            profile=None if name == "plain" else name,
            driver=driver,
        )
        for name in ("plain", "triggers", "log")
    ]


def measure(sites: list[S], works: dict[str, tuple[Callable[[S], None], int]]) -> None:
    used: dict[str, list[list[float]]] = {name: [[] for _ in sites] for name in works}
    places = range(len(sites))
    for block in range(-1, BLOCKS):
        for place in places if block % 2 else reversed(places):
            site = sites[place]
            site.clean()
            for name, (work, count) in works.items():
                before = site.used_s()
                with acting_as(Actor("staff", "alice")):
                    work(site)
                if block >= 0:  # the first warms up
                    used[name][place].append((site.used_s() - before) / count * 1e6)
    for name, (plain, *captured) in used.items():
        base = statistics.median(plain)
        line = f"{name:<44}{base:>9.1f} us"
        for one in captured:
            ratio = statistics.median(c / p for p, c in zip(plain, one, strict=True))
            line += f"{ratio:>9.2f}x{base * (ratio - 1):>+9.1f} us"
        print(line)


if __name__ == "__main__":
    main()

"""What capture costs on MariaDB: processor time of client and server, captured beside plain.

`python -m bench capture_mariadb`. Two databases of one server of its own, written to through
SQLAlchemy 2 and PyMySQL by the same work in blocks in turn (A B B A …); median of the ratios of
neighbouring blocks. The relay isn't in it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from sqlalchemy import Engine, create_engine, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import String
from tests.mariadb_server import MariadbDatabase, MariadbServer

from bench.capture_postgres import ROWS, SINGLES, Host, measure, row
from bench.machine import describe_machine
from indelible.capture.mariadb.install import install
from indelible.capture.sqlalchemy import capture


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {str: String(200)}


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


class Site:
    """One database, its engine, and how much processor time client and server have used."""

    def __init__(self, database: MariadbDatabase, directory: Path, *, is_captured: bool) -> None:
        url = database.url()
        self.engine: Engine = create_engine(
            url.replace("mysql:", "mysql+pymysql:"), pool_size=1, max_overflow=0
        )
        Base.metadata.create_all(self.engine)
        if is_captured:
            host = Host(directory, url)
            assert host.policy.server is not None
            install(host.policy.server, host.policy, journal=host.journal)
            capture(self.engine, host)
        self._database = database
        self._tables = ["item", f"{database.name}_indelible.outbox"] if is_captured else ["item"]

    def used_s(self) -> float:
        """Of all threads of the server: it works for this site alone now."""
        return self._database.server.used_s() + time.process_time()

    def clean(self) -> None:
        self._database.execute(*(f"TRUNCATE {table}" for table in self._tables))


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


def update_many(site: Site) -> None:
    with site.engine.begin() as connection:
        connection.execute(update(Item).values(count=Item.count + 1))


WORKS: dict[str, tuple[Callable[[Site], None], int]] = {
    "insert, a transaction each": (insert_singly, SINGLES),
    "get, change, commit": (change_singly, SINGLES),
    "executemany, a row": (insert_many, ROWS),
    "bulk update, a row": (update_many, ROWS + SINGLES),
}


def main() -> None:
    print(describe_machine())
    server = MariadbServer()
    print(f"{'':40}{'ratio':>8}{'plain':>12}{'added':>12}")
    try:
        with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
            sites = [
                Site(MariadbDatabase(server, name), Path(directory), is_captured=name == "captured")
                for name in ("plain", "captured")
            ]
            measure(sites, WORKS)
    finally:
        server.remove()


if __name__ == "__main__":
    main()

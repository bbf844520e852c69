"""An application on SQLite with its trail, and somebody with another client."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from indelible import Actor, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.events.values import format_id
from indelible.invariants.differences import Difference, Summary, TableReport

ALICE = Actor("staff", "alice")
CONFIGURATION = '[trail]\nurl = "sqlite:///trail.db"\n[database]\nurl = "sqlite:///app.db"\n'


class Found:
    """All that one reconciliation gave."""

    def __init__(self, found: Iterator[Difference | TableReport | Summary]) -> None:
        self.differences: list[Difference] = []
        self.reports: dict[str, TableReport] = {}
        self.summary: Summary
        for one in found:
            if isinstance(one, Difference):
                self.differences.append(one)
            elif isinstance(one, TableReport):
                self.reports[one.table] = one
            else:
                self.summary = one

    @property
    def said(self) -> list[tuple[str, str, Mapping[str, object]]]:
        """Each difference as (row, what, columns)."""
        return [(f"{d.kind}:{format_id(d.id)}", d.what, d.columns) for d in self.differences]

    @property
    def names(self) -> list[tuple[str, str]]:
        """Each difference as (row, what)."""
        return [(name, what) for name, what, _ in self.said]


class Site:
    """What `run` does is captured, what `unseen` does as well as its connection lets it be."""

    def __init__(
        self, directory: Path, schema: str, policy: str = "", *, mode: str = "wal"
    ) -> None:
        self.database = directory / "app.db"
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.executescript(schema)
        self.configuration = directory / "indelible.toml"
        self.configuration.write_text(CONFIGURATION + policy)
        Trail.create(self.configuration).close()
        self.trail: Trail
        self.engine: Engine
        self.start()

    def start(self) -> None:
        self.trail = Trail.open(self.configuration)
        self.engine = create_engine(f"sqlite:///{self.database}")
        capture(self.engine, self.trail)

    def stop(self) -> None:
        self.engine.dispose()
        self.trail.close()

    def run(self, *statements: str, actor: Actor = ALICE) -> None:
        with acting_as(actor), self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def direct(self, script: str) -> None:
        """Another client's statements; triggers fire for it as for any."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            connection.executescript(script)

    def unseen(self, script: str) -> None:
        """Another client drops our triggers, writes, and puts them back as they were."""
        with without_triggers(self.database) as connection:
            for statement in script.split(";"):
                connection.execute(statement)

    def reconcile(self, *tables: str) -> Found:
        return Found(self.trail.reconcile(*tables))


@contextlib.contextmanager
def without_triggers(database: Path) -> Iterator[sqlite3.Connection]:
    """A transaction in which no trigger is there; afterwards they are what they were."""
    with contextlib.closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as client:
        client.execute("BEGIN IMMEDIATE")
        # In the order in which they were made, which is that in which they fire.
        triggers = client.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
        ).fetchall()
        for name, _ in triggers:
            client.execute(f'DROP TRIGGER "{name}"')
        yield client
        for _, sql in triggers:
            client.execute(sql)
        client.execute("COMMIT")

"""A captured application whose trail was put back to a backup goes on with a new trail."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlite3 import connect
from tests.integrity.witnessed import ORIGIN, Operated, policy_of, wait_until_witnessed
from tests.integrity.witnesses import WitnessProcess, run, running, until

SCHEMA = """
CREATE TABLE invoice (id INTEGER PRIMARY KEY, total INTEGER);
INSERT INTO invoice VALUES (1, 10), (2, 20);
"""


def configure(operated: Operated, file: str, origin: str) -> None:
    operated.configure(file, origin)
    with operated.config.open("a") as config:
        config.write('[database]\nurl = "sqlite:///app.db"\n')


def change(operated: Operated, trail: Trail, *totals: int) -> None:
    database = operated.directory / "app.db"
    with (
        contextlib.closing(connect(database, trail=trail)) as connection,
        acting_as(Actor("staff", "alice")),
    ):
        for total in totals:
            connection.execute("UPDATE invoice SET total = ? WHERE id = 1", (total,))
            connection.commit()


def test_what_waited_is_in_the_new_trail_with_who_did_it(tmp_path: Path) -> None:
    """Changes that the old trail couldn't take are carried, attributed; a new baseline follows."""
    witness = WitnessProcess(tmp_path / "w", "witness.example/w")
    operated = Operated(tmp_path / "trail", policy_of([witness], 1))
    directory = operated.directory
    witness.add(operated.key)
    configure(operated, "trail.db", ORIGIN)
    with contextlib.closing(sqlite3.connect(directory / "app.db")) as database:
        database.executescript(SCHEMA)
    run("install", cwd=directory)
    with running(witness):
        with operated.open() as trail:
            change(operated, trail, 11)
            trail.flush()
            wait_until_witnessed(trail)
        backup = operated.backup("backup.db")
        with operated.open() as trail:
            change(operated, trail, 12)
            trail.flush()
            wait_until_witnessed(trail)
        operated.restore(backup)
        with operated.open() as trail:
            until(lambda: trail.refusal is not None)
            change(operated, trail, 13)
        configure(operated, "second.db", "example.com/trail-2")
        run("init", "--continue", "trail.db", cwd=directory)
        for command in (("relay", "--once"), ("uninstall",), ("install",), ("relay", "--once")):
            run(*command, cwd=directory)
        with operated.open() as trail:
            change(operated, trail, 14)
            trail.flush()
            changes = list(trail.changes(by=Actor("staff", "alice")))
            assert [str(each.event.changes) for each in changes][-2:] == [
                "{'total': (12, 13)}",
                "{'total': (13, 14)}",
            ]
            for number, total in ((1, 14), (2, 20)):
                (found,) = trail.state(Target("invoice", number))
                assert found.state.columns == {"id": number, "total": total}

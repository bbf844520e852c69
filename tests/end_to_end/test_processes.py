"""Several processes on one database and one trail, some of them killed: nothing lost, or double."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from indelible import Actor, Trail
from indelible.capture.sqlalchemy import capture
from indelible.questions.reading import read_events
from indelible.questions.window import Window

from . import busy_worker

PATIENCE_S = 60.0
CONFIGURATION = """
[trail]
url = "sqlite:///trail.db"
[tables.Work]
kind = "row"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a database, captured, and its trail."""
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE Work (Id TEXT PRIMARY KEY, Times INTEGER NOT NULL)")
    (tmp_path / "indelible.toml").write_text(CONFIGURATION)
    with Trail.create(tmp_path / "indelible.toml") as trail:
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        capture(engine, trail)
        with engine.connect():
            pass
        engine.dispose()
    return tmp_path


@contextlib.contextmanager
def workers(
    site: Path, names: Sequence[str], *, threads: int, seconds: float
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Busy processes by name; none is left at the end."""
    running = {}
    for name in names:
        with (site / f"stderr.{name}").open("wb") as stderr:
            running[name] = subprocess.Popen(
                [sys.executable, busy_worker.__file__, site, name, str(threads), str(seconds)],
                stderr=stderr,
            )
    try:
        yield running
    finally:
        for process in running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_for_leader(site: Path, running: dict[str, subprocess.Popen[bytes]]) -> str:
    """The name of a live process that says it relays."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for name, process in running.items():
            if process.poll() is None and (site / f"leads.{name}").exists():
                return name
        time.sleep(0.02)
    raise AssertionError(f"no process relays within {PATIENCE_S:g} s")


def kill(site: Path, name: str, process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    (site / f"leads.{name}").unlink(missing_ok=True)


def promises(site: Path) -> dict[str, Counter[str]]:
    """What was promised, by kind; a line that a kill cut off promised nothing."""
    found: dict[str, Counter[str]] = {
        what: Counter() for what in ("row", "update", "settled", "event")
    }
    for path in site.glob("acks.*"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            what, which = line.decode().split(" ")
            found[what][which] += 1
    return found


def check_nothing_lost_or_double(site: Path) -> int:
    """Database, promises and trail agree; returns how many rows there are."""
    promised = promises(site)
    with contextlib.closing(sqlite3.connect(site / "app.db")) as connection:
        rows = dict(connection.execute("SELECT Id, Times FROM Work").fetchall())
    assert promised["row"].keys() <= rows.keys()
    assert all(rows[row] == 1 for row in promised["update"])

    with Trail.open(site / "indelible.toml") as trail:
        trail.flush(PATIENCE_S)
        told: Counter[tuple[str, str]] = Counter()
        events: Counter[str] = Counter()
        for seen in read_events(trail.reader, [], Window(), size=trail.reader.size):
            events[seen.event.id] += 1
            if seen.event.kind == "system":
                continue
            (target,) = seen.event.targets
            for (row_id,) in target.ids:
                told[seen.event.action, str(row_id)] += 1
                if seen.event.kind != "access":
                    assert seen.event.actor is not None
                    assert seen.event.actor.id == str(row_id).rpartition(".")[0]
        assert set(events.values()) <= {1}
        assert {row: n for (what, row), n in told.items() if what == "row.insert"} == dict.fromkeys(
            rows, 1
        )
        assert {row: n for (what, row), n in told.items() if what == "row.update"} == {
            row: times for row, times in rows.items() if times
        }
        assert all(told["row.settled", row] == 1 for row in promised["settled"])
        assert all(events[event] == 1 for event in promised["event"])
        for source in trail.changes(by=Actor("worker", "a.0")).sources():
            assert not source.missing
            assert not source.lost
        verification = trail.verify()
        assert verification.quarantined == 0
    return len(rows)


def check_stderr(site: Path, names: Sequence[str]) -> None:
    for name in names:
        assert (site / f"stderr.{name}").read_text() == "", name


def test_four_processes_of_eight_threads_and_the_leaseholder_killed(site: Path) -> None:
    """Another process takes over; every promise is in the trail, once, and it verifies."""
    names = ["a", "b", "c", "d"]
    with workers(site, names, threads=8, seconds=13) as running:
        first = wait_for_leader(site, running)
        time.sleep(1.5)
        kill(site, first, running.pop(first))
        second = wait_for_leader(site, running)
        assert second != first
        for process in running.values():
            assert process.wait(PATIENCE_S) == 0
    check_stderr(site, names)
    assert check_nothing_lost_or_double(site) > 100


def test_a_leaseholder_that_slept_is_deposed(site: Path) -> None:
    """Stopped for longer than its lease, it wakes up, commits nothing, and nothing is double."""
    names = ["a", "b"]
    with workers(site, names, threads=4, seconds=20) as running:
        first = wait_for_leader(site, running)
        time.sleep(1)
        running[first].send_signal(signal.SIGSTOP)
        (site / f"leads.{first}").unlink(missing_ok=True)
        others = {name: process for name, process in running.items() if name != first}
        wait_for_leader(site, others)
        time.sleep(0.5)
        running[first].send_signal(signal.SIGCONT)
        for process in running.values():
            assert process.wait(PATIENCE_S) == 0
    assert check_nothing_lost_or_double(site) > 50


def _kill_at_random(site: Path, rounds: int, seed: int) -> None:
    random_ = random.Random(seed)
    for round_ in range(rounds):
        names = [f"r{round_}a", f"r{round_}b"]
        with workers(site, names, threads=4, seconds=PATIENCE_S) as running:
            for name in random_.sample(names, 2):
                time.sleep(random_.uniform(0.2, 2.5))
                kill(site, name, running[name])


def test_killed_at_random(site: Path) -> None:
    """Wherever SIGKILL meets busy processes, what they promised is kept, once."""
    _kill_at_random(site, 3, seed=1)

    assert check_nothing_lost_or_double(site)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_often(site: Path, seed: int) -> None:
    """The same, many times over."""
    _kill_at_random(site, 20, seed=seed)

    assert check_nothing_lost_or_double(site)

"""Server, pooler, application and relay are killed at random under load: what was committed and
what is in the trail agree, nothing is there twice, and what was promised is kept."""

from __future__ import annotations

import abc
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.servers import Database, PgBouncer, PostgresServer

from indelible.events.codec import decode_event
from indelible.policy.model import Profile

from .test_trail import Site

ROOT = Path(__file__).parents[3]
SCHEMA = "CREATE TABLE work (id varchar(40) PRIMARY KEY, n integer, times integer)"
TABLES = "[tables.work]\nsubject = 'self'\n"


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=True)
    yield server
    server.remove()


@pytest.fixture
def own_logical_server() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=True, settings={"wal_level": "logical"})
    yield server
    server.remove()


class Load(abc.ABC):
    """The processes, each started anew wherever it was killed.

    `url` is as which the applications connect, `dying` what else is killed beside them and the
    relay.
    """

    def __init__(self, site: Site, directory: Path, rng: random.Random, url: str) -> None:
        self.site = site
        site.run("install")
        self._directory = directory
        self._rng = rng
        self._url = url
        self._started = 0
        self._applications = [self._application() for _ in range(2)]
        self._relay = self._start_relay()

    @property
    @abc.abstractmethod
    def dying(self) -> Mapping[str, Callable[[], None]]: ...

    @abc.abstractmethod
    def rows(self) -> dict[str, int]:
        """How often each row of the database was updated."""

    def _application(self) -> subprocess.Popen[bytes]:
        self._started += 1
        name = f"p{self._started}"
        with (self._directory / f"stderr.{name}").open("wb") as stderr:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.capture.postgres.chaos_worker"),
                    *(str(self._directory), name, self._url, "4"),
                ],
                cwd=ROOT,
                stderr=stderr,
            )

    def _start_relay(self) -> subprocess.Popen[bytes]:
        command = "from indelible.cli import main; main()"
        arguments = ["relay", "--config", str(self.site.config)]
        return subprocess.Popen(
            [sys.executable, "-c", command, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_one(self) -> None:
        """One of them, without a word, and another in its place."""
        which = self._rng.choice([*self.dying, "application", "application", "relay"])
        if which in self.dying:
            self.dying[which]()
        elif which == "relay":
            _kill(self._relay)
            self._relay = self._start_relay()
        else:
            place = self._rng.randrange(2)
            _kill(self._applications[place])
            self._applications[place] = self._application()

    def stop(self) -> None:
        for process in (*self._applications, self._relay):
            _kill(process)


class PostgresLoad(Load):
    """With PgBouncer in between."""

    def __init__(
        self,
        server: PostgresServer,
        directory: Path,
        rng: random.Random,
        profile: Profile = "triggers",
    ) -> None:
        self._server = server
        self._database = Database(server, "app")
        self._database.execute(SCHEMA)
        self._database.grant()
        self._bouncer = PgBouncer(self._database, pool_size=6)
        url = self._bouncer.url("app").replace("postgresql:", "postgresql+psycopg:")
        super().__init__(Site(self._database, directory, TABLES, profile), directory, rng, url)

    @property
    def dying(self) -> Mapping[str, Callable[[], None]]:
        return {"server": self._kill_server, "pooler": self._bouncer.restart}

    def rows(self) -> dict[str, int]:
        with contextlib.closing(self._database.connect()) as connection:
            return dict(connection.execute("SELECT id, times FROM work").fetchall())

    def stop(self) -> None:
        super().stop()
        self._bouncer.remove()

    def _kill_server(self) -> None:
        self._server.stop(signal.SIGQUIT)
        self._server.start()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_at_random(own_server: PostgresServer, tmp_path: Path) -> None:
    rng = random.Random(1)
    kill_and_check(PostgresLoad(own_server, tmp_path, rng), tmp_path, rng, seconds=30)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("profile", ["log", "both"])
def test_killed_at_random_with_the_log(
    own_logical_server: PostgresServer, tmp_path: Path, profile: Profile
) -> None:
    """The relay may die between what it wrote down and moving the slot on, and the server, too."""
    rng = random.Random(3)
    load = PostgresLoad(own_logical_server, tmp_path, rng, profile)
    kill_and_check(load, tmp_path, rng, seconds=90)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_random_for_five_minutes(own_server: PostgresServer, tmp_path: Path) -> None:
    rng = random.Random(2)
    kill_and_check(PostgresLoad(own_server, tmp_path, rng), tmp_path, rng, seconds=300)


def kill_and_check(load: Load, directory: Path, rng: random.Random, *, seconds: float) -> None:
    kills = 0
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            time.sleep(rng.uniform(0.5, 2.5))
            load.kill_one()
            kills += 1
        time.sleep(2)
    finally:
        load.stop()
    assert kills >= seconds / 6
    for stderr in directory.glob("stderr.*"):
        assert "Traceback" not in stderr.read_text(), stderr.read_text()
    assert check_nothing_lost_or_double(load, directory) > 10 * seconds


def check_nothing_lost_or_double(load: Load, directory: Path) -> int:
    """Database, promises and trail agree; returns how many rows there are."""
    promised: Counter[tuple[str, str]] = Counter()
    for path in directory.glob("acks.*"):
        for line in path.read_bytes().split(b"\n")[:-1]:  # a line cut off promised nothing
            what, row = line.decode().split(" ")
            promised[what, row] += 1
    rows = load.rows()
    assert {row for what, row in promised if what == "row"} <= rows.keys()
    assert all(rows[row] == 1 for what, row in promised if what == "update")

    told: Counter[tuple[str, str]] = Counter()
    with load.site.trail() as trail:
        trail.flush(120)
        ids: set[str] = set()
        for entry in trail.reader.entries(0, int(trail.reader.size) - 1):
            event = decode_event(entry.body)
            assert event.id not in ids
            ids.add(event.id)
            if event.kind not in ("change", "access"):
                continue
            assert event.targets, event
            (target,) = event.targets
            assert target.coverage == "exact", target.why
            for (row,) in target.ids:
                told[event.action, str(row)] += 1
                assert event.actor is not None
                assert event.actor.id == str(row).rpartition(".")[0]
        assert {n.action for n in trail.notices()} <= {"source.incarnation"}
        for source in trail.reader.sources():
            assert not source.missing, source
            assert not source.lost, source
        assert trail.verify().quarantined == 0
    assert {row: n for (what, row), n in told.items() if what == "work.insert"} == dict.fromkeys(
        rows, 1
    )
    assert {row: n for (what, row), n in told.items() if what == "work.update"} == {
        row: times for row, times in rows.items() if times
    }
    missing = [row for what, row in promised if what == "read" and not told["work.read", row]]
    assert not missing
    return len(rows)

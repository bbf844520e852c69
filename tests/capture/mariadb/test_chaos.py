"""Server, application and relay are killed at random under load: what was committed and what is in
the trail agree, nothing is there twice, and what was promised is kept."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.capture.postgres.test_chaos import SCHEMA, TABLES, Load, kill_and_check
from tests.mariadb_server import MariadbDatabase, MariadbServer

from .test_trail import Site


@pytest.fixture
def own_server() -> Iterator[MariadbServer]:
    server = MariadbServer(is_durable=True)
    yield server
    server.remove()


class MariadbLoad(Load):
    """Straight to the server."""

    def __init__(self, server: MariadbServer, directory: Path, rng: random.Random) -> None:
        self._server = server
        self._database = MariadbDatabase(server, "app")
        self._database.execute(SCHEMA)
        url = self._database.url("app").replace("mysql:", "mysql+pymysql:")
        super().__init__(Site(self._database, directory, TABLES), directory, rng, url)

    @property
    def dying(self) -> Mapping[str, Callable[[], None]]:
        return {"server": self._kill_server}

    def rows(self) -> dict[str, int]:
        connection = self._database.connect()
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT id, times FROM work")
            return dict(cursor.fetchall())

    def _kill_server(self) -> None:
        self._server.stop(signal.SIGKILL)
        self._server.start()


def test_killed_at_random(own_server: MariadbServer, tmp_path: Path) -> None:
    rng = random.Random(1)
    kill_and_check(MariadbLoad(own_server, tmp_path, rng), tmp_path, rng, seconds=30)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_random_for_five_minutes(own_server: MariadbServer, tmp_path: Path) -> None:
    rng = random.Random(2)
    kill_and_check(MariadbLoad(own_server, tmp_path, rng), tmp_path, rng, seconds=300)

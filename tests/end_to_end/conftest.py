"""The day, worked once by the application alone and once audited."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from indelible import Trail

from .oracle import Oracle
from .sites import AuditedSite, PlainSite
from .working_day import work_a_day


@dataclass
class Day:
    """`closed` is the directory after everything was closed, for tests that change it."""

    plain: Oracle
    oracle: Oracle
    trail: Trail
    closed: Path

    def copy(self, directory: Path) -> Path:
        """Database, trail, journals and keys, as the day left them."""
        return shutil.copytree(self.closed, directory / "copy")


@pytest.fixture(scope="session", params=["delete", pytest.param("wal", marks=pytest.mark.long)])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The whole day, in either of SQLite's journal modes; the trail was closed and opened again."""
    plain = PlainSite(tmp_path_factory.mktemp("plain"), journal_mode=request.param)
    alone = Oracle(plain.database)
    work_a_day(plain, alone)
    plain.close()

    directory = tmp_path_factory.mktemp("audited")
    site = AuditedSite(directory, journal_mode=request.param)
    oracle = Oracle(site.database)
    work_a_day(site, oracle)
    site.close()

    closed = tmp_path_factory.mktemp("closed") / "day"
    shutil.copytree(directory, closed)
    with Trail.open(site.configuration) as trail:
        trail.flush()
        yield Day(alone, oracle, trail, closed)
    alone.close()
    oracle.close()

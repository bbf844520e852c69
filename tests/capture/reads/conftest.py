from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from indelible.capture.sqlite3 import connect

from .host import MemoryHost, make_database


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_database(tmp_path_factory.mktemp("reads") / "template.sqlite")


@pytest.fixture(scope="session")
def shared(template: Path) -> Path:
    """Set up for capture; for tests that only read."""
    path = Path(shutil.copy(template, template.with_name("shared.sqlite")))
    connect(path, trail=MemoryHost()).close()
    return path


@pytest.fixture
def database(shared: Path, tmp_path: Path) -> Path:
    """Set up for capture."""
    return Path(shutil.copy(shared, tmp_path / "app.sqlite"))


@pytest.fixture
def plain_copy(template: Path, tmp_path: Path) -> Path:
    """The same database, of which capture knows nothing."""
    return Path(shutil.copy(template, tmp_path / "plain.sqlite"))


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .host import MemoryHost, make_database


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_database(tmp_path_factory.mktemp("reads") / "template.sqlite")


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / "app.sqlite"))


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .trails import Maker


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    made = Maker(tmp_path / "trail.db")
    yield made
    made.store.close()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.questions.trails import Maker


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    maker = Maker(tmp_path / "trail.db")
    yield maker
    maker.store.close()

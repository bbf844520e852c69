from __future__ import annotations

from collections.abc import Iterator

import pytest

from indelible import Trail
from indelible.testing import in_memory_trail


@pytest.fixture
def trail() -> Iterator[Trail]:
    with in_memory_trail() as made:
        yield made

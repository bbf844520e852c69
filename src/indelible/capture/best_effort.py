"""An event that can't be written stops nothing, unless it is to."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from indelible.errors import IndelibleError

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def best_effort(event: str, *, strict: bool = False) -> Iterator[None]:
    """Write `event` inside: what prevents that is logged, with `strict` raised."""
    try:
        yield
    except IndelibleError as problem:
        if strict:
            raise
        _log.error("%s could not be recorded: %s", event, type(problem).__name__)

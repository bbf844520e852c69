"""What becomes of an audit event that can't be kept: it is tried again, until it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from indelible.errors import DeliveryError
from indelible.logs.teeing import Kept

T = TypeVar("T")
_RETRY_S: Final = 0.2


class Insisting:
    """A journal that is asked again until it takes the event: whoever reads a stream for it waits,
    and the application with it. Raises `DeliveryError` only where it `is_stopping`."""

    def __init__(
        self,
        journal: Kept,
        retry_s: float = _RETRY_S,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._journal = journal
        self._retry_s = retry_s
        self._is_stopping = is_stopping

    def append(self, draft: bytes) -> str:
        """See `Kept`."""
        return self.until_taken(lambda: self._journal.append(draft))

    def sync(self) -> None:
        """See `Kept`."""
        self.until_taken(self._journal.sync)

    def until_taken(self, write: Callable[[], T]) -> T:
        """What `write` returns, once it doesn't raise `DeliveryError`."""
        while True:
            try:
                return write()
            except DeliveryError:
                if self._is_stopping():
                    raise
                time.sleep(self._retry_s)

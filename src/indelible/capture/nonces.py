"""Nonces: ids of transactions, each given once, whatever database they are in."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Final


class Nonces:
    """Ids of transactions, each given once: `<process>:<counter>`; a fork counts for itself."""

    def __init__(self, rng: Callable[[int], str] = secrets.token_hex) -> None:
        self._rng = rng
        self._pid = 0
        self._prefix = ""
        self._counter: Iterator[int] = itertools.count(1)

    def next(self) -> str:
        pid = os.getpid()
        if pid != self._pid:
            self._counter = itertools.count(1)
            self._prefix = self._rng(8)
            self._pid = pid
        return f"{self._prefix}:{next(self._counter)}"


NONCES: Final = Nonces()
"""Shared by all connections of a process: trails never meet in it, it only counts."""

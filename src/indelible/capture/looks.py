"""The schema of a server as it was seen last, which all connections of a process share.

It is looked at every so often beside the statements, and at once where one reads from something
that isn't known.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from indelible.errors import IndelibleError

T = TypeVar("T")

_CHECK_S: Final = 30.0
_AT_MOST: Final = 20
"""So often in between something that isn't explained lets us look again."""
_PATIENCE_S: Final = 10.0


class Looks(Generic[T]):
    """Safe for threads. `read` tells what there is, and raises `IndelibleError`."""

    def __init__(self, nothing: T, read: Callable[[], T]) -> None:
        """`nothing` is what is known before the first look that succeeds."""
        self.known = nothing
        """The same object as long as nothing changed."""
        self._read = read
        self._looking = threading.Lock()
        self._began_s = self._seen_s = self._changed_s = self._due_s = float("-inf")
        self._left = _AT_MOST

    def look_if_due(self) -> None:
        """The first time, and behind `expect_change`, at once; else beside the statements."""
        if time.monotonic() <= self._due_s:
            return
        self._left = _AT_MOST
        if self._is_outdated:
            self._look()
            return
        self._due_s = time.monotonic() + _CHECK_S
        with contextlib.suppress(RuntimeError):  # the interpreter ends
            threading.Thread(target=self._look, name="indelible-look", daemon=True).start()

    def look_again(self) -> None:
        """Something runs that the schema as we know it doesn't explain."""
        if self._left:
            self._left -= 1
            self._look()

    def expect_change(self) -> None:
        """A statement ran after which tables may be others: look before the next one."""
        self._changed_s = time.monotonic()
        self._due_s = float("-inf")

    @property
    def _is_outdated(self) -> bool:
        return self._seen_s <= self._changed_s

    def _look(self) -> None:
        """What can't be read now stays as it was known."""
        asked_s = time.monotonic()
        looking = self._looking
        if not looking.acquire(timeout=_PATIENCE_S):
            # Held for good, perhaps: by a thread that stayed behind when this process was forked.
            self._looking = threading.Lock()
            return
        try:
            if self._began_s > asked_s:
                return  # another thread looked since
            self._began_s = began_s = time.monotonic()
            with contextlib.suppress(IndelibleError):
                found = self._read()
                if found != self.known:
                    self.known = found
                self._seen_s = began_s
            now_s = time.monotonic()
            # While nobody knows, soon again, but never waited for more than half of the time.
            self._due_s = now_s + min(_CHECK_S, now_s - began_s if self._is_outdated else _CHECK_S)
            if self._seen_s == began_s and self._is_outdated:
                self._due_s = float("-inf")  # it changed meanwhile
        finally:
            looking.release()

"""What a forked child finds: no lock that another thread of its parent held.

SQLite has locks of its own, one for its memory among them: forked while another thread is inside of
it, a child waits for ever with its first call. So whatever of ours works with SQLite in a thread of
its own does so under a lock that is held over a fork.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
_FOR_EVER: Final = -1.0
FORK_WAITS_S: Final = 5.0
"""For what may be long, as with a signer that hangs: then the fork is worth more."""


def hold_while_forking(
    owner: T,
    lock: threading.Lock | threading.RLock,
    in_child: Callable[[T], None] = lambda owner: None,
    *,
    wait_s: float = _FOR_EVER,
) -> None:
    """A fork waits for the `lock`, at most so long; the child finds it free, with `in_child` done.

    As long as `owner` lives, which isn't kept alive by this. What is registered later is waited for
    first: so what works with others' locks is to be registered behind them.
    """
    found = weakref.ref(owner)
    held: dict[int, bool] = {}
    """Whether the lock was had, by the thread that forks."""

    def before() -> None:
        if found() is not None:
            held[threading.get_ident()] = lock.acquire(timeout=wait_s)

    def after() -> None:
        if held.pop(threading.get_ident(), False):
            lock.release()

    def after_in_child() -> None:
        there = found()
        if there is not None:
            in_child(there)
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after_in_child)

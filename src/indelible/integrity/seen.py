"""What a verifier has seen of a trail, and what that is worth.

Whoever verifies from afar has no database driver: nothing here knows how a trail is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from indelible.errors import VerificationError
from indelible.integrity.faults import CheckpointError, ForkError, RollbackError, TrailFaultError
from indelible.tlog import (
    Hash,
    Size,
    TileReader,
    verify_beginning,
)

UNWITNESSED: Final = "unwitnessed, one trust domain"

Progress = Callable[[int, int], None]
"""Called with how many entries are done, and of how many."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A tree that a verifier has seen and found right."""

    origin: str
    size: int
    root: bytes
    vkey: str


def check_seen(reader: TileReader, *, origin: str, size: Size, root: Hash, seen: Seen) -> None:
    """Return only if the tree is a continuation of the one that was `seen`.

    Raises `CheckpointError` for another trail, `RollbackError` for a smaller tree and `ForkError`
    for another history, or tiles that don't lead to `root`: who wants to know which checks them
    first.
    """
    if seen.origin != origin:
        raise CheckpointError(
            0, f"expected the trail of {seen.origin}, which was verified before, not {origin}"
        )
    if size < seen.size:
        raise RollbackError(last_seen=seen.size, offered=int(size))
    try:
        verify_beginning(
            reader, old=Size(seen.size), old_root=Hash(seen.root), new=size, new_root=root
        )
    except TrailFaultError:
        raise  # says more: which tile it is
    except VerificationError:
        raise ForkError(
            0,
            f"the first {seen.size} entries aren't those that were verified before: the trail's "
            "history was rewritten",
        ) from None

"""A trail that lives as long as a test."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from indelible.trail import Trail

_RAM_DISK: Final = Path("/dev/shm")  # noqa: S108 - only as the parent of a directory of our own
_CONFIG: Final = """\
{policy}

[trail]
url = "sqlite:///trail.db"
origin = "test.example/trail"
"""


@contextlib.contextmanager
def in_memory_trail(policy: str = "", *, directory: Path | None = None) -> Iterator[Trail]:
    """A new trail, with keys of its own; all of it is gone when the block is left.

    It is an ordinary trail in ordinary files: in `directory`, else on the RAM disk of Linux
    (`/dev/shm`), else where temporary files go. `policy` is what would stand in `indelible.toml`
    beside `[trail]`::

        in_memory_trail('[tables.invoice]\\nsubject = "customer_id -> customer"')

    The application's database has to be a file too (a test's temporary one), and its engine
    disposed of before the trail goes. Raises `PolicyError` for a mistake in `policy`.
    """
    if directory is None and os.access(_RAM_DISK, os.W_OK):
        directory = _RAM_DISK
    with tempfile.TemporaryDirectory(prefix="indelible-", dir=directory) as name:
        config = Path(name) / "indelible.toml"
        config.write_text(_CONFIG.format(policy=policy), encoding="utf-8")
        with Trail.create(config) as trail:
            yield trail

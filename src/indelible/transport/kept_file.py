"""Files that say how far something is: replaced whole, open to their owner only."""

from __future__ import annotations

import os
from pathlib import Path

from indelible.transport.journal_writing import make_private_directory


def replace_file(path: Path, content: bytes) -> None:
    """When this returns `content` is on disk at `path`; a crash leaves that or what was there.

    Raises `OSError` and `ConfigurationError`.
    """
    make_private_directory(path.parent)
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(fd)
    new.replace(path)

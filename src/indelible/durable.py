"""Files that are on disk when a call returns: made or replaced whole, and folders with them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def write_new(path: Path, content: bytes) -> None:
    """Make the file (0600), on disk when this returns, its name behind `sync_directory`.

    Raises `FileExistsError`, and `OSError`.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)


def replace_whole(path: Path, content: bytes) -> None:
    """The file (0600) has this content, or still the one before, whatever happens meanwhile.

    For one writer at a time. Raises `OSError`.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    write_new(new, content)
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """The names in it are on disk. Raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the lock of the file `path` (0600, made where it is missing) until the block ends; false
    where another holds it. Raises `OSError`."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield take_lock(fd)
    finally:
        os.close(fd)


def take_lock(fd: int) -> bool:
    """Try to hold the file of `fd` alone; False where another descriptor holds it.

    By the kernel, so that one who was killed holds nobody up.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

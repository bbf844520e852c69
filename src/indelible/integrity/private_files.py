"""Files that only their owner reads: written whole and durably, and refused where others may."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from indelible.errors import ConfigurationError


def read_private(path: Path, what: str = "a key") -> str:
    """The ASCII text in a file of secrets, without the spaces around it; `what` it should be.

    Raises `ConfigurationError`, also where others than the owner may read the file.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(
                f"expected {path} to be readable by its owner only: chmod 600 {path}"
            )
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"expected {what} at {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"expected {what} at {path}, came other bytes") from None


def write_private(path: Path, content: bytes) -> None:
    """Make the file (0600), on disk when this returns; raises `FileExistsError`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)


def replace_private(path: Path, content: bytes) -> None:
    """The file has this content, or still the one before, whatever happens meanwhile.

    Raises `ConfigurationError` where it can't be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        write_private(new, content)
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}") from None

"""Files that only their owner reads: refused where others may."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from indelible.errors import ConfigurationError

PKCS11: Final = "pkcs11:"
"""How the URI of a key begins that a token has, in a file of keys."""


def read_private(path: Path, what: str = "a key") -> str:
    """The ASCII text in a file of secrets, without the spaces around it; `what` it should be.

    Raises `ConfigurationError`, also where others than the owner may read the file.
    """
    try:
        return read_private_bytes(path, what).decode("ascii").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"expected {what} at {path}, came other bytes") from None


def read_private_bytes(path: Path, what: str) -> bytes:
    """All of a file of secrets; raises what `read_private` does."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(
                f"expected {path} to be readable by its owner only: chmod 600 {path}"
            )
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected {what} at {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"expected {what} at a path, came {str(path)!r}") from None

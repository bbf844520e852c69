"""Which databases' outboxes are to be carried: known to every process that uses the trail.

One path a line in a file beside the journals, so that whichever process holds the lease
reads what any other one captures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from indelible.errors import ConfigurationError
from indelible.transport.journal_writing import make_private_directory

_NAME = "databases"


class WatchedDatabases:
    """Safe for threads and processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / _NAME
        self._added: set[Path] = set()

    def add(self, path: Path) -> None:
        """From now on `path` is among them; raises `ConfigurationError`."""
        path = path.resolve()
        if path in self._added:
            return
        if "\n" in str(path):
            raise ConfigurationError(f"expected a path of one line, got {path!r}")
        if path not in self.paths():
            make_private_directory(self._directory)
            try:
                fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(fd, f"{path}\n".encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError as error:
                raise ConfigurationError(f"can't write {self._file}: {error.strerror}") from None
        self._added.add(path)

    def remove(self, path: Path) -> None:
        """From now on `path` isn't among them; raises `ConfigurationError`."""
        path = path.resolve()
        kept = [each for each in self.paths() if each != path]
        self._added.discard(path)
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text("".join(f"{each}\n" for each in kept), "utf-8")
            fresh.chmod(0o600)
            fresh.replace(self._file)
        except OSError as error:
            raise ConfigurationError(f"can't write {self._file}: {error.strerror}") from None

    def paths(self) -> Sequence[Path]:
        """All of them, in the order in which they were added."""
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [Path(line) for line in dict.fromkeys(lines) if line]

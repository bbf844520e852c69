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
_SERVER = "server"
"""No path: those are absolute."""


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
            self._append(str(path))
        self._added.add(path)

    def remove(self, path: Path) -> None:
        """From now on `path` isn't among them; raises `ConfigurationError`."""
        path = path.resolve()
        self._added.discard(path)
        self._write([line for line in self._lines() if line != str(path)])

    def add_server(self) -> None:
        """From now on the server that the policy names is among them; raises
        `ConfigurationError`. Its URL isn't written down: it may hold a password."""
        if not self.has_server():
            self._append(_SERVER)

    def remove_server(self) -> None:
        """From now on the policy's server isn't among them; raises `ConfigurationError`."""
        self._write([line for line in self._lines() if line != _SERVER])

    def has_server(self) -> bool:
        """Whether the server that the policy names is among them."""
        return _SERVER in self._lines()

    def paths(self) -> Sequence[Path]:
        """All files among them, in the order in which they were added."""
        return [Path(line) for line in self._lines() if line != _SERVER]

    def _lines(self) -> list[str]:
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in dict.fromkeys(lines) if line]

    def _append(self, line: str) -> None:
        make_private_directory(self._directory)
        try:
            fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, f"{line}\n".encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise ConfigurationError(f"can't write {self._file}: {error.strerror}") from None

    def _write(self, lines: Sequence[str]) -> None:
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            fresh.chmod(0o600)
            fresh.replace(self._file)
        except OSError as error:
            raise ConfigurationError(f"can't write {self._file}: {error.strerror}") from None

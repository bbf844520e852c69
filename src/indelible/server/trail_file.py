"""The trail's file as it stands at its path now, not the one that was opened once.

Whoever puts another file in its place (a backup, say) would otherwise have the server go on with
the one that is gone, and no verifier would see anything of it.
"""

from __future__ import annotations

import threading
from pathlib import Path

from indelible.errors import DeliveryError
from indelible.integrity.published import PublishedTrail, PublishedTree
from indelible.store.sqlite_reader import SqliteReader


class TrailFile:
    """A trail to publish, opened again where another file stands at the path; for many threads."""

    def __init__(self, path: Path) -> None:
        """Raises `NoTrailError` and `TrailFormatError`."""
        self._path = path
        self._opening = threading.Lock()
        self._identity = self._identify()
        self._reader = SqliteReader(path)
        self._published = PublishedTrail(self._reader)

    @property
    def origin(self) -> str:
        return self._published.origin

    def current(self) -> PublishedTree:
        """`PublishedTrail.current`; raises `DeliveryError` while there is no file."""
        identity = self._identify()
        if identity is None:
            raise DeliveryError(f"expected a trail at {self._path}, there is none now")
        with self._opening:
            if identity != self._identity:
                reader = SqliteReader(self._path)
                self._reader.close()  # what is being read from it closes itself
                self._reader, self._published = reader, PublishedTrail(reader)
                self._identity = identity
            published = self._published
        return published.current()

    def close(self) -> None:
        self._reader.close()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

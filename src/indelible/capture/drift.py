"""Watching for drift: tables that lost their triggers, or changed, while applications run."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from indelible.capture.sqlite_install import check
from indelible.capture.sqlite_plan import Drift
from indelible.errors import IndelibleError
from indelible.events.codec import format_time
from indelible.events.model import Timestamp
from indelible.policy.model import Policy

DRIFT: Final = "capture.drift"
"""The notice that a table isn't captured as it should be: `table`, and `since` when at most."""
_EVERY_S: Final = 1.0
_TIMEOUT_S: Final = 0.05


class Notice(Protocol):
    """`CaptureHost.notice`."""

    def __call__(self, action: str, message: str, **details: str) -> None: ...


class DriftWatch:
    """Compares triggers with policy whenever a database's schema has changed.

    A drift is noticed once, until it is gone, with the moment at which all was still well; a
    database that can't be read now is looked at again later. Used from one thread.
    """

    def __init__(
        self, policy: Policy, notice: Notice, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._notice = notice
        self._monotonic = monotonic
        self._looked: dict[Path, float] = {}
        self._versions: dict[Path, int] = {}
        self._known: dict[Path, frozenset[Drift]] = {}
        self._seen: dict[Path, Timestamp] = {}

    def look(self, path: Path) -> None:
        """Look at the database at `path`, at most once a second."""
        now = self._monotonic()
        if now - self._looked.get(path, float("-inf")) < _EVERY_S:
            return
        self._looked[path] = now
        with contextlib.suppress(IndelibleError, sqlite3.Error):
            moment = format_time(time.time_ns() // 1_000)
            version = _schema_version(path)
            if version == self._versions.get(path):
                self._seen[path] = moment
                return
            found = frozenset(check(path, self._policy))
            since = {"since": self._seen[path]} if path in self._seen else {}
            for drift in sorted(found - self._known.get(path, frozenset()), key=str):
                self._notice(
                    DRIFT,
                    f"not captured as it should be: {drift}",
                    database=path.name,
                    table=drift.table,
                    **since,
                )
            self._known[path] = found
            self._versions[path] = version
            self._seen[path] = moment


def _schema_version(path: Path) -> int:
    with contextlib.closing(
        sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_S)
    ) as connection:
        version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
        return version

"""The embedded default: capture sets up the database that it is pointed at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from indelible.capture.host import CaptureHost
from indelible.capture.sqlite_install import check, install
from indelible.errors import ConfigurationError, NotInstalledError


def prepare_database(path: Path, trail: CaptureHost) -> None:
    """Triggers, outbox and baseline are there, and the outbox is carried, when this returns.

    Tables that a migration left unseen are installed again, each with a notice. Raises
    `ConfigurationError` where the database can't be written or the policy can't be followed.
    """
    if path.exists():
        try:
            drifts = check(path, trail.policy)
        except NotInstalledError:
            drifts = []
            is_installed = False
        else:
            is_installed = True
        for drift in drifts:
            trail.notice("capture.drift", f"changed since capture was installed: {drift}")
        if drifts or not is_installed:
            install(path, trail.policy, journal=trail.journal)
    trail.watch_database(path)


def path_of(connection: sqlite3.Connection) -> Path:
    """The file of `connection`'s main database.

    Raises `ConfigurationError` for one in memory: nobody else could carry its outbox.
    """
    for _, name, file in connection.execute("PRAGMA database_list"):
        if name == "main" and file:
            return Path(file)
    raise ConfigurationError(
        "expected a database in a file, got one in memory: its changes couldn't be carried to "
        "the trail"
    )

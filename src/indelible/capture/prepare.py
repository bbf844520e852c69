"""The embedded default: capture sets up the database that it is pointed at."""

from __future__ import annotations

from pathlib import Path

from indelible.capture.drift import DRIFT
from indelible.capture.host import CaptureHost
from indelible.capture.sqlite_install import check, install
from indelible.errors import NotInstalledError


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
            trail.notice(DRIFT, f"changed since capture was installed: {drift}", table=drift.table)
        if drifts or not is_installed:
            install(path, trail.policy, journal=trail.journal)
    trail.watch_database(path)

"""Indelible's triggers, in whichever database a variant works on."""

from __future__ import annotations

from pathlib import Path

from indelible.capture.postgres.install import install as install_on_server
from indelible.capture.sqlite_install import install as install_in_file
from indelible.trail import Trail


def install(trail: Trail, file: Path) -> None:
    """On the server that the trail's policy names, or else in `file`."""
    if trail.policy.server is not None:
        install_on_server(trail.policy.server, trail.policy, journal=trail.journal)
    else:
        install_in_file(file, trail.policy, journal=trail.journal)

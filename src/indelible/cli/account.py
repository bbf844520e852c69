"""Whose process this is."""

from __future__ import annotations

import getpass
import os

from indelible.events.model import Actor


def account() -> Actor:
    """`os:NAME`; the number where no list of accounts has it, as in a container."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor("os", name)

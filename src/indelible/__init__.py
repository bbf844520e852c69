"""Indelible: audit trails that can't be forgotten to write nor rewritten unnoticed.

Importing this package loads no driver and no framework; an integration is a module that is
imported by name (`indelible.capture.sqlalchemy`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from indelible._version import __version__
from indelible.events.context import acting_as, carry
from indelible.events.model import Actor, Outcome, Subject, Target
from indelible.events.values import Value

if TYPE_CHECKING:
    from indelible.trail import Trail

# Whether our own logs are shown is the application's to say.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Actor",
    "Outcome",
    "Subject",
    "Target",
    "Trail",
    "Value",
    "__version__",
    "acting_as",
    "carry",
]


def __getattr__(name: str) -> object:
    # The trail brings cryptography and SQLite along; a module that only says who is acting
    # (a middleware, a worker) doesn't need them.
    if name == "Trail":
        from indelible.trail import Trail

        return Trail
    raise AttributeError(f"module 'indelible' has no attribute {name!r}")

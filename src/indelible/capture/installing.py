"""What the trail is told when capture was set up: which tables are seen from here on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from indelible.events.codec import encode_draft
from indelible.events.model import Event, TargetRows
from indelible.policy.model import Policy

INSTALLED: Final = "capture.installed"


def draft_installed(incarnation: str, tables: Iterable[str], policy: Policy) -> bytes:
    """Every write to `tables` is captured by now, and what was there is written down before.

    A table without rows has no other entry that says since when it is captured.
    """
    kinds = dict.fromkeys(policy.table(table).kind for table in tables)
    return encode_draft(
        Event(
            action=INSTALLED,
            kind="system",
            targets=tuple(TargetRows(kind) for kind in kinds),
            details={"incarnation": incarnation},
        )
    )

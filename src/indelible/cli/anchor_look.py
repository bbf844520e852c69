"""What `indelible status` says of a trail's anchors: what they took, and how long ago."""

from __future__ import annotations

from datetime import datetime

import msgspec

from indelible.cli.output import printable
from indelible.events.model import Timestamp
from indelible.policy.anchors import AnchorSettings
from indelible.store.protocol import AnchorRow
from indelible.trail import Trail

_PATIENCE_S = 120
"""Beyond `every_s` and the deadline, for witnesses that are asked before."""


class AnchorLook(msgspec.Struct, frozen=True, kw_only=True):
    """One anchor: `size` entries since the POSIX second `time` (0: never); `fault` where it isn't
    as it is to be. Nobody was asked.
    """

    anchor: str
    kind: str
    size: int
    time: int
    outside: bool
    text: str
    fault: str = ""


def look_at_anchors(trail: Trail, now: int) -> list[AnchorLook]:
    """At the POSIX second `now`, in the order of the configuration."""
    rows = {row.name: row for row in trail.anchors()}
    size = int(trail.reader.size)
    return [
        _look(trail, settings, rows.get(settings.name), size, now)
        for settings in trail.policy.anchors
    ]


def _look(
    trail: Trail, settings: AnchorSettings, row: AnchorRow | None, size: int, now: int
) -> AnchorLook:
    took, time = (int(row.size), row.time) if row is not None else (0, 0)
    fault = _fault(trail, settings, row, now)
    has = f"{took} of {size} entries, {max(0, now - time)} s ago" if took else "nothing yet"
    text = f"anchor {settings.name} ({settings.kind}): {has}"
    if fault:
        text += f"; {fault}"
    return AnchorLook(
        anchor=settings.name,
        kind=settings.kind,
        size=took,
        time=time,
        outside=row is not None and row.outside,
        text=printable(text),
        fault=printable(fault),
    )


def _fault(trail: Trail, settings: AnchorSettings, row: AnchorRow | None, now: int) -> str:
    if row is not None and row.fault:
        what = (
            "contradicts this trail" if row.contradicts else "took nothing when it was last asked"
        )
        return f"{what}: {row.fault}"
    took = 0 if row is None else int(row.size)
    waiting = next((batch for batch in trail.reader.batches(took) if batch.last >= took), None)
    if waiting is None:
        return ""
    waits_s = now - _second(waiting.time)
    if waits_s <= settings.every_s + settings.deadline_s + _PATIENCE_S:
        return ""
    return f"what came {waits_s} s ago isn't anchored: is a relay running?"


def _second(time: Timestamp) -> int:
    return int(datetime.fromisoformat(time).timestamp())

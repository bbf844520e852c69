"""What a trail's assurance looks like; apart from other output, as it brings cryptography along."""

from __future__ import annotations

from indelible.cli.output import printable
from indelible.integrity.anchors import AnchorFinding
from indelible.integrity.assurance import Witnessed
from indelible.integrity.seen import UNWITNESSED


def assurance_text(witnessed: Witnessed | None, size: int, now: int) -> str:
    """Who else watches, how far and since when; `now` is a POSIX second."""
    if witnessed is None:
        return UNWITNESSED
    quorum = "" if witnessed.quorum else ", which is no quorum"
    return printable(
        f"{witnessed} ({', '.join(witnessed.by)}){quorum}: {witnessed.size} of {size} entries, "
        f"{now - witnessed.newest} s ago"
    )


def anchor_text(found: AnchorFinding, size: int, now: int) -> str:
    """What an anchor is worth; `now` is a POSIX second."""
    has = "nothing yet"
    if found.size:
        has = f"{found.size} of {size} entries, {max(0, now - found.time)} s ago"
    why = f"couldn't be asked: {found.fault}" if found.fault else found.shown
    unchecked = " by what it answered, unchecked" if found.fault and found.size else ""
    return printable(f"anchor {found.name} ({found.kind}): {has}{unchecked}; {why}")

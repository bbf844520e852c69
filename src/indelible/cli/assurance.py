"""What a trail's assurance looks like; apart from other output, as it brings cryptography along."""

from __future__ import annotations

from indelible.cli.output import printable
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

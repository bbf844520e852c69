"""What `indelible status` says of a trail's witnesses."""

from __future__ import annotations

from typing import Final, NamedTuple

from indelible.cli.assurance import assurance_text
from indelible.cli.output import printable
from indelible.errors import VerificationError
from indelible.integrity.assurance import Witnessed
from indelible.trail import Trail

STALE_S: Final = 180
"""Three times as long as an idle trail goes without asking."""


class WitnessingLook(NamedTuple):
    """`assurance` in words, and each thing that isn't as the trust policy wants it."""

    assurance: str
    witnessed: Witnessed | None
    faults: tuple[str, ...]


def look_at_witnesses(trail: Trail, now: int) -> WitnessingLook:
    """At the POSIX second `now`. Without `[witness]` there are no faults."""
    faults = []
    try:
        witnessed = trail.witnessed()
    except VerificationError as error:
        witnessed = None
        faults.append(printable(str(error)))
    for row in trail.witnesses():
        if row.fault:
            what = "contradicts this trail" if row.contradicts else "didn't cosign"
            faults.append(printable(f"{row.vkey.partition('+')[0]} {what}: {row.fault}"))
    if trail.policy.witness is not None and not faults:
        if witnessed is None:
            faults.append("no witness has cosigned yet")
        elif not witnessed.quorum:
            faults.append("fewer witnesses cosigned than the trust policy asks for")
        elif now - witnessed.newest > STALE_S:
            faults.append(
                f"the newest cosignature is {now - witnessed.newest} s old: is a relay running?"
            )
    return WitnessingLook(
        assurance_text(witnessed, int(trail.reader.size), now), witnessed, tuple(faults)
    )

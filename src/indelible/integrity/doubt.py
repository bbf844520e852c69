"""Which claimed times can't be right. Pure; the sequencer and the verifier decide alike."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from indelible.events.codec import format_time, parse_time
from indelible.events.model import Timestamp

# Backends of one server take time and number one after the other, and may be held up in between;
# hosts' clocks are never quite the same; other clients' times may have milliseconds only.
_TOLERANCE: Final = 1_000_000


def is_doubtful(
    time: Timestamp, *, epoch: int, latest: Timestamp | None, received: Timestamp
) -> bool:
    """Whether an event dates itself after its receipt, before its producer began, or before an
    earlier event of the same producer: after and earlier by more than a second.

    `latest` is the greatest time of that producer so far that wasn't doubtful.
    """
    if time < _began(epoch) or _is_well_before(received, time):
        return True
    return latest is not None and _is_well_before(time, latest)


def _is_well_before(earlier: Timestamp, later: Timestamp) -> bool:
    return earlier < later and parse_time(later) - parse_time(earlier) > _TOLERANCE


@lru_cache(maxsize=1_024)
def _began(epoch: int) -> Timestamp:
    return format_time(epoch - epoch % 1_000)

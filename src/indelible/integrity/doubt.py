"""Which claimed times can't be right. Pure; the sequencer and the verifier decide alike."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from indelible.events.codec import format_time, parse_time
from indelible.events.model import Timestamp

# Another client's times have milliseconds only: cut off, they may seem to go back by as much.
_TOLERANCE: Final = 1_000


def is_doubtful(
    time: Timestamp, *, epoch: int, latest: Timestamp | None, received: Timestamp
) -> bool:
    """Whether an event dates itself after its receipt, before its producer began, or before an
    earlier event of the same producer (by more than a millisecond).

    `latest` is the greatest time of that producer so far that wasn't doubtful.
    """
    if time > received or time < _began(epoch):
        return True
    return (
        latest is not None and time < latest and parse_time(latest) - parse_time(time) > _TOLERANCE
    )


@lru_cache(maxsize=1_024)
def _began(epoch: int) -> Timestamp:
    return format_time(epoch - epoch % 1_000)

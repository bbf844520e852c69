"""Lengths of time as a person writes them: `3 years`, `12 months`, `90 seconds`."""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import re
from typing import Final

_LENGTH: Final = re.compile(r"([0-9]{1,6}) (second|minute|hour|day|week|month|year)s?")
_SECONDS: Final = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_629_800.0,
    "year": 31_557_600.0,
}
_MONTHS: Final = {"month": 1, "year": 12}


@functools.total_ordering
class Duration:
    """So many of one unit. Months and years are those of the calendar; where lengths are compared
    they have 30.4375 and 365.25 days.

    Raises `ValueError` for a text that is none.
    """

    __slots__ = ("count", "unit")

    def __init__(self, text: str) -> None:
        found = _LENGTH.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0:
            raise ValueError(
                'expected a length of time like "3 years", "12 months", "7 days" or "90 seconds", '
                f"got {text!r}"
            )
        self.count = int(found[1])
        self.unit = found[2]

    @property
    def seconds(self) -> float:
        """How long it is, about."""
        return self.count * _SECONDS[self.unit]

    def before(self, moment: dt.datetime) -> dt.datetime:
        """This much earlier; the year 1 where that is before it."""
        return self._moved(moment, -1)

    def after(self, moment: dt.datetime) -> dt.datetime:
        """This much later; the year 9999 where that is behind it."""
        return self._moved(moment, 1)

    def _moved(self, moment: dt.datetime, sign: int) -> dt.datetime:
        if self.unit in _MONTHS:
            month = moment.year * 12 + moment.month - 1 + sign * self.count * _MONTHS[self.unit]
            year, month = month // 12, month % 12 + 1
            if dt.MINYEAR <= year <= dt.MAXYEAR:
                day = min(moment.day, calendar.monthrange(year, month)[1])
                return moment.replace(year=year, month=month, day=day)
        else:
            try:
                return moment + sign * dt.timedelta(seconds=self.seconds)
            except OverflowError:
                pass
        edge = dt.datetime.min if sign < 0 else dt.datetime.max
        return edge.replace(tzinfo=moment.tzinfo)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.seconds == other.seconds

    def __lt__(self, other: Duration) -> bool:
        return self.seconds < other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'s' if self.count > 1 else ''}"

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"


def length_text(seconds: float) -> str:
    """A length that was measured, in the two units that say most of it: `2 h 10 min`."""
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts = []
    rest = round(seconds)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])

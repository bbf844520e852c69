"""Windows of time as a person types them: two instants, half-open.

A time is one of:

- `2022`, `2022-11`, `2022-11-23`: all of that year, month or day
- `2022-11-23 14:05`, `2022-11-23T14:05:09.25`, each also with `Z` or an offset (`+01:00`)
- `today`, `yesterday`, each also with a time (`yesterday 02:30`); `now`
- `90 seconds ago`, `20 minutes ago`, `2 hours ago`, `3 days ago`, `2 weeks ago`

A period (year, month, day) means its first instant in `since` and the first instant after it in
`until`, so that the last day named is included. Without an offset a time is the local one; one that
a clock change lets happen twice, or not at all, means the earlier of its two readings in `since`
and the later one in `until`: a window is never narrower than what was meant.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, Literal, NamedTuple

import msgspec

from indelible.errors import WindowError
from indelible.events.model import Timestamp

Edge = Literal["since", "until"]

_ACCEPTED: Final = (
    "a date (2022-11-23), month (2022-11) or year (2022); a time "
    "(2022-11-23 14:05, 2022-11-23T14:05:09Z, 2022-11-23 14:05+01:00); "
    "today, yesterday, yesterday 02:30; now; 3 days ago"
)
_DATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_MOMENT: Final = re.compile(
    r"(?:(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[t ]|(?P<day>today|yesterday) )"
    r"(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(?P<offset>z|[+-][0-9]{2}:[0-9]{2})?"
)
_AGO: Final = re.compile(r"([0-9]{1,6}) (second|minute|hour|day|week)s? ago")
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}
_ONE_SECOND: Final = dt.timedelta(seconds=1)


class Window(msgspec.Struct, frozen=True):
    """The instants from `since` on and before `until`; None leaves that side open."""

    since: Timestamp | None = None
    until: Timestamp | None = None

    def __contains__(self, time: Timestamp) -> bool:
        return (self.since is None or self.since <= time) and (
            self.until is None or time < self.until
        )

    def __str__(self) -> str:
        return f"[{self.since or 'the beginning'}, {self.until or 'the end'})"


class _Period(NamedTuple):
    """A year, month or day of the local calendar: `first` included, `after` not."""

    first: dt.date
    after: dt.date


def parse_window(
    since: str | dt.date | None,
    until: str | dt.date | None,
    *,
    now: dt.datetime,
    zone: dt.tzinfo,
) -> Window:
    """The window that a person (or a program, with a `date` or `datetime`) named.

    `now` is aware, `zone` the local one. None leaves a side open. Raises `WindowError` for a time
    that isn't one of those above, and for a window that holds no instant.
    """
    window = Window(
        None if since is None else parse_instant(since, "since", now=now, zone=zone),
        None if until is None else parse_instant(until, "until", now=now, zone=zone),
    )
    if window.since is not None and window.until is not None and window.until <= window.since:
        ends = "ends when it starts" if window.until == window.since else "ends before it starts"
        raise WindowError(f"expected a window with since before until; this one {ends}: {window}")
    return window


def parse_instant(
    when: str | dt.date, edge: Edge, *, now: dt.datetime, zone: dt.tzinfo
) -> Timestamp:
    """The instant that `when` means on this side of a window. Raises `WindowError`."""
    try:
        meant = _read(when, now, zone) if isinstance(when, str) else _take(when)
        if isinstance(meant, _Period):
            moment = _first_instant(meant.first if edge == "since" else meant.after, zone, edge)
        elif meant.tzinfo is None:
            moment = _readings(meant, zone)[0 if edge == "since" else 1]
        else:
            moment = meant
        moment = moment.astimezone(dt.UTC)
    except OverflowError:
        raise WindowError(f"expected a time in the years 1 to 9998 as {edge}") from None
    except _UnreadableError as error:
        raise WindowError(
            f"can't read {str(when)!r} as {edge}{error}; expected {_ACCEPTED}"
        ) from None
    return Timestamp(f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z")


class _UnreadableError(Exception):
    """Why a text isn't a time, as the end of a sentence; may be empty."""


def _take(when: dt.date) -> _Period | dt.datetime:
    if isinstance(when, dt.datetime):
        return when
    return _Period(when, when + dt.timedelta(days=1))


def _read(text: str, now: dt.datetime, zone: dt.tzinfo) -> _Period | dt.datetime:
    """What `text` names; a datetime without tzinfo is a local one."""
    words = text.strip().lower()
    if words == "now":
        return now
    if words in _DAYS_AGO:
        day = _local_day(now, zone, _DAYS_AGO[words])
        return _Period(day, day + dt.timedelta(days=1))
    if found := _DATE.fullmatch(words):
        return _period(*found.groups())
    if found := _AGO.fullmatch(words):
        return _ago(int(found[1]), found[2], now, zone)
    if found := _MOMENT.fullmatch(words):
        word = found["day"]
        date = _local_day(now, zone, _DAYS_AGO[word]).isoformat() if word else found["date"]
        return _moment(date, found["time"], found["offset"])
    if re.search(r"[0-9][/.][0-9]", words):
        raise _UnreadableError(" (day and month could be either)")
    raise _UnreadableError


def _period(year: str, month: str | None, day: str | None) -> _Period:
    try:
        first = dt.date(int(year), int(month or 1), int(day or 1))
    except ValueError as error:
        raise _UnreadableError(f" ({error})") from None
    if day is not None:
        return _Period(first, first + dt.timedelta(days=1))
    if month is not None:
        return _Period(first, (first + dt.timedelta(days=31)).replace(day=1))
    if first.year == dt.MAXYEAR:
        raise OverflowError
    return _Period(first, first.replace(year=first.year + 1))


def _moment(date: str, time: str, offset: str | None) -> dt.datetime:
    whole, _, fraction = time.partition(".")
    try:
        moment = dt.datetime.fromisoformat(f"{date}T{whole}")
        zone = None if offset is None else dt.datetime.strptime(offset.upper(), "%z").tzinfo
    except ValueError as error:
        raise _UnreadableError(f" ({error})") from None
    return moment.replace(microsecond=int(fraction.ljust(6, "0")), tzinfo=zone)


def _ago(count: int, unit: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Hours and less are elapsed time; days and weeks keep the time that the clock shows."""
    if unit in ("day", "week"):
        days = count * (7 if unit == "week" else 1)
        return now.astimezone(zone).replace(tzinfo=None, fold=0) - dt.timedelta(days=days)
    return now - dt.timedelta(**{f"{unit}s": count})


def _local_day(now: dt.datetime, zone: dt.tzinfo, days_ago: int) -> dt.date:
    return now.astimezone(zone).date() - dt.timedelta(days=days_ago)


def _readings(local: dt.datetime, zone: dt.tzinfo) -> tuple[dt.datetime, dt.datetime]:
    """The earliest and the latest instant that `local` can mean; mostly the same."""
    one, other = (local.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    return min(one, other), max(one, other)


def _first_instant(day: dt.date, zone: dt.tzinfo, edge: Edge) -> dt.datetime:
    """When `day` begins; where clocks go back over midnight it begins twice.

    Where midnight is skipped, the day begins with the clock change.
    """
    midnight = dt.datetime.combine(day, dt.time())
    early, late = _readings(midnight, zone)
    if early == late:
        return early
    if early.astimezone(zone).replace(tzinfo=None) == midnight:
        return early if edge == "since" else late
    while late - early > _ONE_SECOND:
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < midnight:
            early = middle
        else:
            late = middle
    return late

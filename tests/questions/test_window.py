"""What a person types as a window, and the instants that it means."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import WindowError
from indelible.events.codec import format_time, parse_time
from indelible.questions.window import Window, parse_instant, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
NOW = dt.datetime(2026, 11, 23, 9, 28, 4, 123456, dt.UTC)
zones = st.sampled_from(
    [
        dt.UTC,
        BERLIN,
        ZoneInfo("America/St_Johns"),
        ZoneInfo("America/Sao_Paulo"),
        ZoneInfo("Asia/Kathmandu"),
        ZoneInfo("Australia/Lord_Howe"),
        ZoneInfo("Pacific/Apia"),
    ]
)
days = st.dates(dt.date(1950, 1, 1), dt.date(2060, 12, 31))
instants = st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2060, 1, 1), timezones=st.just(dt.UTC))


def window(since: str | None, until: str | None, zone: dt.tzinfo = BERLIN) -> tuple[object, object]:
    found = parse_window(since, until, now=NOW, zone=zone)
    return found.since, found.until


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2021-04-29", "2022-01-29", ("2021-04-28T22:00:00", "2022-01-29T23:00:00")),
        ("2022-11", "2022-11", ("2022-10-31T23:00:00", "2022-11-30T23:00:00")),
        ("2022", "2022", ("2021-12-31T23:00:00", "2022-12-31T23:00:00")),
        ("yesterday 02:30", "yesterday 17:30", ("2026-11-22T01:30:00", "2026-11-22T16:30:00")),
        ("yesterday", "yesterday", ("2026-11-21T23:00:00", "2026-11-22T23:00:00")),
        ("today", "now", ("2026-11-22T23:00:00", "2026-11-23T09:28:04.123456")),
        ("3 days ago", "2 hours ago", ("2026-11-20T09:28:04.123456", "2026-11-23T07:28:04.123456")),
        (
            "1 week ago",
            "90 seconds ago",
            ("2026-11-16T09:28:04.123456", "2026-11-23T09:26:34.123456"),
        ),
        (
            "2022-11-23 14:05",
            "2022-11-23T14:05:09.25",
            ("2022-11-23T13:05:00", "2022-11-23T13:05:09.250000"),
        ),
        (
            "2022-11-23T14:05Z",
            "2022-11-23 14:05-03:30",
            ("2022-11-23T14:05:00", "2022-11-23T17:35:00"),
        ),
        ("  Yesterday 02:30 ", "NOW", ("2026-11-22T01:30:00", "2026-11-23T09:28:04.123456")),
    ],
)
def test_times_as_people_type_them(since: str, until: str, expected: tuple[str, str]) -> None:
    """A day, month or year named last is included; times without an offset are local."""
    assert window(since, until) == tuple(f"{e}Z" if "." in e else f"{e}.000000Z" for e in expected)


@pytest.mark.parametrize(
    "text",
    [
        "", "01/02/2022", "1.2.2022", "20220102", "22-01-02", "2022-1-2", "2022-13", "2022-02-30",
        "2022-01-02 25:00", "2022-01-02 24:00", "2022-01-02 10", "10:30", "2022-01-02Z",
        "2022-01-02 10:30 PM", "2022-01-02 10:30:60", "2022-01-02 10:30+25:00", "last monday",
        "tomorrow", "-3 days ago", "3 days", "a day ago", "2022-01-02 10:30:00.1234567",
        "2022-01-02  10:30", "٢٠٢٢-01-02", "today 10:30 ago", "yesterday 02:30Z+01:00", "2022-W05",
    ],
)  # fmt: skip
def test_other_forms_are_refused_with_what_is_accepted(text: str) -> None:
    """A time that could mean two things, or none, is refused; the error says what to type."""
    with pytest.raises(WindowError, match="expected a date \\(2022-11-23\\)") as caught:
        window(text, None)
    assert repr(text) in str(caught.value)


def test_a_window_that_holds_nothing_is_refused() -> None:
    """A window that ends before it starts, or when it starts, is an error, not an empty answer."""
    with pytest.raises(WindowError, match="ends before it starts"):
        window("2022-03", "2022-01")
    with pytest.raises(WindowError, match="ends when it starts"):
        window("2022-01-01 10:00", "2022-01-01 10:00")


@pytest.mark.parametrize("text", ["9999", "9999-12-31", "999999 weeks ago"])
def test_times_beyond_the_calendar_are_refused(text: str) -> None:
    """A time that no calendar reaches is an error, never a crash."""
    with pytest.raises(WindowError, match="years 1 to 9998"):
        window(None, text)


def test_a_clock_change_widens_the_window() -> None:
    """A local time that came twice, or never, is read so that the window loses nothing."""
    assert window("2022-10-30 02:30", "2022-10-30 02:30") == (
        "2022-10-30T00:30:00.000000Z",
        "2022-10-30T01:30:00.000000Z",
    )
    assert window("2022-03-27 02:30", "2022-03-27 02:30") == (
        "2022-03-27T00:30:00.000000Z",
        "2022-03-27T01:30:00.000000Z",
    )


def test_a_day_without_midnight_begins_with_the_clock_change() -> None:
    """Where midnight is skipped the day starts at the change; a day that never was is empty."""
    since, until = window("2018-11-04", "2018-11-04", ZoneInfo("America/Sao_Paulo"))
    assert (since, until) == ("2018-11-04T03:00:00.000000Z", "2018-11-05T02:00:00.000000Z")
    with pytest.raises(WindowError, match="ends when it starts"):
        window("2011-12-30", "2011-12-30", ZoneInfo("Pacific/Apia"))


@given(instants)
def test_an_instant_survives_being_typed(instant: dt.datetime) -> None:
    """A full ISO time with its offset means exactly that instant, on either side."""
    typed = instant.isoformat()
    for edge in ("since", "until"):
        found = parse_instant(typed[:-6] + "Z", edge, now=NOW, zone=BERLIN)
        assert found == parse_instant(typed, edge, now=NOW, zone=BERLIN)
        assert parse_time(found) == parse_time(format_time(parse_time(found)))
        assert dt.datetime.fromisoformat(found) == instant


@given(instants, zones)
def test_a_local_time_is_inside_the_window_that_starts_and_ends_at_it(
    instant: dt.datetime, zone: dt.tzinfo
) -> None:
    """Whatever the clock showed at an instant, typing that finds the instant again."""
    shown = instant.astimezone(zone).replace(tzinfo=None)
    now = NOW
    since = parse_instant(shown, "since", now=now, zone=zone)
    until = parse_instant(shown, "until", now=now, zone=zone)
    assert since <= format_time(round(instant.timestamp() * 1_000_000)) <= until


@given(days, zones, instants)
def test_a_day_holds_exactly_its_instants(
    day: dt.date, zone: dt.tzinfo, instant: dt.datetime
) -> None:
    """A day's window holds every instant of that local date, and consecutive days leave no hole."""
    since = parse_instant(day.isoformat(), "since", now=NOW, zone=zone)
    until = parse_instant(day.isoformat(), "until", now=NOW, zone=zone)
    following = day + dt.timedelta(days=1)
    assert parse_instant(following.isoformat(), "since", now=NOW, zone=zone) <= until
    local = instant.astimezone(zone).date()
    found = Window(
        parse_instant(local.isoformat(), "since", now=NOW, zone=zone),
        parse_instant(local.isoformat(), "until", now=NOW, zone=zone),
    )
    time = format_time(round(instant.timestamp() * 1_000_000))
    assert time in found
    if since < until:
        assert since in Window(since, until)
    assert until not in Window(since, until)


@given(st.text(max_size=40))
def test_no_text_escapes_as_another_error(text: str) -> None:
    """Whatever is typed, it is a time or a `WindowError`."""
    try:
        found = parse_instant(text, "since", now=NOW, zone=BERLIN)
    except WindowError:
        return
    assert parse_time(found) is not None

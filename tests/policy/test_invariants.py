"""`[[invariant]]`: what may be promised, and what is wrong with what can't be."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import PolicyError
from indelible.events.system import SYSTEM_ACTIONS
from indelible.integrity.numbering import QUIET
from indelible.invariants.notes import ABOUT_CAPTURE
from indelible.policy import parse_policy
from indelible.policy.durations import Duration, length_text
from indelible.policy.invariants import Accessors, Enumerable, Invariant
from indelible.policy.promises import INVARIANT_KEYS

TRAIL = '[trail]\nurl = "sqlite:///trail.db"\n'
ROOT = Path(__file__).parents[2]


def parse(text: str) -> tuple[Invariant, ...]:
    return parse_policy(TRAIL + text).invariants


def enumerable(text: str = "", window: str = "3 years") -> str:
    return f'[[invariant]]\nkind = "enumerable"\nwindow = "{window}"\n{text}\n'


def test_the_promises_of_the_reference() -> None:
    """The page's own examples are read, and mean what they say."""
    page = (ROOT / "docs" / "reference" / "invariants.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.S)

    first, second, third, *logs = parse(example)

    assert isinstance(first, Enumerable)
    assert first.promise.endswith("going back up to three years")
    assert (first.window, first.of) == (Duration("3 years"), ("accesses", "changes"))
    assert second.relaxed is not None
    assert second.relaxed.to == Duration("7 days")
    assert second.relaxed.until == dt.date(2027, 6, 30)
    assert isinstance(third, Accessors)
    assert (third.window, third.daily) == (Duration("1 year"), Duration("2 years"))
    assert [each.name for each in logs] == ["log_clean", "log_clean-2"]


def test_every_kind_and_key_is_documented() -> None:
    """A heading or a name on the page for each kind, and each of its keys."""
    page = (ROOT / "docs" / "reference" / "invariants.md").read_text()
    for kind, keys in INVARIANT_KEYS.items():
        assert re.search(rf"^### .*\b{kind}\b", page, re.M), kind
        for key in keys:
            assert f"`{key}" in page, f"{kind}.{key}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[invariant]\nkind = 'complete'", "as tables of their own: [[invariant]]"),
        ("[[invariant]]\nwindow = '1 day'", "line 3 [[invariant]] 1: expected kind as one of"),
        (
            f"{enumerable()}\n[[invariant]]\nkind = 'unbreakable'",
            "line 9 [[invariant]] 2: expected kind as one of enumerable, accessors, reversible,",
        ),
        (
            enumerable("windows = 3"),
            "line 6 [[invariant]] 1: unknown key 'windows'; allowed for enumerable: kind, window, "
            "of, tables, exact, brief, canary, name, promise, planned, relaxed",
        ),
        ("[[invariant]]\nkind = 'enumerable'", "expected `window` for kind 'enumerable'"),
        (enumerable(window="a while"), "line 5 [[invariant]] 1: window: expected a length of time"),
        (enumerable(window="0 days"), "expected a length of time"),
        ("[[invariant]]\nkind = 'enumerable'\nwindow = 3", "expected a length of time in quotes"),
        (enumerable("of = ['reads']"), "expected of accesses, changes"),
        (enumerable("of = []"), "expected of with something in it"),
        (enumerable("tables = 'invoice'"), "tables: Expected `array`, got `str`"),
        (enumerable("exact = 1.5"), "expected exact above 0 and at most 1, got 1.5"),
        (enumerable("name = 'a b'"), "expected name of letters, digits"),
        (enumerable("planned = 'soon'"), "planned: Expected `bool`, got `str`"),
        (f"{enumerable()}{enumerable()}", "it says the same as 'enumerable'"),
        (
            enumerable("name = 'a'") + enumerable("name = 'a'", "1 day"),
            "another invariant is called 'a'",
        ),
        (
            enumerable('relaxed = {to = "4 years", until = 2027-01-01, why = "x"}'),
            "line 6 [[invariant]] 1: relaxed to 4 years, which isn't less than window = 3 years",
        ),
        (
            enumerable('relaxed = {to = "4 days", until = 2027-01-01}'),
            "expected `why` for relaxed = {…}",
        ),
        (
            enumerable('relaxed = {to = "4 days", until = "soon", why = "x"}'),
            "line 6 [[invariant]] 1: relaxed: Invalid RFC3339",
        ),
        (
            enumerable('relaxed = {to = "4 days", until = 2027-01-01, why = " "}'),
            "relaxed: expected why",
        ),
        (
            enumerable('relaxed = {to = 4, until = 2027-01-01, why = "x"}'),
            "relaxed: expected to as a length of time, like window",
        ),
        (
            enumerable('relaxed = {to = "ever", until = 2027-01-01, why = "x"}'),
            "expected a length of time like",
        ),
        (
            enumerable('planned = true\nrelaxed = {to = "1 day", until = 2027-01-01, why = "x"}'),
            "it is planned: there is nothing to relax yet",
        ),
        (
            "[[invariant]]\nkind = 'forbids'\naction = 'a.b'\nby = 'staff'\n"
            "relaxed = {to = '1 day', until = 2027-01-01, why = 'x'}",
            "expected to as how many breaches are let pass",
        ),
        (
            "[[invariant]]\nkind = 'accessors'\nof = 'customer'\nwindow = '2 years'\n"
            "daily = '12 months'",
            "line 7 [[invariant]] 1: daily (12 months) has to reach further back than window",
        ),
        (
            f"{enumerable()}[[invariant]]\nkind = 'forgotten'\nof = 'customer'\n"
            "at_most = '2 years'",
            "line 5 [[invariant]] 1: window (3 years) is longer than anything is kept: 'forgotten' "
            "has at_most = 2 years",
        ),
        (
            "[[invariant]]\nkind = 'retained'\nat_least = '6 years'\n"
            "[[invariant]]\nkind = 'forgotten'\nof = 'customer'\nat_most = '2 years'",
            "at_least (6 years) is longer than anything is kept",
        ),
        (
            "[[invariant]]\nkind = 'delivered'\np95 = '1 hour'\np100 = '1 minute'",
            "p95 (1 hour) is longer than p100 (1 minute)",
        ),
        ("[[invariant]]\nkind = 'attributed'\nshare = 0", "expected share above 0"),
        ("[[invariant]]\nkind = 'attributed'\nshare = nan", "expected share above 0"),
        ("[[invariant]]\nkind = 'tamper_evident'\nwitnesses = 0", "expected witnesses above zero"),
        ("[[invariant]]\nkind = 'log_clean'\nfiles = []", "expected files with something in it"),
        (
            "[[invariant]]\nkind = 'log_clean'\nfiles = ['a']\nclasses = ['secret']",
            "expected of takeover, personal, special",
        ),
        ("[[invariant]]\nkind = 'separates'\nactions = ['a.b', 'a.b']", "expected two actions"),
        (
            "[[invariant]]\nkind = 'limits'\naction = 'export'\nat_most = 9",
            'expected action like "customer.export"',
        ),
        ("[[invariant]]\nkind = 'limits'\naction = 'a.b'\nat_most = 0", "at_most above zero"),
        (
            "[[invariant]]\nkind = 'forbids'\naction = 'a.b'\nby = 'all'",
            "what nobody may do needs no promise",
        ),
        (
            "[[invariant]]\nkind = 'reversible'\nwindow = '1 day'\nby = 'staff'",
            'expected by as "all" or like "staff:bob"',
        ),
        (
            "[[invariant]]\nkind = 'reversible'\nwindow = '1 day'\nrehearse = 'never'",
            "expected of copy, rolled-back",
        ),
        (
            "[[invariant]]\nkind = 'limits'\naction = 'a.b'\nat_most = 1\n"
            "relaxed = {to = 10.5, until = 2027-01-01, why = 'x'}",
            "relaxed: expected to as a whole number, like at_most, got 10.5",
        ),
        *(
            (
                f"[[invariant]]\nkind = 'attributed'\nshare = 0.9\n"
                f"relaxed = {{to = {to}, until = 2027-01-01, why = 'x'}}",
                f"line 6 [[invariant]] 1: relaxed: expected to as a number, got {to}",
            )
            for to in ("nan", "inf")
        ),
        (
            "[[invariant]]\nkind = 'forbids'\naction = 'capture.suspended'\nby = 'unattributed'",
            "line 5 [[invariant]] 1: expected action as what actors do: capture.suspended is an "
            "entry of the trail about itself",
        ),
        (
            "[[invariant]]\nkind = 'limits'\naction = 'capture.*'\nat_most = 1",
            "expected action as what actors do",
        ),
        (
            "[[invariant]]\nkind = 'separates'\nactions = ['a.b', 'hold.released']",
            "expected actions as what actors do: hold.released",
        ),
        (
            enumerable('canary = ["python", "a\\u0000b"]'),
            "line 6 [[invariant]] 1: expected canary without NUL characters",
        ),
        (
            f"{enumerable()}[[invariant]] # the second\nkind = 'attributed'\nrelaxed.to = 4",
            "line 9 [[invariant]] 2: expected `until` for relaxed = {…}",
        ),
    ],
    ids=map(str, range(48)),
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    """File, line, which invariant, what was expected and what came."""
    with pytest.raises(PolicyError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("indelible.toml")


@given(st.integers(1, 999_999), st.sampled_from(["second", "minute", "hour", "day", "week"]))
def test_lengths_go_back_and_forth(count: int, unit: str) -> None:
    """As text, and before and after a moment, within the calendar's years."""
    length = Duration(f"{count} {unit}s")
    assert Duration(str(length)) == length
    moment = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    if length.seconds < 2_000 * 31_557_600:
        assert length.after(length.before(moment)) == moment


def test_months_are_those_of_the_calendar() -> None:
    """A year before the 29th of February is the 28th; what the calendar hasn't is its edge."""
    leap = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
    assert Duration("1 year").before(leap) == dt.datetime(2023, 2, 28, 12, tzinfo=dt.UTC)
    assert Duration("12 months").after(leap) == dt.datetime(2025, 2, 28, 12, tzinfo=dt.UTC)
    assert Duration("1 month").before(leap.replace(month=3, day=31)).day == 29
    assert Duration("9999 years").before(leap).year == 1
    assert Duration("999999 weeks").after(leap).year == 9999
    assert [length_text(s) for s in (0.0, 0.25, 5, 90, 7_200, 93_600)] == [
        *("0 ms", "250 ms", "5 s", "1 min 30 s", "2 h", "1 d 2 h"),
    ]


def test_what_needs_nothing_of_what_is_forgotten() -> None:
    """Only what promises that something of those subjects is there contradicts: counts don't, nor
    what is of others, or of tables that are named."""
    forgotten = "[[invariant]]\nkind = 'forgotten'\nof = 'customer'\nat_most = '1 year'\n"
    others = (
        "[[invariant]]\nkind = 'accessors'\nof = 'patient'\nwindow = '3 years'\n"
        "[[invariant]]\nkind = 'complete'\nwindow = '3 years'\n"
        "[[invariant]]\nkind = 'limits'\naction = 'a.b'\nat_most = 9\nwindow = '3 years'\n"
    )
    assert len(parse(forgotten + others + enumerable("tables = ['product']"))) == 5
    for contradicts in (
        enumerable(),
        "[[invariant]]\nkind = 'accessors'\nof = 'customer'\nwindow = '3 years'\n",
        "[[invariant]]\nkind = 'reversible'\nwindow = '3 years'\n",
    ):
        with pytest.raises(PolicyError, match="is longer than anything is kept"):
            parse(contradicts + forgotten)


def test_every_entry_of_the_trail_about_itself_is_known() -> None:
    """What `check` and the sequencer know by name can't be promised as somebody's deed."""
    assert QUIET | set(ABOUT_CAPTURE) <= SYSTEM_ACTIONS

"""Three years of history: what holds, and by how much what breaks makes it fall short."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from indelible.events.model import Actor, Event, Outcome, Subject, TargetRows
from indelible.events.values import CHANGED, TypedValue
from indelible.invariants.check import check, entries_of
from indelible.invariants.facts import Rehearsed
from indelible.invariants.verdicts import Verdict
from indelible.policy import Policy, parse_policy
from indelible.questions.window import Window

from .history import (
    DATABASE,
    EPOCH,
    NOW,
    STAFF,
    History,
    ago,
    at,
    baseline,
    did,
    make_history,
    reconciled,
    said,
)

ALICE, BOB = STAFF[0], STAFF[1]
DAY, HOUR = 86_400.0, 3_600.0
TOML = """
[trail]
url = "sqlite:///trail.db"
[tables.customer]
subject = "self"
[tables.invoice]
subject = "customer_id -> customer"
"""
PROMISES = """
[[invariant]]
kind = "enumerable"
window = "3 years"
[[invariant]]
name = "changes-only"
kind = "enumerable"
of = ["changes"]
tables = ["invoice"]
window = "3 years"
[[invariant]]
kind = "accessors"
of = "customer"
window = "12 months"
daily = "2 years"
[[invariant]]
kind = "reversible"
window = "6 months"
[[invariant]]
kind = "attributed"
share = 0.999
[[invariant]]
kind = "complete"
reconciled = "7 days"
[[invariant]]
kind = "tamper_evident"
witnesses = 2
age = "5 minutes"
[[invariant]]
kind = "delivered"
p95 = "10 seconds"
p100 = "1 minute"
[[invariant]]
kind = "retained"
at_least = "3 years"
[[invariant]]
kind = "forgotten"
at_most = "5 years"
of = "customer"
[[invariant]]
kind = "forbids"
action = "customer.delete"
by = "staff:bob"
[[invariant]]
kind = "separates"
actions = ["payment.create", "payment.approve"]
[[invariant]]
kind = "limits"
action = "customer.export"
at_most = 10
"""
ALL = [
    "enumerable",
    "changes-only",
    "accessors",
    "reversible",
    "attributed",
    "complete",
    "tamper_evident",
    "delivered",
    "retained",
    "forgotten",
    "forbids",
    "separates",
    "limits",
]


class Elsewhere:
    """A site whose witnesses cosigned when a test says so, and whose reversals come out."""

    def __init__(self) -> None:
        self.ages: dict[str, float] | None = {"w1": 20.0, "w2": 30.0, "w3": 40.0}
        self.vouched = 1_000_000
        self.rehearsed: list[tuple[str, Window]] = []
        self.now = NOW

    def rehearse(self, by: Actor, window: Window, *, rolled_back: bool) -> Rehearsed | str:
        self.rehearsed.append((str(by), window))
        return Rehearsed(1, 0, ())

    def cosigned(self) -> dict[str, tuple[int, int]] | None:
        if self.ages is None:
            return None
        now = int(self.now.timestamp())
        return {name: (self.vouched, now - int(age)) for name, age in self.ages.items()}

    def try_canary(self, command: Sequence[str]) -> tuple[Actor | None, str]:
        return None, "there is no application"


class Bench:
    """A copy of the history, to be broken and judged."""

    def __init__(self, history: History, directory: Path) -> None:
        self.history = history
        self.directory = directory
        self.site = Elsewhere()
        self.policy: Policy = parse_policy(TOML + PROMISES, directory=directory)

    def promise(self, text: str, tables: str = TOML) -> None:
        self.policy = parse_policy(tables + text, directory=self.directory)

    def judge(self, now: dt.datetime = NOW) -> Mapping[str, Verdict]:
        verdicts = check(self.history.store, self.policy, self.site, now=now)
        return {each.name: each for each in verdicts}


@pytest.fixture(scope="session")
def three_years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "trail.db"
    make_history(path)
    return path


@pytest.fixture
def bench(three_years: Path, tmp_path: Path) -> Iterator[Bench]:
    for file in three_years.parent.glob("trail.db*"):
        shutil.copy(file, tmp_path)
    history = History(tmp_path / "trail.db")
    yield Bench(history, tmp_path)
    history.close()


def test_what_was_kept_holds(bench: Bench) -> None:
    """Three years and two weeks without a hole bear all of it out."""
    verdicts = bench.judge()

    assert list(verdicts) == ALL
    assert {name: each.verdict for name, each in verdicts.items()} == {
        **dict.fromkeys(ALL, "holds"),
        "forgotten": "holds so far",  # nothing is five years old yet
    }
    assert not any(each.fails for each in verdicts.values())
    assert verdicts["enumerable"].figure == verdicts["enumerable"].required
    assert re.search(r"[1-9]\d* sampled answers have all of [1-9]", verdicts["enumerable"].words)
    assert verdicts["delivered"].figure == pytest.approx(5.0, abs=2.5)
    # Of each of the actors who were drawn, three at most, the last changes within six months.
    assert 2 <= len({name for name, _ in bench.site.rehearsed}) <= 3
    assert all(window.since >= at(ago(days=185)) for _, window in bench.site.rehearsed)


# -- what can break, and by how much ---------------------------------------------------------------


class Situation(NamedTuple):
    """What happens, and what is then said of which invariants."""

    name: str
    happens: Callable[[Bench], object]
    expected: Mapping[str, tuple[str, float | None]]
    words: str = ""
    example: bool = True


def drift(b: Bench) -> None:
    """Triggers of invoice were away for a day, which the relay saw within a second."""
    when = ago(days=100)
    b.history.add(
        said(
            "capture.drift",
            when,
            message="not captured as it should be: invoice: triggers missing",
            table="invoice",
            since=at(when),
        ),
        baseline("invoice", when + dt.timedelta(days=1)),
        source="b" * 16,
    )


def drift_since_nobody_knows_when(b: Bench) -> None:
    """Seen at a start of the application: it may have been so since the last reconciliation."""
    when = ago(days=100)
    b.history.add(
        reconciled(when - dt.timedelta(days=10)),
        said("capture.drift", when, message="invoice: triggers missing", table="invoice"),
        said("capture.installed", when, "customer", "invoice", incarnation=DATABASE),
        baseline("invoice", when + dt.timedelta(seconds=1)),
        source="b" * 16,
    )


def drift_of_another_table(b: Bench) -> None:
    when = ago(days=100)
    b.history.add(
        said("capture.drift", when, message="m", table="customer", since=at(when)),
        baseline("customer", when + dt.timedelta(hours=1)),
        source="b" * 16,
    )


def suspended(b: Bench) -> None:
    when = ago(days=50)
    b.history.add(
        said("capture.suspended", when, incarnation=DATABASE, newest=7),
        *(baseline(kind, when + dt.timedelta(hours=2)) for kind in ("customer", "invoice")),
        source="b" * 16,
    )


def uninstalled(b: Bench) -> None:
    """And never installed again."""
    b.history.add(said("capture.uninstalled", ago(hours=36), incarnation=DATABASE), source="b" * 16)


def slot_lost(b: Bench) -> None:
    since, until = ago(days=20), ago(days=20, hours=-6)
    b.history.add(
        said(
            "log.lost",
            until,
            message="changes weren't all seen: the slot is gone",
            slot="s",
            since=since.isoformat(sep=" "),
            until=until.isoformat(sep=" "),
        ),
        source="b" * 16,
    )


def outbox_rows_lost(b: Bench) -> None:
    """Three rows of another outbox were deleted before they were carried."""
    other, when = "c" * 16, ago(days=30)
    b.history.add(baseline("invoice", ago(days=1_000), other), source="b" * 16)
    b.history.add(did(ALICE, "invoice.update", when), source=other)
    b.history.add(
        did(ALICE, "invoice.update", when + dt.timedelta(minutes=10)),
        source=other,
        skip=3,
        gap="somebody deleted them",
    )


def rows_that_never_came(b: Bench) -> None:
    other, when = "c" * 16, ago(days=3)
    b.history.add(baseline("invoice", ago(days=1_000), other), source="b" * 16)
    b.history.add(did(ALICE, "invoice.update", when), source=other)
    b.history.add(did(ALICE, "invoice.update", ago(hours=1)), source=other, skip=4)


def an_event_that_is_none(b: Bench) -> None:
    b.history.add(
        said(
            "event.quarantined", ago(days=9), message="bytes that are no event", producer=DATABASE
        ),
        source="b" * 16,
    )


def triggers_and_log_disagree(b: Bench) -> None:
    b.history.add(
        said("capture.differs", ago(days=9), message="of invoice …", table="invoice"),
        source="b" * 16,
    )


def rows_changed_unseen(b: Bench) -> None:
    """A reconciliation of two days ago found four rows; the one of a day before that had not."""
    b.history.add(
        reconciled(ago(days=3)),
        said(
            "reconcile.differs",
            ago(days=2),
            "invoice",
            message="invoice: changed without the trail seeing it: 3 missing, 1 extra",
            missing=3,
            extra=1,
        ),
        reconciled(ago(days=2)),
        reconciled(ago(hours=1)),
        source="b" * 16,
    )


def rows_changed_unseen_and_explained(b: Bench) -> None:
    first = b.history.add(
        said("reconcile.differs", ago(days=2), "customer", message="m", differs=2),
        reconciled(ago(days=2)),
        source="b" * 16,
    )
    b.history.add(said("notice.acknowledged", ago(days=1), index=first), source="b" * 16)


def session(when: dt.datetime, length: dt.timedelta, action: str = "sessions.ended") -> Event:
    event = said(
        action,
        when + length,
        database="postgresql://db/app",
        since=at(when),
        until=at(when + length),
        interval_s="5",
        sessions=1,
    )
    if action == "sessions.ended":
        event = replace(event, database_role="dba", context={"application": "psql"})
    return event


def another_client(b: Bench) -> None:
    """Somebody read with psql for three hours."""
    b.history.add(session(ago(days=40), dt.timedelta(hours=3)), source="b" * 16)


def nobody_looked_at_sessions(b: Bench) -> None:
    event = session(ago(days=40), dt.timedelta(days=1), "sessions.unwatched")
    b.history.add(event, source="b" * 16)


def an_access_lost(b: Bench) -> None:
    b.history.add(
        said("capture.access_lost", ago(days=5), message="an access could not be written"),
        source="b" * 16,
    )


def events_dropped(b: Bench) -> None:
    b.history.add(said("journal.dropped", ago(days=5), count=7), source="b" * 16)


def a_journal_cut(b: Bench) -> None:
    """A process's journal lost its end: five reads, over an hour."""
    other, when = "d" * 16, ago(days=12)
    b.history.add(did(ALICE, "customer.read", when, kind="access"), source=other)
    b.history.add(
        did(ALICE, "customer.read", when + dt.timedelta(hours=1), kind="access"),
        source=other,
        skip=5,
        gap="the journal was cut",
    )


def a_process_is_silent(b: Bench) -> None:
    """It was stopped for twenty minutes, and went on."""
    other, when = "d" * 16, ago(days=12)
    b.history.add(
        *(
            did(ALICE, "customer.read", when + dt.timedelta(minutes=minutes), kind="access")
            for minutes in (-900, -5, 15, 16, 700, 7_000)
        ),
        source=other,
    )
    b.history.add(
        said(
            "producer.silent",
            when,
            message="process lives, and has written nothing",
            producer=other,
            epoch=str(EPOCH),
        ),
        source="b" * 16,
    )


def a_segment_missing(b: Bench) -> None:
    """Two blocks of 256 entries, a month's, are gone from the file."""
    with contextlib.closing(sqlite3.connect(b.history.path)) as connection, connection:
        (last,) = connection.execute("SELECT max(n) FROM block").fetchone()
        connection.execute("DELETE FROM block WHERE n IN (?, ?)", (last - 20, last - 19))


def somebody_unknown(b: Bench) -> None:
    """Five changes of this month have no actor."""
    b.history.add(*(did(None, "invoice.update", ago(days=2)) for _ in range(5)), source=DATABASE_2)


def one_late(b: Bench) -> None:
    """A change of two hours ago came now."""
    b.history.add(did(ALICE, "invoice.update", ago(hours=2)), source=DATABASE_2)


def many_slow(b: Bench) -> None:
    """Twenty changes took half a minute, more than one in twenty of this month's."""
    b.history.add(
        *(did(ALICE, "invoice.update", ago(seconds=30)) for _ in range(20)), source=DATABASE_2
    )


def forbidden(b: Bench) -> None:
    b.history.add(did(BOB, "customer.delete", ago(days=1), kind="event"), source="b" * 16)


def forbidden_long_ago(b: Bench) -> None:
    b.history.add(did(BOB, "customer.delete", ago(days=400), kind="event"), source="b" * 16)


def denied(b: Bench) -> None:
    b.history.add(
        did(BOB, "customer.delete", ago(days=1), kind="event", outcome=Outcome.DENIED),
        source="b" * 16,
    )


def two_eyes(b: Bench) -> None:
    """Alice approves a payment that she created; Bob's was approved by her."""
    b.history.add(
        did(ALICE, "payment.create", ago(days=3), 7, kind="event"),
        did(BOB, "payment.create", ago(days=3), 8, kind="event"),
        did(ALICE, "payment.approve", ago(days=2), 8, kind="event"),
        did(ALICE, "payment.approve", ago(days=2), 7, kind="event"),
        source="b" * 16,
    )


def too_many(b: Bench) -> None:
    """Bob exports thirteen times in an hour, Alice ten times in each of two."""
    hour = ago(days=1).replace(minute=0)
    b.history.add(
        *(did(BOB, "customer.export", hour, n, kind="event") for n in range(13)),
        *(
            did(ALICE, "customer.export", hour + dt.timedelta(minutes=6 * n), n, kind="event")
            for n in range(20)
        ),
        source="b" * 16,
    )


def a_witness_is_silent(b: Bench) -> None:
    b.site.ages = {"w1": 10.0, "w2": HOUR}


def all_but_one_witness_gone(b: Bench) -> None:
    b.site.ages = {"w1": 10.0}


def witnesses_of_an_old_tree(b: Bench) -> None:
    """They go on cosigning what was there three days ago: of what came since nobody vouches."""
    (entry,) = [
        each
        for each in b.history.store.search((), since=at(ago(days=3)))
        if each.received > at(ago(days=3))
    ][:1]
    b.site.vouched = entry.index


def nobody_witnesses(b: Bench) -> None:
    b.site.ages = None


def without_values(b: Bench) -> None:
    """A column that is captured without values was changed."""
    b.history.add(
        did(ALICE, "invoice.update", ago(seconds=5), changes={"notes": (CHANGED, CHANGED)}),
        source=DATABASE_2,
    )


DATABASE_2 = "e" * 16
SHORT, HOLDS = "falls short", "holds"
UNTOUCHED = {"forbids", "separates", "limits", "tamper_evident"}
"""Whatever else breaks doesn't touch these."""
SITUATIONS = [
    Situation(
        "a table without triggers for a day",
        drift,
        {"enumerable": (SHORT, DAY), "changes-only": (SHORT, DAY), "accessors": (SHORT, DAY)},
        r"a hole of 1 d: not captured as it should be: invoice",
    ),
    Situation(
        "a drift of which nobody knows since when",
        drift_since_nobody_knows_when,
        {"enumerable": (SHORT, 10 * DAY), "changes-only": (SHORT, 10 * DAY)},
    ),
    Situation(
        "a drift of a table that isn't promised",
        drift_of_another_table,
        {"enumerable": (SHORT, HOUR), "changes-only": (HOLDS, None)},
    ),
    Situation(
        "capture suspended for two hours",
        suspended,
        {"enumerable": (SHORT, 2 * HOUR), "reversible": (SHORT, 2 * HOUR)},
    ),
    Situation("capture taken away", uninstalled, {"enumerable": (SHORT, 36 * HOUR)}, "to now"),
    Situation(
        "the slot was lost",
        slot_lost,
        {"enumerable": (SHORT, 6 * HOUR), "changes-only": (SHORT, 6 * HOUR)},
        "the slot is gone",
    ),
    Situation(
        "outbox rows deleted before they were carried",
        outbox_rows_lost,
        {"enumerable": (SHORT, 600.0), "complete": (SHORT, 3.0)},
        "positions 2 to 4 are lost",
    ),
    Situation(
        "outbox rows that haven't come",
        rows_that_never_came,
        {"enumerable": (SHORT, 3 * DAY), "complete": (SHORT, 4.0)},
        "4 events of c+ haven't come: 2 to 5",
        example=False,
    ),
    Situation(
        "bytes that are no event",
        an_event_that_is_none,
        {"enumerable": (SHORT, 0.0), "complete": (SHORT, 1.0)},
    ),
    Situation(
        "triggers and log that disagree",
        triggers_and_log_disagree,
        {"changes-only": (SHORT, 0.0)},
    ),
    Situation(
        "rows changed unseen",
        rows_changed_unseen,
        {"changes-only": (SHORT, DAY), "complete": (SHORT, 4.0)},
        "3 missing, 1 extra",
    ),
    Situation(
        "rows changed unseen, and explained",
        rows_changed_unseen_and_explained,
        {"complete": (HOLDS, 0.0), "changes-only": (HOLDS, None)},
    ),
    Situation(
        "reads on a path outside of capture",
        another_client,
        {
            "enumerable": (SHORT, 3 * HOUR),
            "accessors": (SHORT, 3 * HOUR),
            "changes-only": (HOLDS, None),
        },
        "dba · psql: another client",
    ),
    Situation(
        "nobody looked who was connected",
        nobody_looked_at_sessions,
        {"accessors": (SHORT, DAY), "changes-only": (HOLDS, None)},
    ),
    Situation("a read that couldn't be written", an_access_lost, {"accessors": (SHORT, 0.0)}),
    Situation("a buffer that was full", events_dropped, {"complete": (SHORT, 7.0)}),
    Situation(
        "a journal cut",
        a_journal_cut,
        {
            "accessors": (SHORT, HOUR),
            "complete": (SHORT, 5.0),
            "changes-only": (HOLDS, None),
        },
    ),
    Situation("a process that says nothing", a_process_is_silent, {"accessors": (SHORT, 1_200.0)}),
    Situation(
        "a segment missing",
        a_segment_missing,
        {"retained": (SHORT, 27 * DAY), "enumerable": (SHORT, 27 * DAY), "complete": (HOLDS, 0.0)},
        r"entries \d+ to \d+ can't be read",
    ),
    Situation("changes by nobody known", somebody_unknown, {"attributed": (SHORT, 0.9909)}),
    Situation("a change that came late", one_late, {"delivered": (SHORT, 2 * HOUR)}),
    Situation("many that came slowly", many_slow, {"delivered": (SHORT, 30.0)}, example=False),
    Situation("what Bob may never do", forbidden, {"forbids": (SHORT, 1.0)}, "by staff:bob"),
    Situation("what Bob did before the window", forbidden_long_ago, {"forbids": (HOLDS, 0.0)}),
    Situation("what Bob was kept from", denied, {"forbids": (HOLDS, 0.0)}),
    Situation(
        "two eyes instead of four",
        two_eyes,
        {"separates": (SHORT, 1.0)},
        "staff:alice did payment.approve and payment.create to payment:7",
    ),
    Situation("too many in an hour", too_many, {"limits": (SHORT, 13.0)}, "staff:bob from"),
    Situation(
        "a witness silent for an hour",
        a_witness_is_silent,
        {"tamper_evident": (SHORT, HOUR)},
        "1 of 2 witnesses .* w2's is 1 h old",
        example=False,
    ),
    Situation(
        "witnesses gone", all_but_one_witness_gone, {"tamper_evident": (SHORT, 1.0)}, example=False
    ),
    Situation(
        "witnesses of an old tree",
        witnesses_of_an_old_tree,
        {"tamper_evident": (SHORT, 2 * DAY + 2 * HOUR)},
        "though the next came",
    ),
    Situation("no witness", nobody_witnesses, {"tamper_evident": (SHORT, 0.0)}, example=False),
    Situation(
        "a column without values changed",
        without_values,
        {"reversible": (SHORT, 1.0), "changes-only": (HOLDS, None)},
    ),
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.name)
def test_what_breaks_is_told_with_its_figure(situation: Situation, bench: Bench) -> None:
    """Each thing that goes wrong makes those promises fall short that it concerns, and no other."""
    situation.happens(bench)
    asked = {*situation.expected, *UNTOUCHED}
    promised = tuple(each for each in bench.policy.invariants if each.name in asked)
    bench.policy = replace(bench.policy, invariants=promised)

    verdicts = bench.judge()

    for name, (verdict, figure) in situation.expected.items():
        found = verdicts[name]
        assert found.verdict == verdict, found.words
        if figure is not None:
            assert found.figure == pytest.approx(figure, rel=0.01, abs=0.001), found.words
    first = verdicts[next(iter(situation.expected))]
    assert re.search(situation.words, first.words), first.words
    if first.verdict == SHORT and situation.example:
        assert first.example is not None
        assert first.example in first.evidence
    assert {verdicts[name].verdict for name in UNTOUCHED - set(situation.expected)} <= {HOLDS}


def test_an_index_that_hides_entries_is_found_out(bench: Bench) -> None:
    """An entry that is there and that no answer gives makes answers worth nothing."""
    with contextlib.closing(sqlite3.connect(bench.history.path)) as connection, connection:
        connection.execute("DELETE FROM run WHERE first > 0 AND last < (SELECT max(last) FROM run)")

    found = bench.judge()["enumerable"]

    assert found.verdict == SHORT
    assert "the index leaves" in found.words
    assert found.example is not None


def test_a_young_trail_is_on_course(tmp_path: Path) -> None:
    """Two months without a hole hold so far; until when it takes is said."""
    path = tmp_path / "trail.db"
    make_history(path, days=60)
    history = History(path)
    bench = Bench(history, tmp_path)
    now = dt.datetime(2023, 3, 2, 12, tzinfo=dt.UTC)

    found = bench.judge(now)["enumerable"]
    history.close()

    assert found.verdict == "holds so far"
    assert found.since is not None
    assert found.since.startswith("2023-01-01")
    assert found.on_course_until is not None
    assert found.on_course_until.startswith("2026-01-01")
    assert found.figure == pytest.approx(60 * DAY, rel=0.01)
    assert not found.fails


def test_a_table_that_came_later(bench: Bench) -> None:
    """One that was empty when its capture began is no hole; one that had rows was unseen before."""
    bench.history.add(
        said("capture.installed", ago(days=10), "customer", "invoice", "note", incarnation="x"),
        source="b" * 16,
    )
    assert bench.judge()["enumerable"].verdict == HOLDS

    bench.history.add(baseline("old", ago(days=10)), source="b" * 16)
    found = bench.judge()["enumerable"]
    assert found.verdict == "holds so far"
    assert found.since == at(ago(days=10))


def test_a_brief_hole_that_was_reconciled(bench: Bench) -> None:
    """Where the promise says so it doesn't count, unless it is longer, or nobody compared since."""

    def found(brief: str) -> str:
        bench.promise(
            '[[invariant]]\nkind = "enumerable"\nof = ["changes"]\nwindow = "3 years"\n'
            f'brief = "{brief}"\n'
        )
        return bench.judge()["enumerable"].verdict

    suspended(bench)
    assert (found("3 hours"), found("1 hour")) == (HOLDS, SHORT)

    bench.history.add(
        said("capture.suspended", ago(minutes=30), incarnation=DATABASE),
        *(baseline(kind, ago(minutes=10)) for kind in ("customer", "invoice")),
        source="b" * 16,
    )
    assert found("3 hours") == SHORT


def test_a_table_that_came_later_takes_no_hole_back(bench: Bench) -> None:
    """What is captured since ten days ago makes no whole of a day that is missing before."""
    drift(bench)
    bench.history.add(baseline("old", ago(days=10)), source="f" * 16)
    found = bench.judge()["enumerable"]
    assert (found.verdict, found.figure) == (SHORT, DAY)


def test_counts_of_what_cannot_be_read(bench: Bench) -> None:
    """Where entries of the window are gone a count that finds nothing shows nothing."""
    a_segment_missing(bench)
    bench.promise('[[invariant]]\nkind = "attributed"\nwindow = "1 year"\n')
    found = bench.judge()["attributed"]
    assert found.verdict == "can't tell"
    assert "can't be read" in found.words


def test_a_process_that_was_killed_with_reads_in_memory(bench: Bench) -> None:
    """Where reads are written later (async), what it had read since its last event is unknown."""
    other, when = "d" * 16, ago(days=12)
    bench.history.add(did(ALICE, "customer.read", when, kind="access"), source=other)
    gone = when + dt.timedelta(seconds=9)
    bench.history.add(
        said("producer.vanished", gone, message="m", producer=other, epoch=str(EPOCH)),
        source="b" * 16,
    )
    assert bench.judge()["accessors"].verdict == HOLDS
    bench.promise(PROMISES, TOML + 'durability = "async"\n')
    found = bench.judge()["accessors"]
    assert (found.verdict, found.figure) == (SHORT, 9.0)


def test_what_cannot_be_told(bench: Bench, tmp_path: Path) -> None:
    """Silence is never an answer: each says why, and fails."""
    bench.promise(
        '[[invariant]]\nkind = "accessors"\nof = "patient"\nwindow = "1 year"\n'
        '[[invariant]]\nkind = "enumerable"\ntables = ["nobody"]\nwindow = "1 year"\n'
        '[[invariant]]\nkind = "log_clean"\nfiles = ["*.log"]\n'
        '[[invariant]]\nname = "old"\nkind = "delivered"\np95 = "1 day"\np100 = "1 day"\n'
        'window = "1 second"\n'
    )
    verdicts = bench.judge()
    words = {name: each.words for name, each in verdicts.items()}
    assert {each.verdict for each in verdicts.values()} == {"can't tell"}
    assert all(each.fails for each in verdicts.values())
    assert "no table says that its rows are some patient's" in words["accessors"]
    assert "since when changes of nobody are captured" in words["enumerable"]
    assert "no file is called *.log" in words["log_clean"]
    assert "no change came within 1 second" in words["old"]


def test_reconciliations_that_are_old_or_never_were(bench: Bench) -> None:
    """Older than promised: by how much. Of a table never: that can't be told."""
    found = bench.judge(NOW + dt.timedelta(days=9))["complete"]
    assert (found.verdict, found.figure) == (SHORT, pytest.approx(9 * DAY + HOUR))
    assert "compared with the database 9 d 1 h ago" in found.words

    bench.history.add(baseline("note", ago(days=1)), source="b" * 16)
    found = bench.judge()["complete"]
    assert found.verdict == "can't tell"
    assert "never compared with the database: note" in found.words


def test_reads_that_no_policy_captures(bench: Bench) -> None:
    """A table with reads = false has no accesses to enumerate."""
    bench.promise(
        '[[invariant]]\nkind = "enumerable"\nof = ["accesses"]\ntables = ["invoice"]\n'
        'window = "1 year"\n',
        TOML + "reads = false\n",
    )
    found = bench.judge()["enumerable"]
    assert found.verdict == SHORT
    assert found.figure == pytest.approx(365 * DAY)
    assert "reads of invoice aren't captured" in found.words


def test_reads_by_statement_only(bench: Bench) -> None:
    """Where a share of exact ones is promised, what wasn't seen by row is counted."""
    unseen = TargetRows("invoice", coverage="statement", why="a function")
    first = bench.history.add(
        *(
            did(ALICE, "invoice.read", ago(seconds=9), kind="access", targets=(unseen,))
            for _ in range(44)
        ),
        source="b" * 16,
    )
    bench.promise(
        '[[invariant]]\nkind = "enumerable"\nof = ["accesses"]\nwindow = "30 days"\nexact = 0.99\n'
    )
    found = bench.judge()["enumerable"]
    assert found.verdict == SHORT
    assert found.figure == pytest.approx(1 - 44 / (30 * 14 + 44), abs=0.004)
    assert found.example == first
    assert "44 of" in found.words


def test_what_should_be_forgotten_and_isnt(bench: Bench) -> None:
    """By how long the oldest is over; what was erased counts no more."""
    bench.promise('[[invariant]]\nkind = "forgotten"\nof = "customer"\nat_most = "3 years"\n')
    found = bench.judge()["forgotten"]
    assert found.verdict == SHORT
    assert found.figure == pytest.approx(14 * DAY, rel=0.02)
    assert found.example == 0

    sealed = [
        did(
            *(ALICE, "customer.update", ago(days=2), n),
            subjects=(Subject("customer", str(n)),),
            changes={"email": (None, TypedValue("sealed", "AAAA", f"token{n}"))},
        )
        for n in range(200)
    ]
    erased = [said("subject.erased", ago(days=1), token=f"token{n}") for n in range(200)]
    bench.history.add(*sealed, *erased[:-199], source="b" * 16)
    assert bench.judge()["forgotten"].verdict == SHORT
    bench.history.add(*erased[-199:], source="c" * 16)
    assert bench.judge()["forgotten"].verdict == HOLDS


def test_logs(bench: Bench, tmp_path: Path) -> None:
    """What a reader of the logs could use is counted by class, and named by place, not by value."""
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    (tmp_path / "app.log").write_text(
        f"started\nAuthorization: Bearer {secret}\nmail zara@example.org\n"
    )
    bench.promise(
        '[[invariant]]\nname = "takeover"\nkind = "log_clean"\nfiles = ["*.log"]\n'
        'classes = ["takeover"]\n'
        '[[invariant]]\nname = "report"\nkind = "log_clean"\nfiles = ["*.log"]\n'
        'classes = ["personal", "special"]\n'
    )
    verdicts = bench.judge()
    for name, line in (("takeover", 2), ("report", 3)):
        assert verdicts[name].verdict == SHORT
        assert verdicts[name].figure == 1
        assert f"app.log:{line};" in verdicts[name].words
        assert secret not in verdicts[name].words
        assert "zara@" not in verdicts[name].words

    (tmp_path / "app.log").write_text("started\n")
    assert {each.verdict for each in bench.judge().values()} == {HOLDS}
    (tmp_path / "old.log").write_bytes(b"\x1f\x8bnot gzip at all")
    assert {each.verdict for each in bench.judge().values()} == {"can't tell"}


def test_relaxed_until_its_day(bench: Bench) -> None:
    """Until then less is promised, and why stands beside it; from the next day on all of it."""
    suspended(bench)
    bench.promise(
        '[[invariant]]\nkind = "enumerable"\nwindow = "3 years"\n'
        'relaxed = {to = "7 days", until = 2026-01-20, why = "the migration of November"}\n'
        '[[invariant]]\nkind = "forbids"\naction = "customer.read"\nby = "staff:bob"\n'
        'relaxed = {to = 1_000_000, until = 2026-01-20, why = "until he is trained"}\n'
    )
    verdicts = bench.judge()
    found = verdicts["enumerable"]
    assert (found.verdict, found.standing) == (HOLDS, "relaxed")
    assert "(relaxed to 7 days until 2026-01-20: the migration of November)" in found.words
    assert verdicts["forbids"].verdict == HOLDS
    assert verdicts["forbids"].figure == pytest.approx(40, abs=20)

    verdicts = bench.judge(dt.datetime(2026, 1, 21, 0, 0, 1, tzinfo=dt.UTC))
    found = verdicts["enumerable"]
    assert (found.verdict, found.standing, found.figure) == (SHORT, "enforced", 2 * HOUR)
    assert verdicts["forbids"].verdict == SHORT


def test_planned_ones_fail_nothing(bench: Bench) -> None:
    """A roadmap is part of the file: judged, and that is all."""
    bench.promise('[[invariant]]\nkind = "tamper_evident"\nwitnesses = 3\nplanned = true\n')
    bench.site.ages = {}
    found = bench.judge()["tamper_evident"]
    assert (found.verdict, found.standing, found.fails) == (SHORT, "planned", False)


def test_what_the_trail_is_told(bench: Bench) -> None:
    """Each check is an entry; only what newly falls short is noticed."""
    policy = bench.policy
    for expected in (["invariant.fell_short"], [], ["invariant.fell_short"]):
        bench.site.ages = {} if expected or bench.site.ages == {} else bench.site.ages
        verdicts = check(bench.history.store, policy, bench.site, now=NOW)
        events = entries_of(bench.history.store, verdicts)
        assert [event.action for event in events[1:]] == expected
        assert events[0].action == "invariants.checked"
        assert "11 holds, 1 holds so far, 1 falls short" in str(
            (events[0].details or {})["message"]
        )
        bench.history.add(*(replace(e, time=at(NOW)) for e in events), source="f" * 16)
        if not expected:
            bench.site.ages = {"w1": 1.0, "w2": 1.0}
            good = check(bench.history.store, policy, bench.site, now=NOW)
            events = entries_of(bench.history.store, good)
            assert len(events) == 1
            bench.history.add(*(replace(e, time=at(NOW)) for e in events), source="f" * 16)
    noticed = [notice.action for notice in bench.history.store.notices()]
    assert noticed == ["invariant.fell_short"] * 2


def test_a_sample_is_drawn_alike(bench: Bench) -> None:
    """The trail's root decides what is looked at: a check can be done over."""
    assert bench.judge() == bench.judge()

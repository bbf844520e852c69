"""What can break, and by how much each promise then falls short."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from indelible.events.model import Actor, Event, Outcome
from indelible.events.values import CHANGED
from indelible.invariants.facts import Rehearsed

from .bench import ALICE, BOB, CANT_TELL, DAY, HOLDS, HOUR, PROMISES, SHORT, Bench
from .history import (
    DATABASE,
    EPOCH,
    ago,
    at,
    baseline,
    did,
    reconciled,
    said,
)


class Situation(NamedTuple):
    """What happens, and what is then said of which invariants."""

    name: str
    happens: Callable[[Bench], object]
    expected: Mapping[str, tuple[str, float | None]]
    words: str = ""
    example: bool = True
    blind: frozenset[str] = frozenset()
    """Of these it can't be told any more."""


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
    b.site.vouched = dict.fromkeys(("w1", "w2", "w3"), int(entry.index))


def nobody_witnesses(b: Bench) -> None:
    b.site.ages = None


def without_values(b: Bench) -> None:
    """A column that is captured without values was changed."""
    b.history.add(
        did(ALICE, "invoice.update", ago(seconds=5), changes={"notes": (CHANGED, CHANGED)}),
        source=DATABASE_2,
    )


def suspended_this_month(b: Bench) -> None:
    """Two days long, and nothing was found to differ since."""
    b.history.add(
        said("capture.suspended", ago(days=10), message="capture was suspended"),
        said("capture.installed", ago(days=8), "customer", "invoice", incarnation=DATABASE),
        reconciled(ago(minutes=30)),
        source="b" * 16,
    )


def events_lost(b: Bench) -> None:
    """A thousand of an application's, which may have been anything."""
    other = "c" * 16
    b.history.add(did(ALICE, "customer.read", ago(minutes=30), kind="access"), source=other)
    b.history.add(
        did(ALICE, "customer.read", ago(minutes=20), kind="access"),
        source=other,
        skip=1_000,
        gap="lost",
    )


def a_frame_damaged(b: Bench) -> None:
    """64 entries in the middle of a block: those around them are whole."""
    with contextlib.closing(sqlite3.connect(b.history.path)) as connection, connection:
        (last,) = connection.execute("SELECT max(n) FROM block").fetchone()
        connection.execute("UPDATE block SET frame2 = x'00' WHERE n = ?", (last - 20,))


def backdated(b: Bench) -> None:
    """Bob's process says that it was five years ago; it came now."""
    b.history.add(did(BOB, "customer.delete", ago(days=1_700), kind="event"), source="c" * 16)


def backdated_by_the_hour(b: Bench) -> None:
    """Eleven exports, each of which claims an hour of its own, all received in one."""
    b.history.add(
        *(
            did(BOB, "customer.export", ago(days=1_700, hours=n), n, kind="event")
            for n in range(11)
        ),
        source="c" * 16,
    )


def backdated_approval(b: Bench) -> None:
    b.history.add(
        did(ALICE, "payment.create", ago(days=1), 7, kind="event"),
        did(ALICE, "payment.approve", ago(days=1_700), 7, kind="event"),
        source="c" * 16,
    )


def changes_of_doubtful_times(b: Bench) -> None:
    """They claim to be from before their database was there."""
    b.history.add(
        *(did(ALICE, "invoice.update", ago(days=1_700)) for _ in range(3)), source="c" * 16
    )


def one_fresh_witness_of_an_old_tree(b: Bench) -> None:
    """Those who know all of it are silent; those who aren't know ten entries."""
    b.site.ages = {"w1": 10.0, "w2": 20.0, "w3": 400 * DAY, "w4": 400 * DAY}
    b.site.vouched = {"w1": 10, "w2": 10}


def found_by_verify(b: Bench) -> None:
    b.history.add(
        said("trail.not_verified", ago(minutes=5), message="AlteredLeafError: entry 7"),
        source="b" * 16,
    )


def found_by_verify_and_seen(b: Bench) -> None:
    first = b.history.add(
        said("trail.not_verified", ago(hours=2), message="the wrong key was given"),
        source="b" * 16,
    )
    b.history.add(said("notice.acknowledged", ago(hours=1), index=first), source="b" * 16)


def a_cut_event_without_values(b: Bench) -> None:
    """So long that it was cut: what it lacks stands in the second entry of it."""
    b.history.add(
        did(
            *(ALICE, "invoice.update", ago(seconds=5)),
            changes={"a": ("x" * 60_000, "y" * 60_000), "notes": (CHANGED, CHANGED)},
        ),
        source=DATABASE_2,
    )


def reversals_get_stuck(b: Bench) -> None:
    b.site.result = Rehearsed(5, 1, ("a row of invoice: refused", "a row of invoice: refused"))


def a_robot_without_an_allow(b: Bench) -> None:
    b.history.add(did(Actor("robot", "r1"), "invoice.update", ago(seconds=5)), source=DATABASE_2)


def a_token_in_the_log(b: Bench) -> None:
    with (b.directory / "app.log").open("a") as file:
        file.write(f"Authorization: Bearer ghp_{'a1B2c3D4e5' * 3}f6G7h8\n")


def kept_for_too_long(b: Bench) -> None:
    """Three years are promised; the trail is two weeks older."""
    b.promise(PROMISES.replace('"5 years"', '"3 years"'))


DATABASE_2 = "e" * 16
UNSEEN_EVENTS = frozenset({"attributed", "forbids", "separates", "limits", "authorised"})
UNSEEN_CHANGES = UNSEEN_EVENTS | {"delivered"}
UNSEEN_READS = frozenset({"attributed", "authorised"})
Expected = Mapping[str, tuple[str, float | None]]


def of_reads(hole: float) -> Expected:
    return {"enumerable": (SHORT, hole), "accessors": (SHORT, hole)}


def of_changes(hole: float) -> Expected:
    return {**of_reads(hole), "changes-only": (SHORT, hole), "reversible": (SHORT, hole)}


SITUATIONS = [
    Situation(
        "a table without triggers for a day",
        drift,
        of_changes(DAY),
        r"a hole of 1 d: not captured as it should be: invoice",
    ),
    Situation(
        "a drift of which nobody knows since when",
        drift_since_nobody_knows_when,
        {**of_changes(10 * DAY), "complete": (SHORT, 110 * DAY)},
    ),
    Situation(
        "a drift of a table that isn't promised",
        drift_of_another_table,
        {**of_changes(HOUR), "changes-only": (HOLDS, None)},
    ),
    Situation("capture suspended for two hours", suspended, of_changes(2 * HOUR)),
    Situation(
        "capture suspended for two days of this month",
        suspended_this_month,
        {**of_changes(2 * DAY), "complete": (SHORT, 1.0)},
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "capture taken away",
        uninstalled,
        {**of_changes(36 * HOUR), "complete": (SHORT, 1.0)},
        "to now",
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "the slot was lost",
        slot_lost,
        {**of_changes(6 * HOUR), "complete": (SHORT, 1.0)},
        "the slot is gone",
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "outbox rows deleted before they were carried",
        outbox_rows_lost,
        {**of_changes(600.0), "complete": (SHORT, 3.0), "delivered": (SHORT, 30 * DAY)},
        "positions 2 to 4 are lost",
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "outbox rows that haven't come",
        rows_that_never_came,
        {**of_changes(3 * DAY), "complete": (SHORT, 4.0), "delivered": (SHORT, 3 * DAY)},
        "4 events of c+ haven't come: 2 to 5",
        example=False,
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "bytes that are no event",
        an_event_that_is_none,
        {**of_changes(0.0), "complete": (SHORT, 1.0)},
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "triggers and log that disagree",
        triggers_and_log_disagree,
        {**of_changes(0.0), "complete": (SHORT, 1.0)},
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "rows changed unseen",
        rows_changed_unseen,
        {**of_changes(DAY), "complete": (SHORT, 4.0)},
        "3 missing, 1 extra",
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "rows changed unseen, and explained",
        rows_changed_unseen_and_explained,
        {
            "complete": (HOLDS, 0.0),
            "changes-only": (HOLDS, None),
            "enumerable": (SHORT, 1_094 * DAY),
            "accessors": (SHORT, 363 * DAY),
            "reversible": (SHORT, 182 * DAY),
        },
        blind=UNSEEN_CHANGES,
    ),
    Situation(
        "reads on a path outside of capture",
        another_client,
        of_reads(3 * HOUR),
        "dba · psql: another client",
    ),
    Situation("nobody looked who was connected", nobody_looked_at_sessions, of_reads(DAY)),
    Situation(
        "a read that couldn't be written",
        an_access_lost,
        {**of_reads(0.0), "complete": (SHORT, 1.0)},
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "a buffer that was full",
        events_dropped,
        {**of_reads(0.0), "complete": (SHORT, 7.0)},
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "a journal cut",
        a_journal_cut,
        {**of_reads(HOUR), "complete": (SHORT, 5.0)},
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "a thousand events of an application lost",
        events_lost,
        {**of_reads(600.0), "complete": (SHORT, 1_000.0)},
        blind=UNSEEN_EVENTS,
    ),
    Situation(
        "a process that says nothing", a_process_is_silent, of_reads(1_200.0), blind=UNSEEN_READS
    ),
    Situation(
        "a segment missing",
        a_segment_missing,
        {
            "retained": (SHORT, 27 * DAY),
            "enumerable": (SHORT, 27 * DAY),
            "accessors": (SHORT, 27 * DAY),
            "changes-only": (SHORT, 27 * DAY),
        },
        r"entries \d+ to \d+ can't be read",
        blind=frozenset({"forgotten"}),
    ),
    Situation(
        "a frame damaged",
        a_frame_damaged,
        {
            "retained": (SHORT, 4 * DAY),
            "enumerable": (SHORT, 4 * DAY),
            "accessors": (SHORT, 4 * DAY),
            "changes-only": (SHORT, 4 * DAY),
        },
        r"entries \d+ to \d+ can't be read",
        blind=frozenset({"forgotten"}),
    ),
    Situation(
        "changes by nobody known",
        somebody_unknown,
        {"attributed": (SHORT, 0.9909), "delivered": (SHORT, 2 * DAY)},
    ),
    Situation("a change that came late", one_late, {"delivered": (SHORT, 2 * HOUR)}),
    Situation("many that came slowly", many_slow, {"delivered": (SHORT, 30.0)}, example=False),
    Situation(
        "changes of doubtful times",
        changes_of_doubtful_times,
        {"delivered": (CANT_TELL, None)},
        "of 3 the time is doubtful, and not counted, and 3 of those may have taken longer",
    ),
    Situation("what Bob may never do", forbidden, {"forbids": (SHORT, 1.0)}, "by staff:bob"),
    Situation("what Bob did before the window", forbidden_long_ago, {"forbids": (HOLDS, 0.0)}),
    Situation("what Bob was kept from", denied, {"forbids": (HOLDS, 0.0)}),
    Situation(
        "what Bob did, perhaps before the window",
        backdated,
        {"forbids": (CANT_TELL, 0.0)},
        "1 times perhaps; the first: entry .* customer.delete by staff:bob",
    ),
    Situation(
        "two eyes instead of four",
        two_eyes,
        {"separates": (SHORT, 1.0)},
        "staff:alice did payment.approve and payment.create to payment:7",
    ),
    Situation("an approval dated back", backdated_approval, {"separates": (CANT_TELL, 0.0)}),
    Situation("too many in an hour", too_many, {"limits": (SHORT, 13.0)}, "staff:bob from"),
    Situation(
        "exports dated back",
        backdated_by_the_hour,
        {"limits": (CANT_TELL, 0.0)},
        "perhaps more, for some times are doubtful: entry .* staff:bob",
    ),
    Situation(
        "a robot that nobody allowed",
        a_robot_without_an_allow,
        {"authorised": (SHORT, 1.0)},
        "robot:r1, invoice.update invoice:1: no decision",
    ),
    Situation(
        "a token in the log",
        a_token_in_the_log,
        {"log_clean": (SHORT, 1.0)},
        r"app\.log:2",
        example=False,
    ),
    Situation("kept for too long", kept_for_too_long, {"forgotten": (SHORT, 14 * DAY + 4 * HOUR)}),
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
    Situation(
        "fresh witnesses of an old tree beside old ones of all of it",
        one_fresh_witness_of_an_old_tree,
        {"tamper_evident": (SHORT, 1_110 * DAY)},
        "2 witnesses vouch for the first 10 of",
    ),
    Situation("no witness", nobody_witnesses, {"tamper_evident": (SHORT, 0.0)}, example=False),
    Situation(
        "entries that verify found altered",
        found_by_verify,
        {"tamper_evident": (SHORT, 1.0), "complete": (SHORT, 1.0)},
        "isn't what it should be: AlteredLeafError: entry 7",
    ),
    Situation(
        "a verification that went wrong, and was acknowledged",
        found_by_verify_and_seen,
        {"tamper_evident": (HOLDS, None), "complete": (HOLDS, 0.0)},
    ),
    Situation(
        "a column without values changed",
        without_values,
        {"reversible": (SHORT, 1.0), "changes-only": (HOLDS, None)},
    ),
    Situation(
        "a column without values changed, in an event that was cut",
        a_cut_event_without_values,
        {"reversible": (SHORT, 1.0)},
        "the policy keeps no values of a column",
    ),
    Situation(
        "rows that can't be restored",
        reversals_get_stuck,
        {"reversible": (SHORT, 2.0)},
        "2 rows can't be restored; the first: a row of invoice: refused",
        example=False,
    ),
]

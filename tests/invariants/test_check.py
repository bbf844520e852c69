"""Three years of history: what holds, and by how much what breaks makes it fall short."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from indelible.events.model import Event, Subject, TargetRows
from indelible.events.values import TypedValue
from indelible.invariants.check import check, entries_of
from indelible.invariants.verdicts import Verdict

from .bench import ALICE, ALL, CANT_TELL, DAY, HOLDS, HOUR, PROMISES, SHORT, TOML, Bench
from .history import (
    DATABASE,
    EPOCH,
    NOW,
    History,
    ago,
    at,
    baseline,
    did,
    make_history,
    reconciled,
    said,
    verified,
)
from .situations import a_segment_missing, drift, forbidden, suspended


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
        '[[invariant]]\nkind = "log_clean"\nfiles = ["no/*.log"]\n'
        '[[invariant]]\nname = "old"\nkind = "delivered"\np95 = "1 day"\np100 = "1 day"\n'
        'window = "1 second"\n'
    )
    verdicts = bench.judge()
    words = {name: each.words for name, each in verdicts.items()}
    assert {each.verdict for each in verdicts.values()} == {"can't tell"}
    assert all(each.fails for each in verdicts.values())
    assert "no table says that its rows are some patient's" in words["accessors"]
    assert "since when changes of nobody are captured" in words["enumerable"]
    assert "no file is called no/*.log" in words["log_clean"]
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


FORGOTTEN = '[[invariant]]\nkind = "forgotten"\nof = "customer"\nat_most = "30 days"\n'
SEALING = TOML.replace('subject = "self"\n', 'subject = "self"\nseal = ["email"]\n')


def sealed(token: str) -> TypedValue:
    return TypedValue("sealed", "AAAA", token)


def forgets(tmp_path: Path, *events: Event, erased: Sequence[str] = ("zaras",)) -> Verdict:
    """Whether nothing is left of these, which are 40 days old, once those keys were destroyed."""
    directory = Path(tempfile.mkdtemp(dir=tmp_path))
    history = History(directory / "trail.db", create=True)
    history.now = ago(days=40)
    history.add(*events)
    history.now = ago(days=1)
    history.add(*(said("subject.erased", ago(days=1), token=token) for token in erased))
    bench = Bench(history, directory)
    bench.promise(FORGOTTEN, SEALING)
    found = bench.judge()["forgotten"]
    history.close()
    return found


def of_zara(action: str, **fields: Any) -> Event:
    fields = {"subjects": (Subject("customer", "1"),)} | fields
    return did(ALICE, action, ago(days=40), **fields)


def test_what_was_sealed_is_forgotten_with_its_key(tmp_path: Path) -> None:
    """With it go the entries that only name whose it was; before it none does."""
    written = of_zara(
        "customer.update", changes={"email": (None, sealed("zaras")), "level": (1, 2)}
    )
    read = of_zara("customer.read", kind="access", changes=None)
    assert forgets(tmp_path, written, read).verdict == HOLDS

    kept = forgets(tmp_path, written, read, erased=())
    assert (kept.verdict, kept.figure, kept.example) == (SHORT, 10 * DAY, 0)
    assert kept.words.startswith("2 entries about some customer are older than 30 days")


def test_who_comes_back_is_not_forgotten(tmp_path: Path) -> None:
    """Under a new key the customer is known again, and so is who read of them before."""
    before = of_zara("customer.update", changes={"email": (None, sealed("zaras"))})
    read = of_zara("customer.read", kind="access", changes=None)
    again = of_zara("customer.insert", changes={"email": (None, sealed("new"))})
    found = forgets(tmp_path, before, read, again)
    assert found.verdict == SHORT
    assert found.evidence == (1, 2)  # what is sealed under the old one stays closed


def test_an_entry_that_was_cut_holds_what_it_holds(tmp_path: Path) -> None:
    """Sealed values that stand in its later parts are as much there, or gone, as others."""
    long = {"notes": ("x" * 60_000, "y" * 60_000)}
    written = of_zara("customer.update", changes={**long, "email": (None, sealed("zaras"))})
    assert forgets(tmp_path, written).verdict == HOLDS

    found = forgets(tmp_path, written, erased=("yans",))
    assert (found.verdict, found.evidence) == (SHORT, (0,))  # one event, whatever its parts


@pytest.mark.parametrize(
    "written",
    [
        of_zara("customer.update", changes={"email": (None, "zara@example.org")}),
        of_zara("customer.update", changes={"Email": ("zara@example.org", sealed("zaras"))}),
        of_zara("invoice.update", changes={"address": ("Elm Street", None)}),
        of_zara("customer.called", kind="event", changes=None, details={"said": "her address"}),
    ],
    ids=["before it was sealed", "on one side", "a table that seals nothing", "details"],
)
def test_what_stands_in_clear_is_not_forgotten(written: Event, tmp_path: Path) -> None:
    """No key opens it, and none was destroyed that closes it."""
    also = of_zara("customer.update", changes={"email": (None, sealed("zaras"))})
    found = forgets(tmp_path, also, written)
    assert (found.verdict, found.evidence) == (SHORT, (1,))


def test_only_an_erasure_erases(tmp_path: Path) -> None:
    """An entry that happens to stand beside it in the index, with a token, is none."""
    written = of_zara("customer.update", changes={"email": (None, sealed("zaras"))})
    other = said("subject.erasure_authorised", ago(days=40), token="zaras")
    assert forgets(tmp_path, written, other, erased=("yans",)).verdict == SHORT


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
        assert "13 holds, 1 holds so far, 1 falls short" in str(
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


# -- nothing holds without evidence ----------------------------------------------------------------


def test_verified_whole_and_lately(bench: Bench) -> None:
    """Witnesses vouch for hashes: that entries are what was hashed only a verification shows."""
    found = bench.judge()["tamper_evident"]
    assert "all of them were verified 1 h ago" in found.words

    # What came since was read again; what was before wasn't.
    bench.history.add(verified(ago(minutes=5), since=9_000), source="b" * 16)
    later = NOW + dt.timedelta(days=8)
    bench.site.now = later
    found = bench.judge(later)["tamper_evident"]
    assert (found.verdict, found.figure, found.required) == (SHORT, 8 * DAY + HOUR, 7 * DAY)
    assert "verified 8 d 1 h ago, 7 days at most are promised: `indelible verify`" in found.words


def test_never_verified(tmp_path: Path) -> None:
    history = History(tmp_path / "trail.db", create=True)
    history.now = ago(hours=1)
    history.add(did(ALICE, "customer.read", ago(hours=1), kind="access"), verified(NOW, since=1))
    bench = Bench(history, tmp_path)
    found = bench.judge()["tamper_evident"]
    history.close()
    assert found.verdict == CANT_TELL
    assert "nobody has looked: `indelible verify`" in found.words


def test_nothing_is_complete_that_nobody_captures(tmp_path: Path) -> None:
    """A trail of explicit events alone shows nothing of a database, named or not."""
    history = History(tmp_path / "trail.db", create=True)
    history.now = ago(days=40)
    history.add(did(ALICE, "customer.read", ago(days=40), kind="access"))
    bench = Bench(history, tmp_path)
    complete = '[[invariant]]\nkind = "complete"\n'
    for database, words in (
        ("", "no table was ever captured"),
        ('[database]\nurl = "sqlite:///nowhere.db"\n', "the database can't be looked at"),
    ):
        bench.promise(complete, TOML + database)
        found = bench.judge()["complete"]
        assert (found.verdict, words in found.words) == (CANT_TELL, True), found.words
    history.close()


def test_a_brief_hole_and_completeness(bench: Bench) -> None:
    """A migration of minutes, behind which nothing differed, may be let pass; a longer one not."""
    bench.history.add(
        said("capture.suspended", ago(days=3)),
        said("capture.installed", ago(days=3, minutes=-5), "customer", "invoice"),
        reconciled(ago(minutes=30)),
        source="b" * 16,
    )
    for brief, expected in (("", SHORT), ("4 minutes", SHORT), ("5 minutes", HOLDS)):
        said_so = f'brief = "{brief}"\n' if brief else ""
        bench.promise(f'[[invariant]]\nkind = "complete"\n{said_so}')
        assert bench.judge()["complete"].verdict == expected


def test_a_share_of_named_tables_is_theirs(bench: Bench) -> None:
    """Thousands of exact reads of another table make no inexact ones of this one exact."""
    unseen = TargetRows("invoice", coverage="statement", why="a function")
    bench.history.add(
        *(did(ALICE, "customer.read", ago(hours=1), kind="access") for _ in range(1_000)),
        *(
            did(ALICE, "invoice.read", ago(hours=1), kind="access", targets=(unseen,))
            for _ in range(50)
        ),
        source="b" * 16,
    )
    promise = '[[invariant]]\nkind = "enumerable"\nwindow = "1 day"\nexact = 0.9\ntables = '
    bench.promise(promise + '["invoice"]\n')
    found = bench.judge()["enumerable"]
    assert found.verdict == SHORT
    assert found.figure is not None
    assert found.figure < 0.2
    bench.promise(promise + '["customer"]\n')
    assert bench.judge()["enumerable"].verdict == HOLDS


def test_an_event_of_somebody_is_no_baseline(bench: Bench) -> None:
    """Whatever name an application gives to an event of its own, nothing is captured by it."""
    bench.promise(
        '[[invariant]]\nkind = "enumerable"\nof = ["changes"]\ntables = ["payroll"]\n'
        'window = "1 hour"\n'
    )
    targets = (TargetRows("payroll"),)
    bench.history.add(
        did(ALICE, "table.baseline", ago(hours=2), kind="event", targets=targets),
        source="b" * 16,
    )
    found = bench.judge()["enumerable"]
    assert found.verdict == CANT_TELL
    assert "no entry says since when changes of payroll are captured" in found.words


def test_what_was_planned_is_news_once_it_is_enforced(bench: Bench) -> None:
    """It fell short before, when that failed nothing: now it is noticed."""
    forbids = (
        '[[invariant]]\nname = "x"\nkind = "forbids"\naction = "customer.update"\n'
        'by = "staff:bob"\n'
    )
    noticed = []
    for planned in ("planned = true\n", "", ""):
        bench.promise(forbids + planned)
        events = entries_of(bench.history.store, list(bench.judge().values()))
        noticed.append([event.action for event in events[1:]])
        bench.history.add(*(replace(each, time=at(NOW)) for each in events), source="f" * 16)
    assert noticed == [[], ["invariant.fell_short"], []]


def test_damage_elsewhere_blinds_nobody(bench: Bench) -> None:
    """What is counted over a month is counted, whatever is damaged of the months before."""
    with contextlib.closing(sqlite3.connect(bench.history.path)) as connection, connection:
        (last,) = connection.execute("SELECT max(n) FROM block").fetchone()
        connection.execute("UPDATE block SET frame0 = x'00' WHERE n = ?", (last - 5,))
    forbidden(bench)
    verdicts = bench.judge()
    assert (verdicts["forbids"].verdict, verdicts["forbids"].figure) == (SHORT, 1.0)
    for name in ("attributed", "separates", "limits", "delivered"):
        assert verdicts[name].verdict == HOLDS, verdicts[name].words
    assert verdicts["attributed"].words.startswith("0 of 540 accesses and changes")
    found = verdicts["reversible"]
    assert (found.verdict, "can't be read" in found.words) == (SHORT, True), found.words


def test_nobody_to_rehearse_for(bench: Bench) -> None:
    """Where nobody changed anything, nothing shows that it could be reversed."""
    reversible = '[[invariant]]\nkind = "reversible"\nwindow = "1 day"\n'
    for by, words in (("", "nobody known changed nothing"), ("bob", "staff:bob changed nothing")):
        now = NOW + dt.timedelta(days=1, hours=2)
        bench.promise(reversible + (f'by = "staff:{by}"\n' if by else ""))
        found = bench.judge(now)["reversible"]
        assert (found.verdict, words in found.words) == (CANT_TELL, True), found.words
    assert bench.site.rehearsed == []


def test_counts_of_a_young_capture(tmp_path: Path) -> None:
    """What was captured for ten days holds so far of thirty, and says until when."""
    path = tmp_path / "trail.db"
    make_history(path, days=10)
    history = History(path)
    bench = Bench(history, tmp_path)
    verdicts = bench.judge(dt.datetime(2023, 1, 11, 12, tzinfo=dt.UTC))
    history.close()
    for name in ("attributed", "forbids", "separates", "limits", "delivered", "authorised"):
        found = verdicts[name]
        assert found.verdict == "holds so far", found.words
        assert (found.on_course_until or "").startswith("2023-01-31")


def test_a_clock_that_is_wrong_captured_nothing(tmp_path: Path) -> None:
    """What claims to be from before its process was there counts from when it came."""
    history = History(tmp_path / "trail.db", create=True)
    history.now = ago(days=10)
    before = ago(days=2_000)
    history.add(
        did(ALICE, "customer.read", before, kind="access"),
        baseline("customer", before),
        baseline("invoice", before),
        said("capture.installed", before, "customer", "invoice", incarnation=DATABASE),
        reconciled(before),
    )
    bench = Bench(history, tmp_path)
    verdicts = bench.judge()
    history.close()
    for name in ("enumerable", "changes-only", "accessors", "reversible", "retained"):
        found = verdicts[name]
        assert found.verdict != HOLDS, (name, found.words)
        assert found.since in (None, at(ago(days=10))), (name, found.since)


def test_a_time_to_come_keeps_nothing_young(tmp_path: Path) -> None:
    """An entry that claims to be of next year is as old as its receipt."""
    later = of_zara("customer.read", kind="access", changes=None)
    later = replace(later, time=at(NOW + dt.timedelta(days=365)))
    found = forgets(tmp_path, later)
    assert (found.verdict, found.figure) == (SHORT, 10 * DAY)

"""Whether the four answers are right across tiers: each against a plain scan of all events.

`python -m bench oracle [--events N] [--years Y] [--trail PATH]`: the trail of `bench tiers`, all
but its last 90 days sealed, is asked for windows of an hour to all the years; what it should answer
is counted from the mix's events themselves, one after the other. Then the detail of accesses older
than 12 months is dropped, and who accessed a customer's data is asked again, by day. Ends with an
error where one answer differs.
"""

from __future__ import annotations

import argparse
import collections
import math
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.mix import EPOCH, YEAR, Mix
from bench.tiers import DAY, KINDS, build, drop_detail, key_beside, seal
from indelible.events.codec import decode_event, format_time
from indelible.events.model import Actor, Event, Subject
from indelible.integrity.keys import load_signing_key
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.events import changes
from indelible.questions.window import Window
from indelible.reversal.gather import select_changes
from indelible.store.sqlite import SqliteTrail

ASKED = 40
HOUR = DAY // 24


class Deeds(NamedTuple):
    """How many events read, and how many changed."""

    reads: int = 0
    changes: int = 0

    def and_one(self, kind: str) -> Deeds:
        return Deeds(self.reads + (kind == "access"), self.changes + (kind == "change"))


class ByActor:
    """Of an actor in a window: which records they read and changed."""

    def __init__(self, by: Actor, window: Window) -> None:
        self.by = by
        self.window = window
        self.records: dict[tuple[str, object], Deeds] = {}

    def take(self, event: Event) -> None:
        for rows in event.targets:
            for row_id in rows.ids:
                found = self.records.get((rows.kind, row_id), Deeds())
                self.records[rows.kind, row_id] = found.and_one(event.kind)


class OfSubject:
    """Of a subject in a window: who read and changed their data, and on which days they read it."""

    def __init__(self, of: Subject, window: Window) -> None:
        self.of = of
        self.window = window
        self.actors: dict[Actor | None, Deeds] = {}
        self.readers: set[Actor | None] = set()

    def take(self, event: Event) -> None:
        self.actors[event.actor] = self.actors.get(event.actor, Deeds()).and_one(event.kind)
        if event.kind == "access":
            self.readers.add(event.actor)


class Oracle:
    """All events, read once; of the changes a plain table is kept."""

    def __init__(self, directory: Path, by: list[ByActor], of: list[OfSubject]) -> None:
        self._by = collections.defaultdict(list)
        for each in by:
            self._by[each.by].append(each)
        self._of = collections.defaultdict(list)
        for one in of:
            self._of[one.of.id].append(one)
        self._changes = sqlite3.connect(directory / "changes.db")
        self._changes.execute("CREATE TABLE change (id, time, actor, kind, row)")

    def read(self, events: Iterator[Event]) -> None:
        self._changes.executemany(
            "INSERT INTO change VALUES (?, ?, ?, ?, ?)", self._changes_of(events)
        )
        self._changes.execute("CREATE INDEX by_row ON change (kind, row)")
        self._changes.execute("CREATE INDEX by_actor ON change (actor, time)")

    def _changes_of(self, events: Iterator[Event]) -> Iterator[tuple[object, ...]]:
        for event in events:
            if event.kind not in ("access", "change"):
                continue
            assert event.actor is not None
            for asked in self._by.get(event.actor, ()):
                if event.time in asked.window:
                    asked.take(event)
            owners = {each.id for each in event.subjects}
            for rows in event.targets:
                if rows.kind == "customer":
                    owners.update(str(row_id[0]) for row_id in rows.ids)
            for owner in owners & self._of.keys():
                for one in self._of[owner]:
                    if event.time in one.window:
                        one.take(event)
            if event.kind == "change":
                (rows,) = event.targets
                yield event.id, event.time, event.actor.id, rows.kind, rows.ids[0][0]

    def changes(self, by: Actor, window: Window) -> set[str]:
        found = self._changes.execute(
            "SELECT id FROM change WHERE actor = ? AND time >= ? AND time < ?",
            (by.id, window.since, window.until),
        )
        return {row[0] for row in found}

    def later(self, by: Actor, window: Window) -> set[str]:
        """The changes of the window, and all since the first of them of the same rows."""
        found = self._changes.execute(
            "WITH own AS (SELECT kind, row, time FROM change"
            " WHERE actor = ? AND time >= ? AND time < ?)"
            " SELECT id FROM change WHERE (kind, row) IN (SELECT kind, row FROM own)"
            " AND time >= (SELECT min(time) FROM own)",
            (by.id, window.since, window.until),
        )
        return {row[0] for row in found}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench oracle")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--trail", type=Path)
    chosen = parser.parse_args()
    rng = random.Random(7)
    end = EPOCH + chosen.years * YEAR
    by = [ByActor(_actor(rng), _window(rng, end)) for _ in range(ASKED)]
    of = [OfSubject(_customer(rng), _window(rng, end)) for _ in range(ASKED)]
    by_day = [OfSubject(_customer(rng), _days(rng, end - YEAR)) for _ in range(ASKED)]
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as name:
        directory = Path(name)
        path = directory / "trail.db"
        built = chosen.trail or directory / "built.db"
        if not built.exists():
            build(built, chosen.events, chosen.years, uuids=False)
        shutil.copy(built, path)
        oracle = Oracle(directory, by, [*of, *by_day])
        began = time.perf_counter()
        mix = Mix(chosen.events, span=chosen.years * YEAR)
        oracle.read(decode_event(each.bodies[0]) for each in mix.deliveries())
        print(f"{chosen.events:,} events scanned in {time.perf_counter() - began:.0f} s")
        reader = SqliteTrail(path)
        seal(reader, path, end)
        check_actors(reader, oracle, by)
        check_subjects(reader, of)
        drop_detail(reader, path, end, load_signing_key(key_beside(built)))
        check_days(reader, by_day)


def check_actors(reader: SqliteTrail, oracle: Oracle, asked: list[ByActor]) -> None:
    found = 0
    for each in asked:
        by, window = each.by, each.window
        expected = oracle.changes(by, window)
        _equal("changes", {one.event.id for one in changes(reader, by=by, window=window)}, expected)
        selection = select_changes(reader, by=by, window=window)
        _equal("reverse", set(selection.selected), expected)
        known = {change.event for change in selection.changes}
        _equal("reverse, later", known, oracle.later(by, window))
        found += len(expected)
    print(f"  changes, reverse   {len(asked)} windows: equal, {found:,} changes")
    found = 0
    for each in asked:
        records: dict[tuple[str, object], Deeds] = {}
        for one in accesses(reader, by=each.by, window=each.window):
            records[one.kind, one.id] = Deeds(one.reads, one.changes)
        _equal("accesses", records, each.records)
        found += len(records)
    print(f"  accesses           {len(asked)} windows: equal, {found:,} records")


def check_subjects(reader: SqliteTrail, asked: list[OfSubject]) -> None:
    found = 0
    for each in asked:
        answer = accessors(reader, of=each.of, window=each.window, kinds=KINDS)
        actors = {one.actor: Deeds(one.reads, one.changes) for one in answer}
        _equal("accessors", actors, each.actors)
        found += len(actors)
    print(f"  accessors          {len(asked)} windows: equal, {found:,} actors")


def check_days(reader: SqliteTrail, asked: list[OfSubject]) -> None:
    """Who changed something is known exactly still, who read by day."""
    found = 0
    for each in asked:
        answer = list(accessors(reader, of=each.of, window=each.window, kinds=KINDS))
        by_day = {one.actor for one in answer if one.resolution == "day"}
        _equal("accessors by day", by_day, each.readers)
        exact = {one.actor: one.changes for one in answer if one.resolution == "exact"}
        changed = {who: deeds.changes for who, deeds in each.actors.items() if deeds.changes}
        _equal("accessors, exact", exact, changed)
        found += len(by_day)
    print(f"  accessors by day   {len(asked)} windows: equal, {found:,} actors")


def _equal(question: str, came: object, expected: object) -> None:
    if came != expected:
        raise SystemExit(f"{question}: the answer differs from what the events say")


def _actor(rng: random.Random) -> Actor:
    return Actor("staff", f"user{rng.randrange(200):03d}")


def _customer(rng: random.Random) -> Subject:
    return Subject("customer", str(rng.randint(1, 50_000)))


def _window(rng: random.Random, end: int) -> Window:
    """Of an hour to all the time there is, each size as likely."""
    width = int(math.exp(rng.uniform(math.log(HOUR), math.log(end - EPOCH))))
    since = rng.randrange(EPOCH, end - width + 1)
    return Window(format_time(since), format_time(since + width))


def _days(rng: random.Random, until: int) -> Window:
    """Whole days, of a day to all there are before `until`."""
    first, last = -(-EPOCH // DAY), until // DAY
    width = int(math.exp(rng.uniform(0, math.log(last - first))))
    since = rng.randrange(first, last - width + 1)
    return Window(format_time(since * DAY), format_time((since + width) * DAY))


if __name__ == "__main__":
    main()

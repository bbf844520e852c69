"""Reversing an actor's day: each alone on a fresh copy, then all of them one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from indelible import Actor, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.reversal.reversal import Reversal as Plan

from .answers import Record, fold_trail, key_of
from .chinook import enforce_foreign_keys
from .conftest import Day
from .expected import Reversal, history_of, name_of, reverse, without
from .snapshots import Key, Snapshot, connect_plainly, take_snapshot
from .withheld import veil, veiled
from .working_day import ACTORS

AUDITOR = Actor("staff", "auditor")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[tuple[Trail, Engine]]:
    """The trail and a captured engine on the database, in a copy of the day."""
    with Trail.open(directory / "indelible.toml") as trail:
        engine = create_engine(f"sqlite:///{directory / 'app.db'}")
        enforce_foreign_keys(engine)
        capture(engine, trail)
        try:
            yield trail, engine
        finally:
            engine.dispose()


def rows_of(directory: Path, day: Day) -> Snapshot:
    with contextlib.closing(connect_plainly(directory / "app.db")) as connection:
        return take_snapshot(connection, day.oracle.tables)


def conflicts_of(plan: Plan) -> set[Record]:
    return {(step.kind, key_of(step.id)) for step in plan.conflicts}


def without_reactions(rows: Snapshot, known: Snapshot) -> Snapshot:
    """`rows` without the price history that the application's trigger wrote of the reversal."""
    kept: dict[Key, object] = {
        key: row for key, row in rows["PriceChange"].items() if key in known["PriceChange"]
    }
    return {**rows, "PriceChange": kept}


def check(directory: Path, day: Day, plan: Plan, expected: Reversal, live: Snapshot) -> None:
    assert conflicts_of(plan) == {(table.lower(), key) for table, key in expected.conflicts}
    found = without_reactions(rows_of(directory, day), live)
    for table, rows in expected.rows.items():
        differing = {
            key: (found[table].get(key), rows.get(key))
            for key in found[table].keys() | rows.keys()
            if found[table].get(key) != rows.get(key)
        }
        assert not differing, f"{table}: found and expected"


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_reversing_one_restores_what_the_others_alone_would_have_left(
    day: Day, actor: Actor, tmp_path: Path
) -> None:
    """Changes without conflict might never have been; the others are named, and left alone."""
    directory = day.copy(tmp_path)
    live = day.oracle.now
    name = (actor.kind, actor.id)
    history = history_of(day.oracle.steps)
    expected = reverse(name, history, live, day.oracle.tables)
    for (table, key), row in without(name, history, live).items():
        found = expected.rows[table].get(key)
        assert (table, key) in expected.conflicts or (
            found == row
            if found is None or row is None
            else veiled(table, found) == veiled(table, row)
        )

    with opened(directory) as (trail, engine):
        plan = trail.plan_reversal(by=actor)
        assert rows_of(directory, day) == live
        with acting_as(AUDITOR, reason="reversal"):
            plan.apply(engine)

        check(directory, day, plan, expected, live)
        after = rows_of(directory, day)
        with acting_as(AUDITOR):
            trail.plan_reversal(by=actor).apply(engine)
        assert rows_of(directory, day) == after
        trail.flush()
        assert {f.event.actor for f in trail.changes(by=AUDITOR)} <= {AUDITOR}
        assert fold_trail(trail, day.oracle.tables) == veil(after)
        trail.verify()


def test_reversing_all_in_a_row(day: Day, tmp_path: Path) -> None:
    """Each reversal meets what the ones before it left."""
    directory = day.copy(tmp_path)
    history = history_of(day.oracle.steps)
    live = day.oracle.now
    with opened(directory) as (trail, engine):
        for actor in ACTORS:
            expected = reverse((actor.kind, actor.id), history, live, day.oracle.tables)
            with acting_as(AUDITOR):
                plan = trail.plan_reversal(by=actor)
                plan.apply(engine)
            check(directory, day, plan, expected, live)
            live = without_reactions(rows_of(directory, day), live)
            history += [(name_of(AUDITOR), change) for change in expected.changes]
        trail.flush()
        trail.verify()

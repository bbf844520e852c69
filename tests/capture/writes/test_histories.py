"""Random schemas under random histories, held to what SQLite itself ends up with."""

from __future__ import annotations

import itertools
import random
import sqlite3
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.capture.writes.capturing import Captured
from tests.capture.writes.folding import Rows, fold, live, raw_text
from tests.capture.writes.histories import chance, make_control, make_schema, make_statement

_STATEMENTS_BEFORE = 6
_STATEMENTS = 25
_RUNAWAY = ("too many levels of trigger recursion", "interrupted")
_RUNAWAY_STEPS = 2_000_000
"""Of SQLite's machine; a schema's triggers may double their work at each of 30 levels."""


class History(NamedTuple):
    """SQL: what was there before `install`, and what was done after it."""

    pragmas: tuple[str, ...]
    schema: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def make_history(rng: random.Random) -> History:
    tables, schema = make_schema(rng)
    pragmas = (
        f"PRAGMA foreign_keys = {'OFF' if chance(rng, 25) else 'ON'}",
        f"PRAGMA recursive_triggers = {'ON' if chance(rng, 25) else 'OFF'}",
    )
    before = tuple(
        make_statement(rng, tables) for _ in range(rng.randrange(_STATEMENTS_BEFORE + 1))
    )
    after = tuple(
        make_control(rng) if chance(rng, 15) else make_statement(rng, tables)
        for _ in range(rng.randrange(1, _STATEMENTS + 1))
    )
    return History(pragmas, tuple(schema), before, after)


def run(connection: sqlite3.Connection, statement: str) -> object:
    """What came of it, as the application would see it."""
    try:
        cursor = connection.execute(statement)
        return cursor.fetchall(), cursor.rowcount, cursor.lastrowid, connection.in_transaction
    except sqlite3.Error as error:
        return type(error), str(error), connection.in_transaction


def add_plainest_triggers(connection: sqlite3.Connection) -> None:
    """Triggers that only write somewhere, for a fair comparison: with any trigger that does,
    SQLite itself checks foreign keys of REPLACE, undoes statements that fail half-way and sets
    `lastrowid` where it doesn't otherwise.
    """
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    ).fetchall()
    connection.execute("CREATE TABLE indelible_plainest (x)")
    for name, timing, event in itertools.product(
        (name for (name,) in names), ("BEFORE", "AFTER"), ("INSERT", "UPDATE", "DELETE")
    ):
        connection.execute(
            f"CREATE TRIGGER plainest_{name}_{timing}_{event} {timing} {event} ON {name} "
            "BEGIN INSERT INTO indelible_plainest VALUES (1); END"
        )


def is_runaway(outcome: object) -> bool:
    return any(said in str(outcome) for said in _RUNAWAY)


def captured_and_live(history: History) -> tuple[Rows, Rows, Rows]:
    """The trail folded, the database that it was captured from, and the same without capture.

    Raises where a change doesn't go on from what was before it, or where a statement's result
    with capture isn't its result without.
    """
    twins = [sqlite3.connect(":memory:", isolation_level=None) for _ in range(2)]
    with_capture, plain = twins
    try:
        for twin in twins:
            twin.text_factory = raw_text
            twin.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 30)
            for statement in (*history.pragmas, *history.schema):
                twin.execute(statement)
            for statement in history.before:
                run(twin, statement)
            # A statement of before may have failed half-way, with OR ROLLBACK or without.
            if twin.in_transaction:
                twin.execute("COMMIT")
        captured = Captured(with_capture)
        add_plainest_triggers(plain)
        plain.set_progress_handler(lambda: 1, _RUNAWAY_STEPS)
        for statement in (*history.after, "COMMIT", "ROLLBACK"):
            plainly = run(plain, statement)
            if is_runaway(plainly):
                break
            captured.context.enter(None)
            seen = run(with_capture, statement)
            captured.context.leave()
            if is_runaway(seen):
                break
            assert seen == plainly, statement
        else:
            return fold(captured.drafts()), live(captured.reader), live(plain)
        # SQLite leaves such a statement half done, or not, depending on the triggers.
        now = live(captured.reader)
        return fold(captured.drafts()), now, now
    finally:
        for twin in twins:
            twin.close()


def check(history: History) -> None:
    folded, with_capture, without = captured_and_live(history)
    assert folded == with_capture
    assert with_capture == without


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_folding_the_trail_gives_the_live_database(rng: random.Random) -> None:
    """Whatever a schema and a history are made of, baseline plus changes are the database, bit
    by bit, and no statement's result differs from what it is without capture.
    """
    check(make_history(rng))


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 20_000, 1_000))
def test_folding_many_histories(start: int) -> None:
    """The same over twenty thousand seeds, which Hypothesis doesn't choose."""
    for seed in range(start, start + 1_000):
        try:
            check(make_history(random.Random(seed)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error

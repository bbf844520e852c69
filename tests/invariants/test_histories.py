"""Random histories with unseen edits anywhere: exactly what they changed is named."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .site import Site, without_triggers

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 0.5), (3, x'03', NULL), (4, 9007199254740993, '');
"""
UNKNOWN = object()
Row = tuple[object, ...]
Rows = Mapping[int, Row]


class Step(NamedTuple):
    """What somebody did to the row of this key; `column` 0 is the whole row."""

    seen: bool
    verb: str
    key: int
    column: int
    value: object


values = st.one_of(
    st.none(),
    st.integers(-2, 2),
    st.sampled_from([2**53 + 1, 0.5, -0.0, float("inf"), "", "two", b"", b"\x00\xff", "ü"]),
)
steps = st.builds(
    Step,
    seen=st.integers(0, 3).map(bool),
    verb=st.sampled_from(["insert", "update", "update", "update", "delete"]),
    key=st.integers(1, 5),
    column=st.integers(1, 2),
    value=values,
)


class Witness:
    """What the trail can know, from every row before and after each step."""

    def __init__(self, rows: Rows) -> None:
        self.told = dict(rows)
        self.contradictions: list[tuple[int, str]] = []

    def saw(self, key: int, before: Rows, after: Rows) -> None:
        """A step that was captured, of the row of this key."""
        was, now = before.get(key), after.get(key)
        if was is None and now is None:
            return
        told = self.told.get(key)
        if was is not None and now is not None:
            # Only the columns that were changed are told.
            changed = {n for n in range(3) if not same(was[n], now[n])}
            known = told if told is not None else (UNKNOWN,) * 3
            is_as_told = told is not None and all(agree(told[n], was[n]) for n in changed)
            self.told[key] = tuple(now[n] if n in changed else known[n] for n in range(3))
        else:
            # All of it came, or went, as it was.
            is_as_told = agree(told, was)
            self.told.pop(key, None)
            if now is not None:
                self.told[key] = now
        if not is_as_told:
            self.contradictions.append((key, "overwritten"))

    def differences(self, live: Rows) -> list[tuple[int, str]]:
        found = []
        for key in self.told.keys() | live.keys():
            told, is_there = self.told.get(key), live.get(key)
            if told is None:
                found.append((key, "extra"))
            elif is_there is None:
                found.append((key, "missing"))
            elif not agree(told, is_there):
                found.append((key, "differs"))
        return found


def agree(told: object, found: object) -> bool:
    """Whether what was found can be what is told; anything can, where that is unknown."""
    if isinstance(told, tuple) and isinstance(found, tuple):
        return all(map(agree, told, found))
    return told is UNKNOWN or same(told, found)


def same(one: object, other: object) -> bool:
    """Whether two values, or rows of them, are the same bits."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@example([Step(False, "update", 1, 1, "x"), Step(True, "update", 1, 1, "y")])
@example([Step(False, "delete", 2, 1, None), Step(True, "insert", 2, 1, "again")])
@example(
    [
        Step(False, "insert", 5, 1, 1),
        Step(True, "update", 5, 2, 7),
        Step(True, "delete", 5, 1, 0),
    ]
)
@given(st.lists(steps, min_size=1, max_size=8))
def test_exactly_the_unseen_is_named(history: list[Step]) -> None:
    """Rows that differ now, and those of which a later entry shows that they once did."""
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory), SCHEMA)
        try:
            rows = read(site)
            witness = Witness(rows)
            for step in history:
                before = rows
                write(site, step)
                rows = read(site)
                # An insert where the row is there does nothing, nor is told.
                if step.seen and (step.verb != "insert" or step.key not in before):
                    witness.saw(step.key, before, rows)
            found = site.reconcile()
        finally:
            site.stop()

    names = sorted((one.id[0], one.what) for one in found.differences)
    assert names == sorted([*witness.contradictions, *witness.differences(rows)])
    for one in found.differences:
        if one.what == "differs":
            at = [n for n in range(3) if ("id", "a", "b")[n] in one.columns]
            told, live = witness.told[one.id[0]], rows[one.id[0]]
            assert at == [n for n in range(3) if not agree(told[n], live[n])]


def write(site: Site, step: Step) -> None:
    script = {
        "insert": "INSERT OR IGNORE INTO t VALUES (:key, :value, :value)",
        "delete": "DELETE FROM t WHERE id = :key",
        "update": f"UPDATE t SET {' ab'[step.column]} = :value WHERE id = :key",
    }[step.verb]
    parameters = {"key": step.key, "value": step.value}
    if not step.seen:
        with without_triggers(site.database) as client:
            client.execute(script, parameters)
        return
    with contextlib.closing(sqlite3.connect(site.database, timeout=10)) as client:
        client.execute(script, parameters)
        client.commit()


def read(site: Site) -> Rows:
    with contextlib.closing(sqlite3.connect(site.database, timeout=10)) as connection:
        return {row[0]: row for row in connection.execute("SELECT * FROM t")}

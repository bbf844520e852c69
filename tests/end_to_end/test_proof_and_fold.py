"""After the day: the trail verifies, and folding it gives the live database."""

from __future__ import annotations

from pathlib import Path

from indelible import Trail
from indelible.invariants.differences import Difference, Summary

from .answers import fold_trail
from .conftest import Day
from .withheld import veil
from .working_day import ALICE


def test_the_trail_verifies(day: Day) -> None:
    """Every body, head, tile, checkpoint and index line of the day is what was signed."""
    verification = day.trail.verify()

    assert verification.size == day.trail.reader.size
    assert verification.quarantined == 0


def test_folding_the_trail_gives_the_live_database(day: Day) -> None:
    """Baseline and changes make up every row of every table, bit by bit, but what is withheld."""
    folded = fold_trail(day.trail, day.oracle.tables)

    for table, rows in veil(day.oracle.now).items():
        assert folded[table] == rows, table


def test_reconciling_finds_nothing(day: Day, tmp_path: Path) -> None:
    """Nor was any row changed in the day without the trail seeing it, as the command finds."""
    with Trail.open(day.copy(tmp_path) / "indelible.toml") as trail:
        *found, summary = trail.reconcile()

    assert [one for one in found if isinstance(one, Difference)] == []
    assert isinstance(summary, Summary)
    assert summary.rows == sum(map(len, day.oracle.now.values()))
    assert summary.notes == ()


def test_nothing_is_missing_from_any_source(day: Day) -> None:
    """Every position of outbox and journals arrived, and answers say so."""
    sources = list(day.trail.changes(by=ALICE).sources())

    assert sources
    for source in sources:
        assert not source.missing
        assert not source.lost

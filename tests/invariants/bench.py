"""A copy of three years of history, to be broken and judged."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from indelible.events.model import Actor
from indelible.invariants.check import check
from indelible.invariants.facts import Rehearsed
from indelible.invariants.verdicts import Verdict
from indelible.policy import Policy, parse_policy
from indelible.questions.window import Window

from .history import (
    NOW,
    STAFF,
    History,
    make_history,
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
[[invariant]]
kind = "authorised"
by = "robot"
[[invariant]]
kind = "log_clean"
files = ["*.log"]
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
    "authorised",
    "log_clean",
]
SHORT, HOLDS, CANT_TELL = "falls short", "holds", "can't tell"


class Elsewhere:
    """A site whose witnesses cosigned when a test says so, and whose reversals come out."""

    def __init__(self) -> None:
        self.ages: dict[str, float] | None = {"w1": 20.0, "w2": 30.0, "w3": 40.0}
        self.vouched: dict[str, int] = {}
        """Of how many entries, where not of all."""
        self.rehearsed: list[tuple[str, Window]] = []
        self.result: Rehearsed | str = Rehearsed(1, 0, ())
        self.now = NOW

    def rehearse(self, by: Actor, window: Window, *, rolled_back: bool) -> Rehearsed | str:
        self.rehearsed.append((str(by), window))
        return self.result

    def cosigned(self) -> dict[str, tuple[int, int]] | None:
        if self.ages is None:
            return None
        now = int(self.now.timestamp())
        return {
            name: (self.vouched.get(name, 1_000_000), now - int(age))
            for name, age in self.ages.items()
        }

    def try_canary(self, command: Sequence[str]) -> tuple[Actor | None, str]:
        return None, "there is no application"


class Bench:
    """A copy of the history, to be broken and judged."""

    def __init__(self, history: History, directory: Path) -> None:
        self.history = history
        self.directory = directory
        (directory / "app.log").write_text("started\n")
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

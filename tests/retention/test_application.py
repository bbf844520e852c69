"""An application's database goes on being told what it should be, when changes went."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import msgspec

from indelible import Target
from indelible.invariants.differences import Difference, Summary
from indelible.policy.durations import Duration
from indelible.retention import Retention
from indelible.trail import Trail
from tests.erasure.site import POLICY, Shop

YEAR = 366 * 86_400_000_000


def retention_of(trail: Trail) -> Retention:
    """That of the trail, in a year."""
    found = trail.retention
    found._settings = msgspec.structs.replace(
        trail.policy.kept(), changes=Duration("300 days"), access_detail=Duration("100 days")
    )
    found._clock = lambda: time.time_ns() // 1_000 + YEAR
    return found


PROMISES = """
[[invariant]]
name = "two-years"
kind = "retained"
at_least = "2 years"
[[invariant]]
name = "within"
kind = "enumerable"
of = ["changes"]
window = "250 days"
[[invariant]]
name = "beyond"
kind = "enumerable"
of = ["changes"]
window = "350 days"
[[invariant]]
name = "undone"
kind = "reversible"
window = "350 days"
"""


def test_what_went_is_promised_no_more(tmp_path: Path) -> None:
    """Promises that reach further back than what is kept fall short, by so much."""
    shop = Shop(tmp_path / "shop", policy=POLICY + PROMISES)
    shop.work()
    with shop.open() as (trail, connection):
        for n in range(3, 300):
            connection.execute("INSERT INTO customer VALUES (?, ?, 'tin')", (n, f"mail-{n}"))
            connection.commit()
        trail.flush()
        now = dt.datetime.now(dt.UTC) + dt.timedelta(days=366)
        before = {each.name: each for each in trail.check(now=now)}
        retention = retention_of(trail)
        list(retention.seal_due())
        with retention.plan() as plan:
            text = retention.request(plan, reason="as every year")
        retention.apply(shop.sign(text, "one", "two"))
        after = {each.name: each for each in trail.check(now=now)}
    for name in ("two-years", "beyond", "undone"):
        assert before[name].verdict != "falls short", before[name].words
        assert after[name].verdict == "falls short", after[name].words
        assert "retention dropped" in after[name].words
    beyond = after["beyond"].figure
    assert beyond is not None and 49 < beyond / 86_400 < 52
    assert after["within"].verdict == before["within"].verdict


def test_reconciliation_after_changes_went(tmp_path: Path) -> None:
    """Nothing is said to differ that doesn't; what does is still found; states aren't complete."""
    shop = Shop(tmp_path / "shop")
    shop.work()
    with shop.open() as (trail, connection):
        for n in range(3, 400):
            connection.execute("INSERT INTO customer VALUES (?, ?, 'tin')", (n, f"mail-{n}"))
            connection.commit()
        trail.flush()
        before = list(trail.reconcile())
        assert not [each for each in before if isinstance(each, Difference)]
        retention = retention_of(trail)
        list(retention.seal_due())
        with retention.plan() as plan:
            text = retention.request(plan, reason="as every year")
        assert plan.dropped > 200
        retention.apply(shop.sign(text, "one", "two"))
        trail.verify()
        answer = trail.state(Target("customer", 3))
        assert list(answer) == [] and answer.retained() is not None
        after = list(trail.reconcile())
        assert not [each for each in after if isinstance(each, Difference)]
        connection.execute("UPDATE customer SET level = 'gold' WHERE id = 5")
        connection.commit()
        trail.flush()
        (found,) = trail.state(Target("customer", 5))
        assert not found.state.complete and found.state.columns == {"level": "gold"}
        assert not [each for each in trail.reconcile() if isinstance(each, Difference)]
        assert isinstance(after[-1], Summary)

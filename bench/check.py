"""How long a check takes: `python -m bench check [--events N] [--trail PATH]`.

Over the seeded mix of `bench.mix`, a year long, with promises of a year: each kind by itself, those
that share one reading together, and all of them, on one core: seconds, processor time, and the most
memory that the process had so far. Reversals aren't rehearsed: that is the database's time. A trail
built at PATH is used again.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import questions
from bench.machine import describe_machine
from bench.mix import EPOCH, PRODUCERS, TABLES, YEAR
from indelible.capture.installing import INSTALLED
from indelible.events.codec import encode_draft, format_time, seal_parts
from indelible.events.model import Actor, Event, Producer, TargetRows
from indelible.invariants.check import check
from indelible.invariants.facts import Rehearsed
from indelible.policy import parse_policy
from indelible.questions.window import Window
from indelible.store.sqlite import SqliteTrail
from indelible.transport.delivery import Delivery

SOURCE = "bbbbbbbbbbbbbbbb"
TOML = '[trail]\nurl = "sqlite:///trail.db"\n[tables.customer]\nsubject = "self"\n'
PROMISES = {
    "enumerable": 'kind = "enumerable"\nwindow = "1 year"\n',
    "accessors": 'kind = "accessors"\nof = "customer"\nwindow = "1 year"\n',
    "complete": 'kind = "complete"\nwindow = "1 year"\n',
    "retained": 'kind = "retained"\nat_least = "1 year"\n',
    "attributed": 'kind = "attributed"\nwindow = "1 year"\n',
    "delivered": 'kind = "delivered"\np95 = "1 day"\np100 = "9 days"\nwindow = "1 year"\n',
    "reversible": 'kind = "reversible"\nwindow = "1 year"\n',
    "forbids": 'kind = "forbids"\naction = "customer.delete"\nby = "staff"\nwindow = "1 year"\n',
    "separates": 'kind = "separates"\nactions = ["invoice.refund", "report.exported"]\n'
    'window = "1 year"\n',
    "limits": 'kind = "limits"\naction = "report.exported"\nat_most = 9\nwindow = "1 year"\n',
    "forgotten": 'kind = "forgotten"\nof = "customer"\nat_most = "6 months"\n',
    "authorised": 'kind = "authorised"\nwindow = "1 year"\n',
}
ONE_READING = ("attributed", "delivered", "reversible", "forbids", "separates", "limits")


class Nowhere:
    """A site at which nothing is tried."""

    def rehearse(self, by: Actor, window: Window, *, rolled_back: bool) -> Rehearsed | str:
        return Rehearsed(0, 0, ())

    def cosigned(self) -> None:
        return None

    def try_canary(self, command: Sequence[str]) -> tuple[Actor | None, str]:
        return None, "there is no application"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench check")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--trail", type=Path)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        path = chosen.trail or Path(directory) / "trail.db"
        if not path.exists():
            build(path, chosen.events)
        store = SqliteTrail(path)
        print(describe_machine())
        print(f"{store.size:,} entries")
        print(f"{'':32}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}  verdict")
        for name in PROMISES:
            measure(store, name, [name])
        measure(store, "what shares one reading", ONE_READING)
        measure(store, "all but forgotten", [name for name in PROMISES if name != "forgotten"])
        store.close()


def build(path: Path, events: int) -> None:
    """The mix, captured from its beginning on."""
    details = {"incarnation": PRODUCERS[0]}
    targets = tuple(TargetRows(kind) for kind in TABLES)
    installed = Event(action=INSTALLED, kind="system", targets=targets, details=details)
    place = Producer(SOURCE, EPOCH, 1)
    bodies = seal_parts(encode_draft(installed), format_time(EPOCH), place)
    questions.build(path, events, 1, before=[[Delivery(SOURCE, EPOCH, 1, bodies)]])


def measure(store: SqliteTrail, title: str, names: Sequence[str]) -> None:
    text = TOML + "".join(f"[[invariant]]\n{PROMISES[name]}" for name in names)
    policy = parse_policy(text)
    now = dt.datetime.fromtimestamp((EPOCH + YEAR) / 1_000_000, dt.UTC)
    began, began_cpu = time.perf_counter(), time.process_time()
    verdicts = check(store, policy, Nowhere(), now=now)
    took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    said = verdicts[0].verdict if len(verdicts) == 1 else ""
    print(f"{title:32}{took:>10.2f}{cpu:>10.2f}{peak:>10.0f}  {said}", flush=True)


if __name__ == "__main__":
    main()

"""How long the four questions take: `python -m bench questions [--events N] [--trail PATH]`.

Over the seeded mix of `bench.mix`, for windows of 15 hours, 7 days and 12 months, each asked of 15
actors or subjects drawn as often as they act (so typical ones), on one core with a warm cache:
median and p95 in milliseconds, and findings. A trail built at PATH is used again.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.mix import EPOCH, YEAR, Mix
from indelible.events.codec import decode_event, format_time
from indelible.events.model import Actor, Event, Subject
from indelible.integrity.sequencer import Sequencer
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.events import changes
from indelible.questions.window import Window
from indelible.reversal.gather import select_changes
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey

HOUR = 3_600 * 1_000_000
WINDOWS = {"15 hours": 15 * HOUR, "7 days": 7 * 24 * HOUR, "12 months": YEAR}
DRAWS = 15
FLOOR_MS = 50.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench questions")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--trail", type=Path)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        path = chosen.trail or Path(directory) / "trail.db"
        if not path.exists():
            build(path, chosen.events)
        store = SqliteTrail(path)
        ask_all(store)
        store.close()


def build(path: Path, events: int) -> None:
    key = SigningKey.generate("example.com/bench")
    store = SqliteTrail.create(
        path, origin="example.com/bench", vkey=str(key.verifier_key), source_id="5ca1ab1e0ddba115"
    )
    lease = store.acquire_lease("bench", now=time.time_ns() // 1_000, lease_s=86_400.0)
    assert lease is not None
    sequencer = Sequencer(store, lease, key)
    for batch in Mix(events).batches(1_000):
        sequencer.deliver(batch)
    store.close()


def ask_all(store: SqliteTrail) -> None:
    rng = random.Random(1)
    drawn = _drawn(store, rng)
    actors = [event.actor for event in drawn if event.actor is not None]
    subjects = [rng.choice(event.subjects) for event in drawn]
    print(f"{store.size:,} entries; median and p95 of {DRAWS} draws in ms, mean findings")
    for name, width in WINDOWS.items():
        starts = [EPOCH + rng.randrange(YEAR - width + 1) for _ in range(DRAWS)]
        windows = [Window(format_time(start), format_time(start + width + 1)) for start in starts]
        _show(
            "changes", name, [_changes(store, *pair) for pair in zip(actors, windows, strict=True)]
        )
        _show(
            "accesses",
            name,
            [_accesses(store, *pair) for pair in zip(actors, windows, strict=True)],
        )
        _show(
            "accessors",
            name,
            [_accessors(store, *pair) for pair in zip(subjects, windows, strict=True)],
        )
        _show(
            "reverse", name, [_reverse(store, *pair) for pair in zip(actors, windows, strict=True)]
        )


def _drawn(store: SqliteTrail, rng: random.Random) -> list[Event]:
    """Events by which actors and subjects are drawn as often as they occur."""
    found: list[Event] = []
    while len(found) < DRAWS:
        event = decode_event(store.entry(rng.randrange(store.size)).body)
        if event.actor is not None and event.subjects:
            found.append(event)
    return found


def _changes(store: SqliteTrail, by: Actor, window: Window) -> tuple[float, int]:
    return _timed(lambda: changes(store, by=by, window=window))


def _accesses(store: SqliteTrail, by: Actor, window: Window) -> tuple[float, int]:
    return _timed(lambda: accesses(store, by=by, window=window))


def _accessors(store: SqliteTrail, of: Subject, window: Window) -> tuple[float, int]:
    kinds = ("customer", "invoice", "invoice_line", "ticket", "note", "payment")
    return _timed(lambda: accessors(store, of=of, window=window, kinds=kinds))


def _reverse(store: SqliteTrail, by: Actor, window: Window) -> tuple[float, int]:
    return _timed(lambda: select_changes(store, by=by, window=window).changes)


def _timed(ask: Callable[[], Iterable[object]]) -> tuple[float, int]:
    sum(1 for _ in ask())  # warm
    began = time.perf_counter()
    count = sum(1 for _ in ask())
    return (time.perf_counter() - began) * 1_000, count


def _show(question: str, window: str, timings: list[tuple[float, int]]) -> None:
    times = sorted(elapsed for elapsed, _ in timings)
    median, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
    findings = sum(count for _, count in timings) / len(timings)
    judged = "" if median < FLOOR_MS else f"   above {FLOOR_MS:.0f} ms"
    print(f"  {question:<10}{window:<10}{median:>9.1f}{p95:>9.1f}{findings:>10,.0f}{judged}")


if __name__ == "__main__":
    main()

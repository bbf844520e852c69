"""How long the four questions take.

`python -m bench questions [--events N] [--years N] [--trail PATH]`: over the seeded mix of
`bench.mix`, for windows of 15 hours, 7 days and 12 months, each asked of 20 actors of 200 or
subjects of 50,000, drawn evenly, and of the 20 busiest actors, on one core with a warm cache:
median, p95 and maximum in milliseconds, median of the processor time, of the time until there are
100 findings, and findings. `reverse` is what a plan is made of, the actor's changes and all later
ones of their rows, without the database that it would be carried out in. A trail built at PATH is
used again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.machine import describe_machine
from bench.mix import EPOCH, YEAR, Mix
from indelible.events.codec import decode_event, format_time, parse_time
from indelible.events.model import Actor, Subject
from indelible.integrity.sequencer import Sequencer
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.events import changes
from indelible.questions.window import Window
from indelible.reversal.gather import select_changes
from indelible.store.protocol import TrailReader
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery

HOUR = 3_600 * 1_000_000
WINDOWS = {"15 hours": 15 * HOUR, "7 days": 7 * 24 * HOUR, "12 months": YEAR}
DRAWS = 20
PAGE = 100
SLOW_MS = 1_000.0
"""What takes longer isn't asked twice: most of it is no wait for the disk."""


class Timing(NamedTuple):
    """One asking."""

    elapsed_ms: float
    cpu_ms: float
    page_ms: float
    findings: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench questions")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--years", type=int, default=1)
    parser.add_argument("--trail", type=Path)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        path = chosen.trail or Path(directory) / "trail.db"
        if not path.exists():
            build(path, chosen.events, chosen.years)
        store = SqliteTrail(path)
        print(describe_machine())
        ask_all(store, chosen.years)
        store.close()


def build(
    path: Path, events: int, years: int, *, before: Iterable[Sequence[Delivery]] = ()
) -> None:
    """A trail of so many events over so many years, and those batches. Its key stands beside it."""
    key = SigningKey.generate("example.com/bench")
    key_path(path).write_text(key.export_private())
    store = SqliteTrail.create(
        path, origin=key.name, vkey=str(key.verifier_key), source_id="5ca1ab1e0ddba115"
    )
    extend(store, key, itertools.chain(before, Mix(events, span=years * YEAR).batches(1_000)))
    store.close()


def extend(store: SqliteTrail, key: SigningKey, batches: Iterable[Sequence[Delivery]]) -> None:
    lease = store.acquire_lease("bench", now=time.time_ns() // 1_000, lease_s=86_400.0)
    assert lease is not None
    # Received when they happened, as they are in life: what was received long after belongs to
    # many windows.
    now = EPOCH
    sequencer = Sequencer(store, lease, key, clock=lambda: now)
    for batch in batches:
        now = parse_time(decode_event(batch[-1].bodies[-1]).time)
        sequencer.deliver(batch)
    store.release_lease(lease)


def key_path(trail: Path) -> Path:
    return trail.with_name(f"{trail.name}.key")


def ask_all(store: TrailReader, years: int, draws: int = DRAWS) -> None:
    rng = random.Random(1)
    actors = [Actor("staff", f"user{rng.randrange(200):03d}") for _ in range(draws)]
    busy = [Actor("staff", f"user{n:03d}") for n in range(draws)]
    subjects = [Subject("customer", str(rng.randint(1, 50_000))) for _ in range(draws)]
    print(f"{store.size:,} entries, {draws} draws")
    columns = ("median ms", "p95 ms", "max ms", "CPU ms", "100th ms", "findings")
    print(" " * 28 + "".join(f"{column:>10}" for column in columns))
    for name, width in WINDOWS.items():
        starts = [EPOCH + rng.randrange(years * YEAR - width + 1) for _ in range(draws)]
        windows = [Window(format_time(start), format_time(start + width + 1)) for start in starts]
        for question, ask, askers in (
            ("changes", _changes, actors),
            ("accesses", _accesses, actors),
            ("reverse", _reverse, actors),
            ("changes, busiest", _changes, busy),
            ("accesses, busiest", _accesses, busy),
        ):
            pairs = zip(askers, windows, strict=True)
            _show(question, name, [ask(store, by, window) for by, window in pairs])
        pairs_of_subjects = zip(subjects, windows, strict=True)
        _show(
            "accessors", name, [_accessors(store, of, within) for of, within in pairs_of_subjects]
        )


def _changes(store: TrailReader, by: Actor, window: Window) -> Timing:
    return _timed(lambda: changes(store, by=by, window=window))


def _accesses(store: TrailReader, by: Actor, window: Window) -> Timing:
    return _timed(lambda: accesses(store, by=by, window=window))


def _accessors(store: TrailReader, of: Subject, window: Window) -> Timing:
    kinds = ("customer", "invoice", "invoice_line", "ticket", "note", "payment")
    return _timed(lambda: accessors(store, of=of, window=window, kinds=kinds))


def _reverse(store: TrailReader, by: Actor, window: Window) -> Timing:
    return _timed(lambda: select_changes(store, by=by, window=window).changes)


def _timed(ask: Callable[[], Iterable[object]]) -> Timing:
    first = _timed_once(ask)  # warms up
    return first if first.elapsed_ms > SLOW_MS else _timed_once(ask)


def _timed_once(ask: Callable[[], Iterable[object]]) -> Timing:
    began, cpu_began = time.perf_counter(), time.process_time()
    count = 0
    page = 0.0
    for count, _ in enumerate(ask(), start=1):
        if count == PAGE:
            page = time.perf_counter() - began
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return Timing(elapsed * 1_000, cpu * 1_000, (page or elapsed) * 1_000, count)


def _show(question: str, window: str, timings: list[Timing]) -> None:
    times = sorted(timing.elapsed_ms for timing in timings)
    cpu = statistics.median(timing.cpu_ms for timing in timings)
    page = statistics.median(timing.page_ms for timing in timings)
    findings = sum(timing.findings for timing in timings) / len(timings)
    print(
        f"  {question:<18}{window:<10}{statistics.median(times):>8.1f}"
        f"{times[int(len(times) * 0.95)]:>10.1f}{times[-1]:>10.1f}{cpu:>10.1f}{page:>10.1f}"
        f"{findings:>10,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

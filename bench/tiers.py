"""What sealing costs and saves, and what answers take across tiers.

`python -m bench tiers [--events N] [--years Y] [--keys integer|uuid] [--trail PATH]`: the seeded
mix of `bench.mix` over so many years, received as it happened. All but the last 90 days are sealed
to a folder and copied to the lake; then each of the four questions is asked of the hot
tier, of the sealed one, and across both, on one core with a warm cache; then the detail of accesses
older than 12 months is dropped, and it is asked who accessed a customer's data in the two years
before. A trail built at PATH is copied, and stays, with its key beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.machine import describe_machine
from bench.mix import EPOCH, YEAR, Mix
from indelible.events.codec import (
    decode_event,
    encode_draft,
    format_time,
    parse_time,
    seal_parts,
)
from indelible.events.model import Actor, Event, Producer, Subject
from indelible.integrity.authorisations import Authorisers
from indelible.integrity.keys import create_signing_key, load_signing_key
from indelible.integrity.retention import parse_retention
from indelible.integrity.sealing import seal_trail
from indelible.integrity.sequencer import Sequencer
from indelible.integrity.verifier import verify_trail
from indelible.policy.durations import Duration
from indelible.policy.model import RetentionSettings
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.events import changes
from indelible.questions.window import Window
from indelible.retention import Retention
from indelible.reversal.gather import select_changes
from indelible.store.lake import write_lake
from indelible.store.places import Folder
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_reader import SqliteReader
from indelible.tlog import SigningKey, VerifierKey, add_signatures, format_note, sign_note
from indelible.tlog.note import Note
from indelible.transport.delivery import Delivery

DAY = 86_400 * 1_000_000
HOT = 90 * DAY
DRAWS = 15
KINDS = ("customer", "invoice", "invoice_line", "ticket", "note", "payment")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench tiers")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--keys", choices=("integer", "uuid"), default="integer")
    parser.add_argument("--trail", type=Path)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        path = Path(directory) / "trail.db"
        built = chosen.trail or Path(directory) / "built.db"
        if not built.exists():
            build(built, chosen.events, chosen.years, uuids=chosen.keys == "uuid")
        shutil.copy(built, path)
        measure(path, chosen.years, load_signing_key(key_beside(built)))


def key_beside(built: Path) -> Path:
    return built.with_name(f"{built.name}.key")


def build(path: Path, events: int, years: int, *, uuids: bool) -> None:
    key = create_signing_key(key_beside(path), "example.com/bench")
    store = SqliteTrail.create(
        path, origin="example.com/bench", vkey=str(key.verifier_key), source_id="5ca1ab1e0ddba115"
    )
    lease = store.acquire_lease("bench", now=EPOCH, lease_s=86_400.0)
    assert lease is not None
    # Received when they happened, as they are in life.
    now = EPOCH
    sequencer = Sequencer(store, lease, key, clock=lambda: now)
    for batch in Mix(events, uuids=uuids, span=years * YEAR).batches(1_000):
        now = parse_time(decode_event(batch[-1].bodies[-1]).time)
        sequencer.deliver(batch)
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def measure(path: Path, years: int, key: SigningKey) -> None:
    reader = SqliteTrail(path)
    size = int(reader.size)
    end = EPOCH + years * YEAR
    print(f"\n{size:,} entries over {years} years, {path.stat().st_size / size:.1f} bytes each")
    seal(reader, path, end)
    show_peak("sealing")
    show_room(reader, path)
    fill(reader, path)
    show_peak("writing the lake")
    ask(reader, end)
    show_peak("asking")
    drop_detail(reader, path, end, key)
    show_peak("dropping")
    show_room(reader, path)
    ask_by_day(reader, end)
    began = time.process_time()
    verify_trail(path, VerifierKey.parse(reader.vkey))
    print(
        f"  verify, all rebuilt {size / (time.process_time() - began):>10,.0f} a processor second"
    )
    show_peak("verifying")


def show_peak(step: str) -> None:
    """What the process had at most until then."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"  peak memory {peak:>21} MiB, {step} included", flush=True)


def seal(reader: SqliteReader, path: Path, end: int) -> None:
    began, processor = time.perf_counter(), time.process_time()
    sealed = 0
    slowest = last = 0.0
    for segment in seal_trail(
        reader,
        [VerifierKey.parse(reader.vkey)],
        Folder(path.parent / "sealed"),
        "sealed",
        before=format_time(end - HOT),
    ):
        sealed = segment.last + 1
        now = time.perf_counter() - began
        slowest, last = max(slowest, now - last), now
    elapsed, cpu = time.perf_counter() - began, time.process_time() - processor
    print(
        f"  sealed {sealed:,} in {elapsed:.1f} s: {sealed / elapsed:,.0f} events/s, "
        f"{sealed / cpu:,.0f} a processor second; slowest segment {slowest:.2f} s"
    )


def fill(reader: SqliteReader, path: Path) -> None:
    processor = time.process_time()
    files = list(write_lake(reader, reader.segments(), path.parent / "lake"))
    rows = sum(file.rows for file in files)
    rate = rows / (time.process_time() - processor)
    each = sum(file.length for file in files) / rows
    print(f"  lake                    {each:>9.1f} bytes an event in {len(files)} files; ", end="")
    print(f"{rate:,.0f} events a processor second")


def show_room(reader: SqliteReader, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sealed = connection.execute("SELECT coalesce(max(last) + 1, 0) FROM segment").fetchone()[0]
        postings, directories = connection.execute(
            "SELECT sum(length(data)), (SELECT sum(length(directory)) FROM run WHERE last < ?)"
            " FROM page WHERE id >> 16 IN (SELECT id FROM run WHERE last < ?)",
            (sealed, sealed),
        ).fetchone()
        rows = connection.execute(
            "SELECT sum(length(sealed) + 70) FROM block WHERE sealed IS NOT NULL"
        ).fetchone()[0]
    connection.close()
    tiers = reader.tiers()
    cold = sum(tier.length for tier in tiers if tier.name == "sealed")
    hot = path.stat().st_size
    print(f"  segments                {cold / sealed:>9.1f} bytes a sealed event, of them")
    print(f"    posting lists         {postings / sealed:>9.1f}")
    kept = (postings + directories + rows) / sealed
    print(f"  kept hot of each        {kept:>9.1f}: its posting lists, where its block stands")
    rest = (hot - kept * sealed) / (int(reader.size) - sealed)
    print(f"  hot file                {hot / 1e6:>9.1f} MB; {rest:.1f} bytes an event not sealed")


def ask(reader: SqliteReader, end: int) -> None:
    rng = random.Random(1)
    actors = [Actor("staff", f"user{rng.randrange(200):03d}") for _ in range(DRAWS)]
    busy = [Actor("staff", f"user{n:03d}") for n in range(DRAWS)]
    subjects = [Subject("customer", str(rng.randint(1, 50_000))) for _ in range(DRAWS)]
    print(f"{'':40}{'median ms':>10}{'p95 ms':>10}{'findings':>10}")
    hot = [end - rng.randrange(DAY, HOT - DAY) for _ in range(DRAWS)]
    cold = [EPOCH + rng.randrange(YEAR) for _ in range(DRAWS)]
    for name, starts, width in (
        ("hot, a day", hot, DAY),
        ("sealed, a day", cold, DAY),
        ("across, 12 months", [end - YEAR] * DRAWS, YEAR),
        ("sealed, 12 months", cold, YEAR),
    ):
        windows = [Window(format_time(at), format_time(at + width)) for at in starts]
        for question, ask_one, askers in (
            ("changes", _changes, actors),
            ("accesses", _accesses, actors),
            ("reverse", _reverse, actors),
            ("accesses, busiest", _accesses, busy[: DRAWS if width == DAY else 3]),
            ("accessors", _accessors, subjects),
        ):
            pairs = zip(askers, windows, strict=False)
            _show(
                question,
                name,
                [_timed(lambda w=w, a=a, q=ask_one: q(reader, a, w)) for a, w in pairs],
            )


def drop_detail(reader: SqliteTrail, path: Path, end: int, key: SigningKey) -> None:
    """Of accesses older than 12 months only the days are kept."""
    lease = reader.acquire_lease("retention", now=end, lease_s=0.0)
    assert lease is not None
    sequencer = Sequencer(reader, lease, key, clock=lambda: end)
    said: list[Delivery] = []

    def say(event: Event) -> None:
        place = Producer("7e7e7e7e7e7e7e7e", end, len(said) + say_count[0] + 1)
        bodies = seal_parts(encode_draft(event), format_time(end), place)
        said.append(Delivery(place.id, place.epoch, place.seq, bodies))
        if len(said) >= 1_000:
            carry()

    def carry() -> None:
        if said:
            sequencer.deliver(said)
            say_count[0] += len(said)
            said.clear()

    say_count = [0]
    allowing = SigningKey.generate("example.com/dpo")
    retention = Retention(
        reader,
        RetentionSettings(
            keystore=path.with_name("none"),
            master_key=path.with_name("none"),
            access_detail=Duration("12 months"),
        ),
        Authorisers(1, (allowing.verifier_key,)),
        None,
        subject_kinds=["customer"],
        lake=None,
        say=say,
        repeat=say,
        carry=carry,
        seal=lambda before: iter(()),
        clock=lambda: end,
    )
    tick = time.perf_counter()
    with retention.plan() as plan:
        planned = time.perf_counter() - tick
        text = retention.request(plan, reason="bench")
    count, days = plan.dropped, parse_retention(text).said
    note = format_note(add_signatures(Note(text, ()), [sign_note(text, allowing)]))
    tick = time.perf_counter()
    retention.apply(note)
    applied = time.perf_counter() - tick
    print(f"  dropped {count:,} bodies, said in {days:,} entries: worked out in {planned:.0f} s,")
    print(f"    worked out again, said and written anew in {applied:.0f} s")


def ask_by_day(reader: SqliteReader, end: int) -> None:
    rng = random.Random(2)
    subjects = [Subject("customer", str(rng.randint(1, 50_000))) for _ in range(DRAWS)]
    for name, since, until in (
        ("by day, 12 months", end - 2 * YEAR, end - YEAR),
        ("by day, 2 years", end - 3 * YEAR, end - YEAR),
        ("both, 3 years", end - 3 * YEAR, end),
    ):
        window = Window(format_time(since), format_time(until))
        _show(
            "accessors",
            name,
            [_timed(lambda s=s, w=window: _accessors(reader, s, w)) for s in subjects],
        )


def _changes(reader: SqliteReader, by: Actor, window: Window) -> Iterable[object]:
    return changes(reader, by=by, window=window)


def _accesses(reader: SqliteReader, by: Actor, window: Window) -> Iterable[object]:
    return accesses(reader, by=by, window=window)


def _accessors(reader: SqliteReader, of: Subject, window: Window) -> Iterable[object]:
    return accessors(reader, of=of, window=window, kinds=KINDS)


def _reverse(reader: SqliteReader, by: Actor, window: Window) -> Iterable[object]:
    return select_changes(reader, by=by, window=window).changes


def _timed(ask_one: Callable[[], Iterable[object]]) -> tuple[float, int]:
    sum(1 for _ in ask_one())  # warm
    began = time.perf_counter()
    count = sum(1 for _ in ask_one())
    return (time.perf_counter() - began) * 1_000, count


def _show(question: str, window: str, timings: list[tuple[float, int]]) -> None:
    times = sorted(elapsed for elapsed, _ in timings)
    median, p95 = statistics.median(times), times[int(len(times) * 0.95)]
    found = sum(count for _, count in timings) / len(timings)
    print(f"  {question:<18}{window:<20}{median:>10.1f}{p95:>10.1f}{found:>10,.0f}")


if __name__ == "__main__":
    main()

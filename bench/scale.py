"""What a large trail asks of who verifies it, proves an entry of it, or asks it.

`python -m bench scale [--events N] [--years N] [--trail PATH]`: a trail of the seeded mix of
`bench.mix`, each batch received when it happened, made by the real sequencer at PATH (and its key
beside it) unless there is one. Then, each in a process of its own with its peak of memory: all
of it verified; 10,000 events more, and those alone verified, three times; 1,000 entries proven,
warm, and 100 with nothing of the file in memory; what `bench.questions` asks.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import questions
from bench.machine import describe_machine
from bench.mix import Mix
from indelible.events.codec import parse_time
from indelible.integrity.verified import Verified
from indelible.integrity.verifier import verify_trail
from indelible.questions.proofs import Evidence, prove
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_reader import SqliteReader
from indelible.tlog import Index, SigningKey, leaf_hash, open_checkpoint, verify_inclusion

NEW = 10_000
DAY = 86_400 * 1_000_000
WARM, COLD = 1_000, 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench scale")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--trail", type=Path)
    parser.add_argument("--draws", type=int, default=questions.DRAWS)
    parser.add_argument("--part", choices=PARTS, action="append", default=[])
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if chosen.part and chosen.trail:
        for part in chosen.part:
            PARTS[part](chosen.trail, chosen)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024
            print(f"  {'peak of memory':<34}{peak:>10,} MiB")
        return
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        path = chosen.trail or Path(directory) / "trail.db"
        for part in PARTS:
            if part == "build" and path.exists():
                continue
            options = ("--events", str(chosen.events), "--years", str(chosen.years))
            more = ("--draws", str(chosen.draws), "--trail", str(path), "--part", part)
            print(f"\n{part}", flush=True)
            subprocess.run([sys.executable, "-m", "bench.scale", *options, *more], check=True)
    print(describe_machine())


def build(path: Path, chosen: argparse.Namespace) -> None:
    events: int = chosen.events
    _show(f"{events:,} events", lambda: questions.build(path, events, chosen.years))
    size = path.stat().st_size
    print(f"  {'room':<34}{size / 1e6:>10,.0f} MB, {size / events:.0f} bytes an event")


def verify_all(path: Path, chosen: argparse.Namespace) -> None:
    """And leave what the next one goes on from, as a pin does."""
    left: list[Verified] = []
    key = _key(path).verifier_key
    seconds = _show("verify", lambda: verify_trail(path, key, on_verified=left.append))
    size = left[0].what.size
    print(f"  {'':<34}{size / seconds:>10,.0f} entries a second of the processor")
    _verified_path(path).write_bytes(msgspec.json.encode(left[0]))


def verify_new(path: Path, chosen: argparse.Namespace) -> None:
    store, key = SqliteTrail(path), _key(path)
    *_, last = store.batches(int(store.size) - 1)
    start = parse_time(last.time) + DAY
    questions.extend(store, key, Mix(NEW, start=start, span=DAY, seed=start).batches(1_000))
    store.close()

    def verify() -> None:
        earlier = msgspec.json.decode(_verified_path(path).read_bytes(), type=Verified)
        found = verify_trail(path, key.verifier_key, earlier=earlier)
        assert found.since == earlier.what.size and found.size - found.since >= NEW

    for _ in range(3):
        _show(f"verify {NEW:,} events more", verify)


def prove_entries(path: Path, chosen: argparse.Namespace) -> None:
    rng = random.Random(1)
    reader = SqliteReader(path)
    size = int(reader.size)
    key = _key(path).verifier_key

    def check(evidence: Evidence) -> None:
        signed = open_checkpoint(
            evidence.proof.signed_checkpoint, origin=key.name, log_key=key
        ).checkpoint
        verify_inclusion(
            leaf=leaf_hash(evidence.head),
            index=evidence.index,
            size=signed.size,
            root=signed.root,
            proof=evidence.proof.hashes,
        )

    def timed(reader: SqliteReader) -> tuple[float, float]:
        """Seconds, and those of the processor."""
        index = Index(rng.randrange(size))
        began, processor = time.perf_counter(), time.process_time()
        (evidence,) = prove(reader, (index,))
        taken = time.perf_counter() - began, time.process_time() - processor
        check(evidence)
        return taken

    for _ in range(WARM):
        timed(reader)
    _show_times(f"{WARM:,} entries, warm", [timed(reader) for _ in range(WARM)])
    reader.close()
    cold = []
    for _ in range(COLD):
        _drop_from_memory(path)
        reader = SqliteReader(path)
        cold.append(timed(reader))
        reader.close()
    _show_times(f"{COLD} entries, nothing in memory", cold)


def ask(path: Path, chosen: argparse.Namespace) -> None:
    store = SqliteReader(path)
    questions.ask_all(store, chosen.years, chosen.draws)
    store.close()


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "build": build,
    "verify": verify_all,
    "verify-new": verify_new,
    "prove": prove_entries,
    "ask": ask,
}


def _key(path: Path) -> SigningKey:
    return SigningKey.parse(questions.key_path(path).read_text())


def _verified_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _drop_from_memory(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())  # what isn't on disk yet stays
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _show(what: str, work: Callable[[], object]) -> float:
    began, processor = time.perf_counter(), time.process_time()
    work()
    elapsed, used = time.perf_counter() - began, time.process_time() - processor
    print(f"  {what:<34}{elapsed:>10.2f} s, {used:>8.2f} s of the processor", flush=True)
    return used


def _show_times(what: str, times: list[tuple[float, float]]) -> None:
    ordered = sorted(seconds * 1e3 for seconds, _ in times)
    used = statistics.median(processor * 1e3 for _, processor in times)
    p95 = ordered[int(len(ordered) * 0.95)]
    print(
        f"  {what:<34}{statistics.median(ordered):>10.2f} ms median, {p95:.2f} p95, "
        f"{ordered[-1]:.2f} max; of the processor {used:.2f} median"
    )


if __name__ == "__main__":
    main()

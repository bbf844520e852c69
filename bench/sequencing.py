"""How fast a trail takes events in, how much room they need, and how fast it verifies.

`python -m bench sequencing [--events N] [--keys integer|uuid]`: the seeded mix of `bench.mix` in
batches of 1,000 through the real sequencer (FULL, lease, duplicates checked, tiles, two commits,
signature), on one core. Beside it, batch by batch in the same run, the same bytes go into a trail
that isn't signed (one commit, and no signature), into a plain SQLite table (FULL, one commit a
batch) and at the end of a plain file (one fdatasync a batch). The last line is the median, over
batches, of signed to unsigned.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.machine import describe_machine
from bench.mix import Mix
from indelible.integrity.sequencer import Sequencer
from indelible.integrity.verifier import verify_trail
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery

BATCH = 1_000
COMPARED_EVENTS = 200_000
"""So many are also written plainly; more would only wear the disk."""
LEASE_S = 3_600.0

PARTS = {
    "bodies": "SELECT sum(length(frame0) + coalesce(length(frame1), 0) + coalesce(length(frame2),"
    " 0) + coalesce(length(frame3), 0)) FROM block",
    "heads": "SELECT sum(length(stems)) FROM block",
    "salts": "SELECT sum(length(salts)) FROM block",
    "tiles": "SELECT sum(length(hashes)) FROM tile",
    "index": "SELECT (SELECT sum(length(data)) FROM page)"
    " + (SELECT sum(length(directory)) FROM run)",
    "positions": "SELECT (SELECT sum(length(ranges) + 100) FROM source)"
    " + (SELECT 24 * count(*) FROM span)",
}


class Timing(NamedTuple):
    """Seconds that each batch took, and seconds of the processor for all of them."""

    batches: list[float]
    processor: list[float]

    @property
    def total(self) -> float:
        return sum(self.batches)

    def per_second(self, events: int) -> float:
        return events / self.total

    def per_processor_second(self, events: int) -> float:
        return events / sum(self.processor)

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.batches)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] * 1_000


class Trail:
    """A real one."""

    sequencer: type[Sequencer] = Sequencer
    file = "trail.db"

    def __init__(self, directory: Path) -> None:
        self.path = directory / self.file
        self.key = SigningKey.generate("example.com/bench")
        self.store = SqliteTrail.create(
            self.path,
            origin="example.com/bench",
            vkey=str(self.key.verifier_key),
            source_id="ffffffffffffffff",
        )
        lease = self.store.acquire_lease("bench", now=time.time_ns() // 1_000, lease_s=LEASE_S)
        assert lease is not None
        self._sequencer = self.sequencer(self.store, lease, self.key)

    def write(self, batch: Sequence[Delivery]) -> None:
        self._sequencer.deliver(batch)


class _Unsigned(Sequencer):
    def _sign(self) -> bytes:
        return b""

    def _store_checkpoint(self, note: bytes) -> None:
        pass


class UnsignedTrail(Trail):
    """One whose root is pending for ever."""

    sequencer = _Unsigned
    file = "unsigned.db"


class PlainTable:
    """The bodies in a table, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / "plain.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB)")

    def write(self, batch: Sequence[Delivery]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO event (body) VALUES (?)", [delivery.bodies for delivery in batch]
        )
        self._connection.execute("COMMIT")


class PlainFile:
    """The bodies at the end of a file, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "plain.ndjson", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, batch: Sequence[Delivery]) -> None:
        os.write(self._fd, b"\n".join(delivery.bodies[0] for delivery in batch))
        os.fdatasync(self._fd)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench sequencing")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--keys", choices=("integer", "uuid"), action="append")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(describe_machine())
    for keys in chosen.keys or ("integer", "uuid"):
        with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
            measure(Path(directory), events=chosen.events, keys=keys)


def measure(directory: Path, *, events: int, keys: str) -> None:
    trail, unsigned = Trail(directory), UnsignedTrail(directory)
    table, file = PlainTable(directory), PlainFile(directory)
    timings = {name: Timing([], []) for name in ("trail", "unsigned", "table", "file")}
    bytes_in = compared = done = 0
    memory: list[tuple[int, int]] = []
    for batch in Mix(events, uuids=keys == "uuid").batches(BATCH):
        is_odd = len(timings["trail"].batches) % 2
        if is_odd:
            _time(timings["unsigned"], unsigned.write, batch)
        _time(timings["trail"], trail.write, batch)
        if not is_odd:
            _time(timings["unsigned"], unsigned.write, batch)
        done += len(batch)
        bytes_in += sum(len(body) for delivery in batch for body in delivery.bodies)
        if compared < COMPARED_EVENTS:
            compared += len(batch)
            _time(timings["table"], table.write, batch)
            _time(timings["file"], file.write, batch)
        if done % 100_000 == 0 or done == events:
            memory.append((done, _resident_mib()))
    print(f"\n{events:,} events, {keys} keys, {bytes_in / events:.0f} bytes each as JSON")
    _print_timing("sequenced, durable and signed", timings["trail"], events)
    last = len(timings["trail"].batches) // 10 or 1
    tenth = Timing(*(each[-last:] for each in timings["trail"]))
    _print_timing("  the last tenth of them", tenth, len(tenth.batches) * BATCH)
    _print_timing("sequenced, not signed", timings["unsigned"], events)
    _print_timing("plain SQLite table", timings["table"], compared)
    _print_timing("plain file, fdatasync", timings["file"], compared)
    ratios = [
        statistics.median(signed / plain for signed, plain in zip(*pairs, strict=True))
        for pairs in zip(timings["trail"], timings["unsigned"], strict=True)
    ]
    print(f"  {'signed to not signed':<32}{ratios[0]:.3f}, of the processor {ratios[1]:.3f}")
    print(f"  {'memory':<32}" + ", ".join(f"{mib} MiB at {at:,}" for at, mib in memory[::3]))
    _print_room(trail, events)
    _print_verifying(trail)
    trail.store.close()
    unsigned.store.close()


def _time(
    timing: Timing, write: Callable[[Sequence[Delivery]], None], batch: Sequence[Delivery]
) -> None:
    began, processor = time.perf_counter(), time.process_time()
    write(batch)
    timing.processor.append(time.process_time() - processor)
    timing.batches.append(time.perf_counter() - began)


def _print_timing(what: str, timing: Timing, events: int) -> None:
    print(
        f"  {what:<30}{timing.per_second(events):>8,.0f} events/s, "
        f"{timing.per_processor_second(events):>9,.0f} a processor second; batch p50 "
        f"{timing.percentile_ms(50):5.1f} ms, p99 {timing.percentile_ms(99):5.1f} ms, "
        f"max {timing.percentile_ms(100):5.1f} ms"
    )


def _print_room(trail: Trail, events: int) -> None:
    with sqlite3.connect(trail.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        parts = {what: connection.execute(sql).fetchone()[0] for what, sql in PARTS.items()}
        references = connection.execute("SELECT sum(refs) FROM run").fetchone()[0]
    connection.close()
    whole = trail.path.stat().st_size
    parts["pages' slack and the rest"] = whole - sum(parts.values())
    print(f"  {'room':<32}{whole / events:>9.1f} bytes an event")
    for what, size in parts.items():
        print(f"    {what:<30}{size / events:>9.1f}")
    print(
        f"    {references / events:.1f} references an event, "
        f"{parts['index'] / references:.2f} bytes each"
    )


def _print_verifying(trail: Trail) -> None:
    for what, with_index in (("verify, the proof", False), ("verify, all rebuilt", True)):
        began, processor = time.perf_counter(), time.process_time()
        size = verify_trail(trail.path, trail.key.verifier_key, with_index=with_index).size
        print(
            f"  {what:<30}{size / (time.perf_counter() - began):>8,.0f} entries/s,"
            f"{size / (time.process_time() - processor):>9,.0f} a processor second"
        )


def _resident_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()

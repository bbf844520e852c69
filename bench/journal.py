"""What an append to the journal costs, beside a bare `write` and beside SQLite.

`python -m bench.journal`: microseconds an event of 343 bytes, best of five rounds; one process,
once with one and once with eight threads; then what a `sync` costs, alone and shared.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from indelible.events.codec import encode_draft
from indelible.events.model import Actor, Event, Statement, Subject, TargetRows
from indelible.tlog import SigningKey
from indelible.transport.journal import Journal
from indelible.transport.producer_signing import ProducerSigner

ROUNDS = 5
EVENT = encode_draft(
    Event(
        action="invoice.read",
        kind="access",
        actor=Actor("staff", "alice"),
        targets=(TargetRows("invoice", ids=((93,),), columns=("invoice_id", "total")),),
        subjects=(Subject("customer", "zara"),),
        statement=Statement("SELECT invoice_id, total FROM invoice WHERE invoice_id = ?"),
    )
)


def microseconds(work: Callable[[], None], count: int, *, threads: int = 1) -> float:
    """The best of some rounds, an event; all threads together do `count` of `work`."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = threading.Barrier(threads + 1)

        def run(start: threading.Barrier = start) -> None:
            start.wait()
            for _ in range(count // threads):
                work()

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        start.wait()
        began = time.perf_counter()
        for thread in running:
            thread.join()
        best = min(best, (time.perf_counter() - began) / count * 1e6)
    return best


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name))


def measure(directory: Path) -> None:
    journal = Journal(directory / "journals", max_file_bytes=1 << 40)
    journal.append(EVENT)
    frame_bytes = journal.path.stat().st_size
    journal.append(EVENT)
    frame_bytes = journal.path.stat().st_size - frame_bytes
    frame = bytes(frame_bytes)
    fd = os.open(directory / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    results = [
        ("write", microseconds(lambda: void(os.write(fd, frame)), 100_000)),
        ("write, 8 threads", microseconds(lambda: void(os.write(fd, frame)), 80_000, threads=8)),
        ("append", microseconds(lambda: void(journal.append(EVENT)), 100_000)),
        ("append, 8 threads", microseconds(lambda: void(journal.append(EVENT)), 80_000, threads=8)),
    ]
    signing = Journal(
        directory / "signing",
        max_file_bytes=1 << 40,
        new_signer=lambda producer_id, epoch: ProducerSigner(
            producer_id, epoch, SigningKey.generate("bench")
        ),
    )
    results.append(
        ("append, signed", microseconds(lambda: void(signing.append(EVENT)), 100_000)),
    )
    signing.close()
    os.close(fd)
    for per_commit, count in ((1, 5_000), (100, 500)):
        results.append(
            (
                f"SQLite NORMAL, {per_commit} a commit",
                in_sqlite(directory, frame, per_commit, count),
            )
        )
    journal.sync()
    both = microseconds(lambda: append_and_sync(journal), 400)
    shared = microseconds(lambda: append_and_sync(journal), 1_600, threads=8)
    results += [("append and sync", both), ("append and sync, 8 threads", shared)]
    journal.close()
    print(f"{frame_bytes} bytes an event in the file")
    raw = results[0][1]
    for what, taken in results:
        print(f"{what:<28}{taken:>9.2f} us{taken / raw:>9.1f} x write")


def in_sqlite(directory: Path, frame: bytes, per_commit: int, count: int) -> float:
    connection = sqlite3.connect(
        directory / "journal.db", isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, event BLOB)")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(per_commit):
            connection.execute("INSERT INTO journal (event) VALUES (?)", (frame,))
        connection.execute("COMMIT")

    taken = microseconds(commit, count) / per_commit
    connection.close()
    return taken


def append_and_sync(journal: Journal) -> None:
    journal.append(EVENT)
    journal.sync()


def void(_: object) -> None:
    return None


if __name__ == "__main__":
    main()

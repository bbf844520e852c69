"""How long an acknowledgement takes, beside what the disk takes: `python -m bench acks`.

One event at a time, in the process that relays; a witness on the same machine (`indelible witness
serve`) cosigns. The unit is the median of an append of 300 bytes and an `fdatasync` on the same
disk, measured in the same blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.integrity.witnessed import Operated, policy_of
from tests.integrity.witnesses import WitnessProcess, running

from bench.machine import describe_machine
from indelible.integrity.acks import Ack

EVENTS = 200
BLOCKS = 5
BOUNDS = {Ack.RECEIVED: (2, 5), Ack.CHECKPOINTED: (4, 5), Ack.WITNESSED: (6, 10)}
"""How many syncs, and how many milliseconds more, are asked for."""


def measure(directory: Path) -> None:
    plain = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with contextlib.ExitStack() as stack:
        process = WitnessProcess(directory / "witness", "example.com/witness")
        witness = stack.enter_context(running(process))
        operated = Operated(directory / "trail", policy_of([witness], 1))
        witness.add(operated.key)
        trail = stack.enter_context(operated.open())

        def append_and_sync() -> None:
            os.write(plain, b"x" * 300)
            os.fdatasync(plain)

        def acknowledged(ack: Ack) -> Callable[[], None]:
            def work() -> None:
                event_id = trail.record("payment.sent")
                assert event_id is not None
                trail.await_ack(event_id, ack, timeout_s=30.0)

            return work

        works = {"fdatasync": append_and_sync} | {
            ack.name.lower(): acknowledged(ack) for ack in Ack if ack <= Ack.WITNESSED
        }
        taken: dict[str, list[float]] = {name: [] for name in works}
        for block in range(-1, BLOCKS):
            for name, work in works.items():
                for _ in range(EVENTS):
                    begin = time.perf_counter()
                    work()
                    if block >= 0:  # the first warms up
                        taken[name].append(time.perf_counter() - begin)
    os.close(plain)
    unit = statistics.median(taken["fdatasync"])
    asked = {ack.name.lower(): bound for ack, bound in BOUNDS.items()}
    print(f"{'':14}{'p50, ms':>10}{'p99, ms':>10}{'of an fdatasync':>18}{'asked for p50, ms':>20}")
    for name, times in taken.items():
        median = statistics.median(times)
        p99 = statistics.quantiles(times, n=100)[-1]
        line = f"{name:14}{median * 1e3:>10.2f}{p99 * 1e3:>10.2f}{median / unit:>17.1f}x"
        if name in asked:
            syncs, more_ms = asked[name]
            line += f"{unit * 1e3 * syncs + more_ms:>20.2f}"
        print(line)


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench acks", description=__doc__).parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-", dir=".") as directory:
        measure(Path(directory).absolute())
    print(describe_machine())


if __name__ == "__main__":
    main()

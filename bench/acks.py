"""How long an acknowledgement takes, beside what the disk takes: `python -m bench.acks`.

One event at a time, in the process that relays. The unit is the median of an append of 300 bytes
and an `fdatasync` on the same disk, measured in the same blocks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import describe_machine
from indelible.integrity.acks import Ack
from indelible.trail import Trail

EVENTS = 200
BLOCKS = 5


def measure(directory: Path) -> None:
    config = directory / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    plain = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with Trail.create(config) as trail:

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
            ack.name.lower(): acknowledged(ack)
            for ack in (Ack.RECEIVED, Ack.SEQUENCED, Ack.CHECKPOINTED)
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
    print(f"{'':14}{'p50, ms':>10}{'p99, ms':>10}{'of an fdatasync':>18}")
    for name, times in taken.items():
        median = statistics.median(times)
        p99 = statistics.quantiles(times, n=100)[-1]
        print(f"{name:14}{median * 1e3:>10.2f}{p99 * 1e3:>10.2f}{median / unit:>17.1f}x")


def main() -> None:
    argparse.ArgumentParser(prog="make bench", description=__doc__).parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-", dir=".") as directory:
        measure(Path(directory).absolute())
    print(describe_machine())


if __name__ == "__main__":
    main()

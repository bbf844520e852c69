"""`make bench-logs`: what logging costs beside other libraries; what a tee takes; what scrubbing
and scanning cost beside the same rules on `re`.

Handlers: processor time of the process that logs, in rounds in which the order of the set-ups
turns (A B C, C B A), medians; ratios are of rates to stdlib JSON's in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from bench import logs_scrub
from bench.logs import teeing
from bench.logs.handlers import RECORDS, microseconds, ways
from bench.machine import describe_machine
from indelible.logs.keys import make_key_file

ROUNDS = 11
PEERS = ("structlog", "loguru", "python-json-logger", "orjson")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-logs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("handlers", "tee", "scrub"))
    options = parser.parse_args()
    print(describe_machine())
    print(", ".join(f"{name} {version(name)}" for name in PEERS))
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as name:
        folder = Path(name)
        if options.only in (None, "handlers"):
            make_key_file(folder / "log.key")
            for sink in ("pipe", "null"):
                handlers(sink, folder / "log.key", options.rounds)
        if options.only in (None, "tee"):
            tee(folder, options.rounds)
    if options.only in (None, "scrub"):
        print()
        logs_scrub.main()


def handlers(sink: str, key_file: Path, rounds: int) -> None:
    """A table: microseconds a record, and the rate as a ratio to the first's."""
    where = "a pipe that another process empties" if sink == "pipe" else "/dev/null"
    print(f"\nto {where}; 5 fields, one of them a string that nothing declares")
    print(f"{rounds} rounds of {RECORDS:,} records; us a record (rate, stdlib JSON's being 1)")
    with ways(sink, key_file) as found:
        kinds = list(found[0].works)
        taken: dict[tuple[str, str], list[float]] = {}
        for round_ in range(-1, rounds):
            print(f"{sink}: round {round_ + 1} of {rounds}", file=sys.stderr)
            for kind in kinds:
                for way in found if round_ % 2 else reversed(found):
                    if kind in way.works:
                        spent = microseconds(way.works[kind])
                        if round_ >= 0:  # the first warms up
                            taken.setdefault((way.name, kind), []).append(spent)
        print(f"{'':30}" + "".join(f"{kind:>17}" for kind in kinds))
        base = found[0].name
        for way in found:
            cells = ""
            for kind in kinds:
                if kind not in way.works:
                    cells += f"{'':>17}"
                    continue
                own = taken[way.name, kind]
                pairs = zip(taken[base, kind], own, strict=True)
                ratio = statistics.median(theirs / ours for theirs, ours in pairs)
                cells += f"{statistics.median(own):>9.1f} ({ratio:>5.2f})"
            print(f"{way.name:30}{cells}")


def tee(folder: Path, rounds: int) -> None:
    """Two lines: what is verified, and what is made durable."""
    print(f"\ntee, one process, {rounds} rounds (all, by the clock and by processor time)")
    works: dict[str, tuple[Callable[[], bytes], int]] = {
        "lines verified": (teeing.application_lines, teeing.LINES),
        "audit events durable": (teeing.audit_lines, teeing.EVENTS),
    }
    for what, (make, count) in works.items():
        lines = make()
        found = [teeing.measure(lines, count, folder) for _ in range(rounds)]
        clock = sorted(each.by_clock for each in found)
        processor = statistics.median(each.by_processor for each in found)
        print(
            f"{what:22}{len(lines) / count:>6.0f} bytes{statistics.median(clock):>10,.0f}/s "
            f"({clock[0]:,.0f} to {clock[-1]:,.0f}){processor:>10,.0f} per processor second"
        )


if __name__ == "__main__":
    main()

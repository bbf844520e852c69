"""What scrubbing a line and scanning a log cost, beside the same rules tried one by one with `re`.

`python -m bench logs_scrub`: processor time, medians of interleaved rounds. Lines are what an
application writes of its requests (JSON and logfmt), one in ten with a lookalike in it (a version,
a hash, "password reset"); of 30 % and of 5 % something is to be found. The first round, in which
RE2 builds its states, counts for nobody.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator

from tests.logs.corpus import HEX, Source, clean_lines, seeded_lines
from tests.logs.hostile import hostile_texts

from bench.machine import describe_machine
from indelible.logs.scan import Scan
from indelible.logs.scrub import DEFAULT_RULES, EngineName, Scrubber

ROUNDS = 5
LINES = 4_000
ENGINES: tuple[EngineName, ...] = ("hyperscan", "re2", "re")


def request_lines(share: float, count: int, seed: int) -> list[str]:
    """Lines of about 290 bytes; in `share` of them stands a seeded value of some kind."""
    s = Source(seed)
    secrets = [line.text for line in seeded_lines(seed, 40)]
    lookalikes = [line.text for line in clean_lines(seed, 400)]
    lines = []
    for _ in range(count):
        dice = s.rng.random()
        said = "request finished"
        if dice < share:
            said = s.rng.choice(secrets)
        elif dice < share + 0.1:
            said = s.rng.choice(lookalikes)
        second = s.rng.randint(10, 59)
        fields = {
            "ts": f"2026-11-{s.rng.randint(1, 30):02d}T13:26:{second}.{s.digits(3)}Z",
            "level": s.pick("info", "info", "debug", "warning"),
            "logger": s.pick("app.views", "app.orders", "app.billing.tasks"),
            "msg": said,
            "method": s.pick("GET", "POST"),
            "route": s.pick("/api/v1/orders/{id}", "/api/v1/customers/{id}/invoices", "/health"),
            "status": s.rng.choice((200, 200, 201, 304, 404)),
            "duration_ms": s.rng.randint(1, 9_000) / 10,
            "trace_id": s.chars(HEX, 32),
            "span_id": s.chars(HEX, 16),
            "worker": s.rng.randint(1, 8),
        }
        if s.rng.random() < 0.5:
            lines.append(json.dumps(fields))
        else:
            lines.append(" ".join(f"{name}={value}" for name, value in fields.items()))
    return lines


def one_by_one(scrubber: Scrubber, lines: list[str]) -> None:
    every = range(len(DEFAULT_RULES))
    for line in lines:
        scrubber.find_by(every, line)


def scrub_each(scrubber: Scrubber, lines: list[str]) -> None:
    for line in lines:
        scrubber.scrub(line)


def scan_blocks(scrubber: Scrubber, lines: list[str]) -> None:
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    blocks = (content[at : at + (256 << 10)] for at in range(0, len(content), 256 << 10))
    Scan(scrubber).look_through("log", blocks)


def seconds(
    work: Callable[[Scrubber, list[str]], None], scrubber: Scrubber, lines: list[str]
) -> float:
    began = time.process_time()
    work(scrubber, lines)
    return time.process_time() - began


def rounds(share: float, scrubbers: dict[EngineName, Scrubber]) -> Iterator[dict[str, float]]:
    """Bytes a second of each; new lines in each round."""
    for turn in range(ROUNDS + 1):
        lines = request_lines(share, LINES, seed=100 + turn)
        size = sum(map(len, lines)) + len(lines)
        few = lines[: LINES // 10]
        # Not those that were just scrubbed: RE2 would know them.
        others = request_lines(share, LINES, seed=500 + turn)
        others_size = sum(map(len, others)) + len(others)
        rates = {"re, one by one": size / 10 / seconds(one_by_one, scrubbers["re"], few)}
        for engine, scrubber in scrubbers.items():
            rates[f"scrub, {engine}"] = size / seconds(scrub_each, scrubber, lines)
            rates[f"scan, {engine}"] = others_size / seconds(scan_blocks, scrubber, others)
        if turn:
            yield rates


def main() -> None:
    print(describe_machine())
    scrubbers = {engine: Scrubber(engine=engine) for engine in ENGINES}
    for share in (0.3, 0.05):
        lines = request_lines(share, LINES, seed=1)
        size = sum(map(len, lines)) / len(lines)
        print(f"\n{share:.0%} of lines with a finding, {size:.0f} bytes a line; {ROUNDS} rounds")
        measured = list(rounds(share, scrubbers))
        base = statistics.median(rates["re, one by one"] for rates in measured)
        for what in measured[0]:
            found = sorted(rates[what] for rates in measured)
            median = statistics.median(found)
            print(
                f"{what:<18}{median / size:>10,.0f} lines/s{median / 1e6:>8.2f} MB/s "
                f"({found[0] / 1e6:.2f} to {found[-1] / 1e6:.2f}){median / base:>8.1f} x"
            )
    print("\nworst hostile text of 100 kB, of a sample: as one field, as one line of a log")
    texts = random.Random(1).sample(list(hostile_texts()), 400)
    for engine, scrubber in scrubbers.items():
        field, line = (
            max(min(seconds(work, scrubber, [text]) for _ in range(3)) for text in texts) * 1e3
            for work in (scrub_each, scan_blocks)
        )
        print(f"{engine:<18}{field:>10.1f} ms{line:>10.1f} ms")


if __name__ == "__main__":
    main()

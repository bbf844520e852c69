"""What whoever takes a process over can still rewrite of what it wrote: `python -m bench window`.

At 1 to 10,000 events a second, each rate in a process of its own: at random moments somebody has
all that the process has, its files and the key that it signs with. With that they rewrite, unseen,
what no statement is about yet (`tests/integrity/test_producers.py` does it): how old the oldest
such event is, and how many there are. At the end all of the process's memory is searched for the
private keys of its earlier statements: each 32 bytes that look random are tried against the public
keys.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.machine import describe_machine
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.tlog import SigningKey
from indelible.transport.journal import Journal
from indelible.transport.producer_signing import ProducerSigner

RATES = (1, 10, 100, 1_000, 10_000)
DRAFT = encode_draft(Event(action="payment.sent", kind="event", details={"amount": 100}))
_KEY_BYTES = 32
_LEAST_DISTINCT = 22
"""Of 32 random bytes fewer are different once in 10^8."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench window")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", type=int, metavar="RATE", help="Be such a process.")
    parser.add_argument("--directory", type=Path)
    chosen = parser.parse_args()
    if chosen.write is not None:
        write(chosen.directory, chosen.write, chosen.seconds)
        return
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-", dir=".") as directory:
        measure(Path(directory).absolute(), chosen.seconds)
    print(describe_machine())


def measure(directory: Path, seconds: float) -> None:
    processes = []
    for rate in RATES:
        command = (sys.executable, "-m", "bench.window", "--write", str(rate))
        options = ("--directory", str(directory / str(rate)), "--seconds", str(seconds))
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen([*command, *options], stdin=pipe, stdout=pipe, text=True))
    columns = ("moments", "p50 s", "max s", "p50 events", "max events", "keys", "in memory")
    print(f"{'events/s':>10}" + "".join(f"{column:>12}" for column in columns))
    for rate, process in zip(RATES, processes, strict=True):
        assert process.stdin is not None and process.stdout is not None
        ages, counts, keys, current = json.loads(process.stdout.readline())
        found = keys_in_memory(process.pid, {bytes.fromhex(key) for key in (*keys, current)})
        if bytes.fromhex(current) not in found:
            sys.exit(
                "expected to find the key that the process has, so the search is worth nothing"
            )
        process.stdin.close()
        process.wait()
        print(
            f"{rate:>10,}{len(ages):>12}{statistics.median(ages):>12.2f}{max(ages):>12.2f}"
            f"{statistics.median(counts):>12,.0f}{max(counts):>12,}{len(keys):>12}"
            f"{len(found) - 1:>12}",
            flush=True,
        )


def write(directory: Path, rate: int, seconds: float) -> None:
    """Write, be looked into at random moments, and wait to be searched."""
    enrolment = SigningKey.generate("example.com/bench/producers")
    public: list[str] = []

    class Signer(ProducerSigner):
        def state(self, last: int, *, is_end: bool = False) -> None:
            public.append(self._key.verifier_key.public_key.hex())
            super().state(last, is_end=is_end)

    journal = Journal(directory, new_signer=lambda id_, epoch: Signer(id_, epoch, enrolment))
    written: dict[int, float] = {}
    ages: list[float] = []
    counts: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        rng = random.Random(rate)
        while not is_over.wait(rng.uniform(0.1, 0.9)):
            with journal._writing:
                assert journal._signer is not None
                # The first that no statement is about is the last statement, which has a signature.
                first, last = journal._signer.stated_through + 1, journal._files.seq
                now = time.monotonic()
            while first <= last and first not in written:
                first += 1
            counts.append(last - first + 1)
            ages.append(now - written[first] if first <= last else 0.0)

    looking = threading.Thread(target=look)
    looking.start()
    began = time.monotonic()
    ends = began + seconds
    done = 0
    while (now := time.monotonic()) < ends:
        while done < (now - began) * rate:
            at = time.monotonic()
            written[int(journal.append(DRAFT).rpartition(".")[2])] = at
            done += 1
        time.sleep(min(0.01, 1 / rate))
    is_over.set()
    looking.join()
    with journal._writing:  # no statement meanwhile
        assert journal._signer is not None
        current = journal._signer._key.verifier_key.public_key.hex()
        print(json.dumps([ages, counts, public, current]), flush=True)
        sys.stdin.read()
    journal.close()


def keys_in_memory(pid: int, public: set[bytes]) -> set[bytes]:
    """Those of the keys whose private halves stand anywhere in the process's writable memory."""
    found = set()
    tried: set[bytes] = set()
    maps = Path(f"/proc/{pid}/maps").read_text()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.MULTILINE):
            memory.seek(int(start, 16))
            try:
                region = memory.read(int(end, 16) - int(start, 16))
            except OSError:
                continue
            for at in range(0, len(region) - _KEY_BYTES, 8):
                seed = region[at : at + _KEY_BYTES]
                if len(set(seed)) < _LEAST_DISTINCT or seed in tried:
                    continue
                tried.add(seed)
                key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
                if key in public:
                    found.add(key)
    return found


if __name__ == "__main__":
    main()

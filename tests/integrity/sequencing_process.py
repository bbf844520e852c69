"""A process that sequences positions up to `LAST`, `BATCH` at a time.

`python -m tests.integrity.sequencing_process TRAIL KEY HOLDER LAST BATCH`.
Takes the lease whenever it is free, goes on behind what the trail holds of one source, as a relay
that reads a journal does, and writes each position that was acknowledged to its output.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from indelible.errors import DeposedError
from indelible.integrity.sequencer import Sequencer
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from tests.integrity.trails import EPOCH, SOURCE, delivery_at

LEASE_S = 0.2


def main(trail: str, key_text: str, holder: str, last_seq: int, batch: int) -> None:
    store = SqliteTrail(Path(trail))
    key = SigningKey.parse(key_text)
    while True:
        lease = store.acquire_lease(holder, now=time.time_ns() // 1_000, lease_s=LEASE_S)
        if lease is None:
            time.sleep(0.02)
            continue
        try:
            sequencer = Sequencer(store, lease, key)
            say(f"leading {lease.epoch}")
            while (first := sequencer.received(SOURCE, EPOCH).last + 1) <= last_seq:
                last = min(first + batch - 1, last_seq)
                # Begins before what is held, as a relay does that died before it took note.
                again = max(1, first - 3)
                sequencer.deliver([delivery_at(seq) for seq in range(again, last + 1)])
                say(f"acknowledged {last}")
            return
        except DeposedError:
            say(f"deposed {lease.epoch}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))

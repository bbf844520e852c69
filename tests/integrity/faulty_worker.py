"""`python -m tests.integrity.faulty_worker CONFIG`: records, relays, says what is acknowledged.

Run under `strace`, which makes its system calls fail. What it says goes out by `writev`, which
isn't made to fail: a line for each event that was acknowledged, and for each checkpoint it saw.
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode

from indelible import Actor, Trail, acting_as
from indelible.errors import IndelibleError
from indelible.integrity.acks import Ack
from indelible.tlog import parse_checkpoint, parse_note

EVENTS = 24


def say(*words: object) -> None:
    os.writev(1, [" ".join(map(str, words)).encode() + b"\n"])


def main() -> None:
    say("began")
    with Trail.open(sys.argv[1]) as trail, acting_as(Actor("staff", "alice")):
        for n in range(EVENTS):
            ack = Ack.RECEIVED if n % 3 else Ack.CHECKPOINTED
            try:
                event_id = trail.record("payment.sent", details={"n": n})
                assert event_id is not None
                trail.await_ack(event_id, ack, timeout_s=2.0)
                note = trail.reader.state().checkpoint
            except IndelibleError as error:
                say("failed", n, type(error).__name__)
                continue
            say("acknowledged", n, ack.name)
            if note is not None:
                signed = parse_checkpoint(parse_note(note).text)
                say("signed", signed.size, b64encode(signed.root).decode())
    say("ended")


if __name__ == "__main__":
    main()

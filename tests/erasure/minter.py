"""`python -m tests.erasure.minter CONFIG HOW NAME…`: events about customers of these names.

HOW is `once`, or `die`: killed as soon as tokens are made, before the event is written.
"""

from __future__ import annotations

import os
import signal
import sys

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.transport.journal import Journal

if __name__ == "__main__":
    config, how, *names = sys.argv[1:]
    with Trail.open(config) as trail, acting_as(Actor("staff", "alice")):
        if how == "die":
            Journal._check_size = lambda *_: None  # type: ignore[method-assign]
            Journal._write_event = lambda *_: os.kill(  # type: ignore[assignment,method-assign]
                os.getpid(), signal.SIGKILL
            )
        print("ready", flush=True)
        sys.stdin.readline()
        for name in names:
            trail.record(
                "customer.called",
                target=Target("customer", name),
                subject=Subject("customer", name),
            )

"""A forked child finds no lock of SQLite's held by a thread of ours that isn't there any more."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

from indelible import Trail
from tests.erasure.site import POLICY, Shop

CHILDREN = 300


def test_children_of_a_process_that_relays(tmp_path: Path) -> None:
    """Begun while the relay and the leader are at work, each works with SQLite at once."""
    policy = POLICY.replace("poll_s = 0.01", "poll_s = 0.001")
    shop = Shop(tmp_path / "shop", policy=policy)
    with Trail.open(shop.config) as trail:
        trail.flush()
        for n in range(CHILDREN):
            child = os.fork()
            if not child:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
                code = 1
                try:
                    sqlite3.connect(":memory:").execute("SELECT 1").fetchone()
                    code = 0
                finally:
                    os._exit(code)
            status = os.waitpid(child, 0)[1]
            assert status == 0, f"child {n}: {status}"

"""What a benchmark ran on, and how fast that is just now: a shared core may do half of its work."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import statistics
import tempfile
import time
from hashlib import sha256


def describe_machine() -> str:
    """One line, to stand above what was measured."""
    return (
        f"one core of {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; load average {os.getloadavg()[0]:.1f} "
        f"on {os.cpu_count()} cores; SHA-256 of 300 bytes: {_sha256_rate():,.0f}/s"
    )


def describe_sync() -> str:
    """One line: what it takes to put an event on disk, below which nothing durable can be."""
    with tempfile.TemporaryFile(prefix="indelible-bench-") as file:
        used = []
        for _ in range(11):
            began = resource.getrusage(resource.RUSAGE_SELF)
            for _ in range(100):
                os.write(file.fileno(), b"x" * 300)
                os.fdatasync(file.fileno())
            ended = resource.getrusage(resource.RUSAGE_SELF)
            used.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    return (
        "an append of 300 bytes with fdatasync takes "
        f"{statistics.median(used) / 100 * 1e6:.0f} us of processor time"
    )


def _sha256_rate() -> float:
    began = time.perf_counter()
    for _ in range(200_000):
        sha256(b"x" * 300).digest()
    return 200_000 / (time.perf_counter() - began)

"""What a benchmark ran on, and how fast that is just now: a shared core may do half of its work."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from hashlib import sha256


def describe_machine() -> str:
    """One line, to stand above what was measured."""
    return (
        f"one core of {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; load average {os.getloadavg()[0]:.1f} "
        f"on {os.cpu_count()} cores; SHA-256 of 300 bytes: {_sha256_rate():,.0f}/s"
    )


def _sha256_rate() -> float:
    began = time.perf_counter()
    for _ in range(200_000):
        sha256(b"x" * 300).digest()
    return 200_000 / (time.perf_counter() - began)

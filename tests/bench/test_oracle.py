"""The four answers across tiers, and by day, against a plain scan of the same events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_answers_across_tiers_are_what_the_events_say() -> None:
    """`bench oracle` at a hundredth of its size."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "oracle", "--events", "100000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("windows: equal") == 4

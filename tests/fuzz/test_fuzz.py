"""Bytes from outside never raise anything but our own errors; `make fuzz` looks for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, IndelibleError
from indelible.integrity.pins import load_pin, store_pin
from indelible.integrity.seen import Seen
from indelible.questions.reading import glance, view_records, view_subjects
from indelible.transport.journal_frames import FrameKind, format_frame, parse_header, scan_frames
from tests.fuzz import targets

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_we_write_ourselves_is_taken(name: str) -> None:
    """A target that refused everything would find nothing; then each with a byte changed."""
    target = targets.TARGETS[name]
    taken = 0
    for seed in target.seeds:
        try:
            target.take(seed)
            taken += 1
        except IndelibleError:
            pass
        for place in range(0, len(seed), 1 + len(seed) // 50):
            for byte in (0x00, 0xFF, seed[place] ^ 1):
                targets.run(target, seed[:place] + bytes([byte]) + seed[place + 1 :])
            targets.run(target, seed[:place])
    assert taken


def test_a_few_thousand_inputs(tmp_path: Path) -> None:
    """Guided by coverage, from a fixed seed, all targets in one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "all", "-runs=6000", "-seed=7"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "Done 6000 runs" in done.stderr


def test_a_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaks, what takes long, what takes much, and what shows a secret."""

    def leaks(raw: bytes) -> None:
        raise ValueError("expected something")

    def takes_long(raw: bytes) -> None:
        monkeypatch.setattr(targets, "MOST_S", 0.0)
        sum(range(10_000))

    def takes_much(raw: bytes) -> None:
        monkeypatch.setattr(targets, "MOST_MB", -1)

    def shows(raw: bytes) -> None:
        def take() -> None:
            raise ConfigurationError(f"expected a key, came {raw!r}")

        targets.hides(raw.decode(), take)

    with pytest.raises(ValueError, match="expected something"):
        targets.run(targets.Target(leaks, ()), b"")
    for take in (takes_long, takes_much, shows):
        with pytest.raises(targets.Bug), monkeypatch.context():
            targets.run(targets.Target(take, ()), b"0123456789abcdef")


# -- what was found ------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b'{"origin":"\xff"}', b"[" * 100_000, b"{}", b"\x00"])
def test_a_pin_that_isn_t_one(tmp_path: Path, raw: bytes) -> None:
    """Text that isn't UTF-8 came through as a UnicodeDecodeError."""
    seen = Seen(origin="o", size=1, root=bytes(32), vkey="k")
    path = store_pin(tmp_path, seen, "2026-11-30T20:00:00.000000Z")
    found = load_pin(tmp_path, "o")
    assert found is not None and found.seen == seen
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="expected a pin at"):
        load_pin(tmp_path, "o")
    path.write_bytes(b'{"origin":"o","size":1,"root":"\xc3\xa9","vkey":"k","time":""}')
    with pytest.raises(ConfigurationError, match="expected a pin at"):
        load_pin(tmp_path, "o")


def test_a_journal_s_header_that_isn_t_text() -> None:
    """Its checksum is right: whoever can write the file could have stopped the relay with it."""
    raw = format_frame(FrameKind.HEADER, 0, b'{"producer":"\xff"}')
    (frame,) = scan_frames(raw, is_end=True, limit=10, max_bytes=1_000).frames
    assert parse_header(frame) is None


@pytest.mark.parametrize("view", [glance, view_records, view_subjects])
def test_an_entry_that_isn_t_text(view: object) -> None:
    """As somebody could write it into the trail's file."""
    with pytest.raises(IndelibleError, match="expected the JSON of an event"):
        view(b'{"kind":"\xff"}')  # type: ignore[operator]

"""System calls that fail, and kills at each: nothing acknowledged is lost, no fork is signed.

`strace` makes the n-th call of a kind fail, as a failing or full disk does, or kills the process as
it is about to make it. What the process said before is held against the trail that it left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path

import pytest

from indelible import Actor, Trail
from indelible.integrity.verifier import Seen

ROOT = Path(__file__).parents[2]
FAULTS = {
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "from here on EIO": "error=EIO",
    "SIGKILL": "signal=SIGKILL",
}
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "unlink")


def run(config: Path, call: str, fault: str, when: int) -> list[list[str]]:
    """What the process said before it ended, however that was."""
    strace = shutil.which("strace")
    assert strace is not None, "expected strace: apt-get install strace"
    until = "+" if fault.startswith("from here on") else ""
    done = subprocess.run(
        [
            strace,
            "-f",
            "-qq",
            # Which would be quicker, and makes errors only.
            *(() if fault == "SIGKILL" else ("--seccomp-bpf",)),
            *("-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={when}{until}"),
            *("-o", str(config.with_name("strace"))),
            *(sys.executable, "-m", "tests.integrity.faulty_worker", str(config)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    config.with_name("stderr").write_text(done.stderr)
    return [line.split() for line in done.stdout.splitlines()]


def held(config: Path, said: list[list[str]]) -> None:
    """Open what was left, as the next start does, and hold it against what was said."""
    with Trail.open(config) as trail:
        # A killed process's lease runs out by itself; until then nothing is signed.
        deadline = time.monotonic() + 60
        while not trail.is_relaying and time.monotonic() < deadline:
            time.sleep(0.05)
        trail.flush()
        found = [
            finding.event.details["n"]
            for finding in trail.events(by=Actor("staff", "alice"))
            if finding.event.details
        ]
        assert len(found) == len(set(found)), "an event stands twice"
        lost = {int(words[1]) for words in said if words[0] == "acknowledged"} - {*found}
        assert not lost, f"acknowledged, and lost: {lost}"
        last = trail.verify()
        for words in said:
            if words[0] == "signed":
                seen = Seen(
                    origin=last.origin,
                    size=int(words[1]),
                    root=b64decode(words[2]),
                    vkey=last.vkey,
                )
                assert trail.verify(seen=seen).size >= seen.size


def check(directory: Path, call: str, fault: str, when: int) -> bool:
    """False where the process ended in order, so that a later call isn't made at all."""
    config = directory / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n[relay]\npoll_s = 0.01\n")
    Trail.create(config).close()
    said = run(config, call, fault, when)
    held(config, said)
    return "INJECTED" in config.with_name("strace").read_text() or ["ended"] not in said


@pytest.mark.parametrize("fault", ["EIO", "from here on EIO", "SIGKILL"])
@pytest.mark.parametrize("call", ["write", "pwrite64", "fdatasync"])
def test_a_call_that_fails(tmp_path: Path, call: str, fault: str) -> None:
    """In the middle of the work: far enough for something to be acknowledged, and to be lost."""
    assert check(tmp_path, call, fault, {"write": 14, "pwrite64": 90, "fdatasync": 20}[call])


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_that_fails(tmp_path: Path, call: str, fault: str) -> None:
    """The first ones one by one, later ones in growing steps, until there are no more."""
    when, made = 1, 0
    while when < 4_000:
        directory = tmp_path / str(when)
        directory.mkdir()
        if not check(directory, call, fault, when):
            break
        made += 1
        shutil.rmtree(directory)
        when += max(1, when // 3)
    assert made, f"{call} was never made"

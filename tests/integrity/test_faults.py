"""System calls that fail, and kills at each: nothing acknowledged is lost, no fork is signed.

Of what sequences, with its key and with a signer; and of the signer and of a witness themselves.

`strace` makes the n-th call of a kind fail, as a failing or full disk does, or kills the process as
it is about to make it. What the process said before is held against the trail that it left.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from indelible import Actor, Trail
from indelible.integrity.http_exchange import UnixConnection
from indelible.integrity.verifier import Seen
from tests.integrity.signers import SignerProcess
from tests.integrity.test_signer import asking as signer_asking
from tests.integrity.test_witness import FORKED, LOG
from tests.integrity.test_witness import asking as witness_asking
from tests.integrity.witnesses import WitnessProcess

ROOT = Path(__file__).parents[2]
FAULTS = {
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "from here on EIO": "error=EIO",
    "SIGKILL": "signal=SIGKILL",
}
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "unlink")


def failing(call: str, fault: str, when: int, log: Path) -> list[str]:
    """What makes the `when`-th such call of the command behind it fail."""
    strace = shutil.which("strace")
    assert strace is not None, "expected strace: apt-get install strace"
    until = "+" if fault.startswith("from here on") else ""
    return [
        strace,
        "-f",
        "-qq",
        # Which would be quicker, and makes errors only.
        *(() if fault == "SIGKILL" else ("--seccomp-bpf",)),
        *("-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={when}{until}"),
        *("-o", str(log)),
    ]


def run(config: Path, call: str, fault: str, when: int) -> list[list[str]]:
    """What the process said before it ended, however that was."""
    done = subprocess.run(
        [
            *failing(call, fault, when, config.with_name("strace")),
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


def check(directory: Path, call: str, fault: str, when: int, trail: str = "") -> bool:
    """False where the process ended in order, so that a later call isn't made at all.

    `trail` is more that the configuration says of it.
    """
    config = directory / "indelible.toml"
    config.write_text(f"[trail]\nurl = 'sqlite:///trail.db'\n{trail}[relay]\npoll_s = 0.01\n")
    Trail.create(config).close()
    said = run(config, call, fault, when)
    held(config, said)
    return "INJECTED" in config.with_name("strace").read_text() or ["ended"] not in said


@pytest.mark.parametrize("fault", ["EIO", "from here on EIO", "SIGKILL"])
@pytest.mark.parametrize("call", ["write", "pwrite64", "fdatasync"])
def test_a_call_that_fails(tmp_path: Path, call: str, fault: str) -> None:
    """In the middle of the work: far enough for something to be acknowledged, and to be lost."""
    assert check(tmp_path, call, fault, {"write": 14, "pwrite64": 90, "fdatasync": 20}[call])


@pytest.mark.parametrize(("call", "fault"), [("sendto", "SIGKILL"), ("recvfrom", "EIO")])
def test_a_call_that_fails_between_it_and_its_signer(tmp_path: Path, call: str, fault: str) -> None:
    """The signature is lost on its way: it is asked for again, and is the same."""
    with SignerProcess(tmp_path / "signer") as signer:
        check(tmp_path, call, fault, 9, f"signer = '{signer.url}'\n")


MOST = 90
"""Entries: three at a time are signed."""


class Served(NamedTuple):
    """A process that signs what continues what it signed: a signer, or a witness."""

    start: Callable[..., None]
    stop: Callable[[], object]
    connect: Callable[[], http.client.HTTPConnection]
    asking: Callable[..., bytes]

    def post(self, body: bytes) -> tuple[int, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", "/add-checkpoint", body)
            with connection.getresponse() as answer:
                return answer.status, answer.read()

    def ask_all(self) -> int:
        """Have growing trees signed, for as long as that goes well; the last size that was.

        Over one connection, and so by one thread of the process: strace counts each thread's calls.
        """
        size = failed = 0
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(self.connect()) as connection,
        ):
            while size < MOST and failed < 5:
                connection.request("POST", "/add-checkpoint", self.asking(size, size + 3))
                with connection.getresponse() as answer:
                    body = answer.read()
                if answer.status == 200:
                    size += 3
                elif answer.status == 409:
                    size = int(body)
                else:
                    failed += 1
        return size


def served(kind: str, directory: Path) -> Served:
    if kind == "signer":
        signer = SignerProcess(directory / "signer")
        return Served(
            signer.start, signer.stop, lambda: UnixConnection(signer.socket, 30), signer_asking
        )
    witness = WitnessProcess(directory / "w", "witness.example/w")
    witness.add(LOG.verifier_key)
    return Served(
        witness.start,
        lambda: witness.kill(signal.SIGTERM),
        lambda: http.client.HTTPConnection("127.0.0.1", witness.port, timeout=30),
        witness_asking,
    )


def check_served(kind: str, directory: Path, call: str, fault: str, when: int) -> bool:
    """What it signed before it failed stands, and nothing else is signed by the next one."""
    process = served(kind, directory)
    log = directory / "strace"
    signed = 0
    try:
        # -D: signals to it go to the process itself, not to strace.
        strace, *options = failing(call, fault, when, log)
        process.start(strace, "-D", *options)
        signed = process.ask_all()
    except AssertionError:
        pass  # it didn't come to listen
    finally:
        process.stop()
    process.start()
    try:
        known = int(process.post(process.asking(600, 600))[1])
        assert signed <= known <= signed + 3, "signed, and forgotten"
        for old, size in ((known, known), (known, known + 9), (known, 600)):
            if known >= 6:
                assert process.post(process.asking(old, size, FORKED))[0] == 422
        assert process.post(process.asking(known, 600))[0] == 200
    finally:
        process.stop()
    return "INJECTED" in log.read_text() or signed < MOST


@pytest.mark.parametrize(
    ("kind", "call", "fault", "when"),
    [
        ("signer", "fdatasync", "EIO", 20),
        ("signer", "fdatasync", "SIGKILL", 25),
        ("signer", "pwrite64", "ENOSPC", 40),
        ("signer", "sendto", "SIGKILL", 7),
        ("witness", "fdatasync", "EIO", 20),
        ("witness", "pwrite64", "SIGKILL", 40),
    ],
)
def test_a_call_of_a_signer_or_witness_that_fails(
    tmp_path: Path, kind: str, call: str, fault: str, when: int
) -> None:
    """In the middle of the work: between state and answer, too."""
    assert check_served(kind, tmp_path, call, fault, when), "no such call was made to fail"


def each_call(directory: Path, check: Callable[[Path, int], bool]) -> int:
    """The first ones one by one, later ones in growing steps, until there are no more."""
    when, made = 1, 0
    while when < 4_000:
        place = directory / str(when)
        place.mkdir()
        if not check(place, when):
            break
        made += 1
        shutil.rmtree(place)
        when += max(1, when // 3)
    return made


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_that_fails(tmp_path: Path, call: str, fault: str) -> None:
    """Of the sequencer and all around it."""
    made = each_call(tmp_path, lambda place, when: check(place, call, fault, when))
    assert made, f"{call} was never made"


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [*CALLS, "sendto", "recvfrom"])
@pytest.mark.parametrize("kind", ["signer", "witness"])
def test_every_call_of_a_signer_or_witness_that_fails(
    tmp_path: Path, kind: str, call: str, fault: str
) -> None:
    """Likewise."""
    each_call(tmp_path, lambda place, when: check_served(kind, place, call, fault, when))

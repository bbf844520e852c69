"""The runbook, from an empty folder to the end of each case, command by command as it stands."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import Trail
from indelible.integrity.witness import Witness
from tests.integrity.test_signer import record, signed_size
from tests.integrity.witnessed import wait_until_witnessed
from tests.integrity.witnesses import MAIN, WitnessProcess, until
from tests.servers import free_port

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"


def steps_of(case: str) -> list[tuple[str, str]]:
    """Each command of a block, and with what it must end: "", "3", or "0, soon"."""
    (block,) = re.findall(rf"```console {case}\n(.*?)```", PAGE.read_text(), re.S)
    steps = []
    for line in block.splitlines():
        command, _, code = line.removeprefix("$ ").partition(" # ")
        steps.append((command.strip(), code.strip()))
    return steps


class Place:
    """A trail with its signer and two witnesses, as the page says."""

    def __init__(self, directory: Path, witnesses: list[WitnessProcess]) -> None:
        self.directory = directory
        self.witnesses = witnesses
        self.started: list[subprocess.Popen[bytes]] = []
        self.variables = {"PORT3": str(free_port())}
        programs = directory / "bin"
        programs.mkdir()
        script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(MAIN)} "$@"\n'
        (programs / "indelible").write_text(script)
        (programs / "indelible").chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(directory / "state"),
            "NO_COLOR": "1",
        }
        self.config = directory / "indelible.toml"

    def set_up(self, *signer: str) -> None:
        said = self.run(f"indelible signer init example.com/trail {' '.join(signer)}")
        self.variables["OLD"] = said.strip().rpartition(" ")[2]
        options = " ".join(each for each in signer if each != "--passphrase")
        self.start(
            f'indelible signer serve --directory signer --socket "$PWD/s1" {options} &', "SIGNER"
        )
        self.config.write_text(
            '[trail]\nurl = "sqlite:///trail.db"\norigin = "example.com/trail"\n'
            f'signer = "unix://{self.directory}/s1"\njournals = "trail.db.journals"\n'
            '[witness]\npolicy = "trust.policy"\nrefresh_s = 1.0\n'
        )
        lines = [f"witness w{n} {each.key} {each.url}" for n, each in enumerate(self.witnesses, 1)]
        (self.directory / "trust.policy").write_text(
            "\n".join([*lines, "group both 2 w1 w2", "quorum both"]) + "\n"
        )
        self.run("indelible init")
        for n, each in enumerate(self.witnesses, 1):
            self.run(f'indelible witness add "$OLD" --directory w{n}')
            each.start()
            assert each._process is not None
            self.variables[f"W{n}"] = str(each._process.pid)
        self.fill()
        self.run(
            'indelible verify --key "$OLD" --trail trail.db --policy trust.policy --state pins'
        )

    def fill(self) -> None:
        with Trail.open(self.config) as trail:
            record(trail)
            wait_until_witnessed(trail)

    def run(self, command: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env={**self.environment, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        assert done.returncode == exit_code, f"{command}: {done.returncode}: {said}"
        assert "Traceback" not in said
        return said

    def ends_well(self, command: str) -> bool:
        try:
            self.run(command)
        except AssertionError as error:
            if "Traceback" in str(error):
                raise
            return False
        return True

    def start(self, command: str, name: str | None = None) -> None:
        """A command with & behind it; its pid, if it has a `name`."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command.removesuffix('&')}"],
            cwd=self.directory,
            env={**self.environment, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith((b"signing ", b"serving ", b"relaying"))
        self.started.append(process)
        if name is not None:
            self.variables[name] = str(process.pid)

    def play(self, case: str) -> None:
        """Every command of the case, in order."""
        for command, ending in steps_of(case):
            if command.endswith("&"):
                self.start(command, "SIGNER" if "--directory signer " in command else None)
            elif command.startswith("kill"):
                self.run(command)
                self.wait_for_the_end()
            elif ending == "0, soon":
                until(lambda command=command: self.ends_well(command), 100)
            else:
                said = self.run(command, int(ending or 0))
                if found := re.search(r"new public key .*: (\S+)", said):
                    self.variables["NEW"] = found[1]
                if "witness init" in command:
                    with contextlib.closing(Witness.open(self.directory / "w3")) as witness:
                        (self.directory / "w3.vkey").write_text(str(witness.verifier_key))

    def wait_for_the_end(self) -> None:
        """Of what was killed: a process that is ours stays a zombie until it is asked for."""
        time.sleep(0.5)
        for process in self.started:
            process.poll()
        for each in self.witnesses:
            if each._process is not None:
                each._process.poll()

    def stop(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        for each in self.witnesses:
            each.kill(signal.SIGKILL)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    witnesses = [WitnessProcess(tmp_path / f"w{n}", f"witness.example/w{n}") for n in (1, 2)]
    made = Place(tmp_path, witnesses)
    try:
        yield made
    finally:
        made.stop()


def copy_of(path: Path) -> Path:
    copy = path.with_name("backup.db")
    with contextlib.closing(sqlite3.connect(path)) as source:
        source.execute("VACUUM INTO ?", (str(copy),))
    return copy


def test_a_trail_that_was_put_back(place: Place) -> None:
    """Nothing is signed; the new trail has what waited, and is witnessed."""
    place.set_up()
    path = place.directory / "trail.db"
    backup = copy_of(path)
    place.fill()
    place.run('indelible verify --key "$OLD" --trail trail.db --policy trust.policy --state pins')
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    backup.rename(path)
    with Trail.open(place.config) as trail:
        until(lambda: trail.refusal is not None)
        trail.record("invoice.waits")
    place.play("restored")
    ended_well(place, "invoice.waits")


@pytest.mark.long
def test_a_stolen_key(place: Place) -> None:
    """Before: witnesses refuse the thief's fork. Behind: they know the name no more, and the last
    checkpoint is that of entry 0."""
    place.set_up()
    shutil.copytree(place.directory / "signer", place.directory / "thief")
    place.play("stolen")
    ended_well(place)
    said = place.run("indelible events --system --action trail.continued --json")
    assert "example.com/trail+" in said


@pytest.mark.long
def test_a_lost_signer(place: Place) -> None:
    """Entries wait unsigned; the old trail stays verifiable as far as it was signed."""
    place.set_up()
    with contextlib.closing(sqlite3.connect(place.directory / "trail.db")) as connection:
        (signed,) = connection.execute("SELECT size FROM trail").fetchone()
    place.play("lost-signer")
    ended_well(place)
    said = place.run('indelible verify --key "$OLD" --trail trail.db --max-age 0', exit_code=3)
    assert f"index {signed}:" in said


@pytest.mark.long
def test_a_lost_passphrase(place: Place) -> None:
    """What was signed verifies; nothing new is."""
    for name, text in (("right", "correct horse"), ("wrong", "another horse")):
        (place.directory / name).write_text(text)
        (place.directory / name).chmod(0o600)
    place.set_up("--passphrase", "--passphrase-file", "right")
    place.play("passphrase")


@pytest.mark.long
def test_a_lost_witness(place: Place) -> None:
    """With another in its place there is a quorum again."""
    place.set_up()
    place.play("witness")
    place.fill()


def test_a_rotation(place: Place) -> None:
    """The old public key verifies the trail to the end, and witnesses cosign it."""
    place.set_up()
    place.play("rotate")
    place.fill()
    said = place.run(
        'indelible verify --key "$OLD" --trail trail.db --policy trust.policy --state pins'
    )
    assert "assurance: witnessed by 2 of 2" in said


def ended_well(place: Place, *actions: str) -> None:
    """The trail of the configuration goes on, is signed, witnessed, and has what waited."""
    place.fill()
    with Trail.open(place.config) as trail:
        found = [found.event.action for found in trail.events(action="invoice.*")]
        assert {"invoice.refund", *actions} <= {*found}
        until(lambda: signed_size(trail) == trail.reader.size)
    assert "witnessed by 2 of 2" in place.run("indelible verify --state pins")

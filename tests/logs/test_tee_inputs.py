"""`indelible tee --file` and `--journal`: streams that something else started, over kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible.logs.frames import StreamId, StreamKeys
from indelible.logs.keys import read_key_file
from tests.logs.test_tee import INDELIBLE, Site

CRASHING = """
import os, signal, sys
from indelible.cli import tee_position
from indelible.cli.app import main

saves = 0
replace_file = tee_position.replace_file

def crash_before_position_saved(path, content):
    global saves
    saves += 1
    if saves == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace_file(path, content)

tee_position.replace_file = crash_before_position_saved
main()
"""


class LogSite(Site):
    """A site with a log file that we write, as an application with the key file would."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log = directory / "app.log"
        subprocess.run([INDELIBLE, "tee", "--make-key", "log.key"], cwd=directory, check=True)
        keys = read_key_file(directory / "log.key")
        self.keys = StreamKeys(keys.master, StreamId("6b0d7d90deadbeef"))
        self.seq = 0
        self.audits = 0
        self.lines = 0

    def line(self, line_class: str, body: str) -> bytes:
        self.seq += 1
        return self.keys.seal(line_class, f'{{"v":1,"c":"{line_class}",{body}', self.seq)  # type: ignore[arg-type]

    def some(self, count: int) -> bytes:
        """So many audit lines, and a line of the application behind each."""
        written = b""
        for _ in range(count):
            details = f'"details":{{"n":{self.audits}}}'
            written += self.line("A", f'"e":{{"action":"user.seen","kind":"event",{details}}}')
            self.audits += 1
            written += self.line("L", f'"m":"line {self.lines}"')
            self.lines += 1
        return written

    def long_one(self) -> bytes:
        """An audit event of 30 pieces."""
        details = f'{{"n":{self.audits},"long":"{"x" * 45_000}"}}'
        event = f'{{"action":"user.seen","kind":"event","details":{details}}}'
        record = f'{{"v":1,"c":"A","e":{event}}}'
        self.audits += 1
        first, size = self.seq + 1, len(record) // 30 + 1
        pieces = [record[at : at + size] for at in range(0, len(record), size)]
        return b"".join(
            self.line("A", f'"part":[{n},{len(pieces)},{first}],"json":{json.dumps(piece)}')
            for n, piece in enumerate(pieces, 1)
        )

    def write(self, written: bytes) -> None:
        with self.log.open("ab", buffering=0) as file:
            file.write(written)

    def tee(self, *options: str) -> list[str]:
        return [INDELIBLE, "tee", "--key-file", "log.key", "--to-file", "out.log", *options]

    def read_once(self, *options: str) -> None:
        command = self.tee("--file", "app.log", "--once", *options)
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def follow(self, *options: str) -> subprocess.Popen[bytes]:
        command = self.tee("--file", "app.log", *options)
        return subprocess.Popen(command, cwd=self.directory, stderr=subprocess.PIPE)

    def seen(self) -> list[Any]:
        return [(event.details or {})["n"] for event in self.events("user.seen")]

    def went_on(self) -> Counter[str]:
        path = self.directory / "out.log"
        shown = [json.loads(line) for line in path.read_bytes().splitlines() if line]
        return Counter(line["m"] for line in shown if line["c"] == "L")

    def wait_for_lines(self, count: int) -> None:
        """Until so many different lines went on."""
        deadline = time.monotonic() + 60
        path = self.directory / "out.log"
        while time.monotonic() < deadline:
            if path.exists() and path.read_bytes().count(b'"m":"line ') >= count:
                return
            time.sleep(0.02)
        raise AssertionError("the lines didn't come")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LogSite]:
    yield LogSite(tmp_path)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


def test_a_file_is_read_on_where_it_was_left(site: LogSite) -> None:
    """Each `--once` takes what is new, up to the last whole line: nothing twice, nothing left."""
    site.write(site.some(3))
    site.read_once()
    assert site.seen() == [0, 1, 2]
    more = site.some(2)
    site.write(more[:-40])
    site.read_once()
    site.write(more[-40:] + site.some(1))
    site.read_once()
    site.read_once()

    assert site.seen() == list(range(6))
    assert site.went_on() == Counter({f"line {n}": 1 for n in range(6)})
    assert site.noticed() == {}


def test_an_application_writes_to_a_file_that_is_followed(site: LogSite) -> None:
    """A real process with its stderr in a file that isn't there yet: who did what is in the trail,
    the tee ends at SIGTERM, and the stream isn't said to have broken off."""
    tee = site.follow()
    time.sleep(0.5)
    code = """
import logging, time
from indelible import logs
logs.configure(key_file='log.key')
logs.audit('user.logged_in', details={'long': 'x' * 20000})
logging.getLogger('shop').info('line here')
time.sleep(3)
"""
    with site.log.open("ab") as log:
        application = subprocess.Popen(
            [sys.executable, "-c", code], cwd=site.directory, stderr=log.fileno()
        )
    site.wait_for_lines(1)
    end(tee)

    (event,) = site.events("user.*")
    assert (event.details or {})["long"] == "x" * 20_000
    assert site.noticed() == {}
    application.communicate(timeout=60)
    site.read_once()
    assert len(site.events("user.*")) == 1
    assert site.noticed() == {}


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_tee_killed_behind_its_events_keeps_them_once(site: LogSite, number: int) -> None:
    """SIGKILL between events that are durable and the position that says so: the lines come again,
    the events aren't kept again, and nobody is suspected of a replay."""
    for _ in range(3):
        site.write(site.some(150) + site.long_one())  # its pieces are cut apart by a read
    command = [sys.executable, "-c", CRASHING.format(number=number), *site.tee()[1:]]
    killed = subprocess.run(
        [*command, "--file", "app.log"],
        cwd=site.directory,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(site.seen()) > 0
    again = subprocess.run(
        [*[sys.executable, "-c", CRASHING.format(number=2), *site.tee()[1:]], "--file", "app.log"],
        cwd=site.directory,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert again.returncode == -signal.SIGKILL
    site.read_once()

    assert site.seen() == list(range(453))
    assert set(site.went_on()) == {f"line {n}" for n in range(450)}
    assert site.noticed() == {}


def test_kills_while_the_log_is_written_and_rotated(site: LogSite) -> None:
    """A log that is written and renamed all the while, a tee that is killed again and again: every
    event once, every line at least once, no replays, no gaps."""
    stop = threading.Event()

    def write() -> None:
        written = 0
        while not stop.is_set():
            site.write(site.some(5))
            written += 1
            if written % 40 == 0:
                for number in range(30, 0, -1):
                    older = site.directory / f"app.log.{number}"
                    if older.exists():
                        older.rename(site.directory / f"app.log.{number + 1}")
                site.log.rename(site.directory / "app.log.1")
            time.sleep(0.01)

    site.write(site.some(1))
    site.read_once()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(6):
            tee = site.follow("--linger", "0.2")
            out = site.directory / "out.log"
            begin = out.stat().st_size if out.exists() else 0
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                if out.exists() and out.stat().st_size > begin + 3_000 * round_:
                    break
                time.sleep(0.003)
            tee.kill()
            tee.communicate()
    finally:
        stop.set()
        writer.join()
    site.read_once()

    assert site.seen() == list(range(site.audits))
    assert set(site.went_on()) == {f"line {n}" for n in range(site.lines)}
    assert site.noticed() == {}


def test_a_file_is_read_on_over_rotation(site: LogSite) -> None:
    """While it runs and while it doesn't, several renames at once: the old ones first, in order,
    each to its end."""
    site.write(site.some(2))
    tee = site.follow("--linger", "0.5")
    site.wait_for_lines(2)
    late = site.log.open("ab", buffering=0)
    site.log.rename(site.directory / "app.log.1")
    late.write(site.some(1))  # its writer has it open still
    late.close()
    site.write(site.some(1))
    site.wait_for_lines(4)
    end(tee)
    site.write(site.some(1))
    for number in (1, 2):
        (site.directory / f"app.log.{number}").rename(site.directory / f"app.log.{number + 10}")
        site.log.rename(site.directory / f"app.log.{number}")
        site.write(site.some(1))
        (site.directory / f"app.log.{number}").rename(site.directory / f"app.log.{number + 1}")
    site.read_once()

    assert site.seen() == list(range(site.audits))
    assert site.noticed() == {}


@pytest.mark.parametrize("regrown", [False, True])
def test_a_file_that_was_cut_is_begun_again(site: LogSite, regrown: bool) -> None:
    """copytruncate, also where the file has grown beyond the old place again: it is read from its
    beginning, and what was cut off unread is missing by its numbers."""
    site.write(site.some(20))
    site.read_once()
    site.write(site.some(1))  # cut off before anybody read it
    os.truncate(site.log, 0)
    site.write(site.some(40 if regrown else 2))
    site.read_once()

    assert site.seen() == [n for n in range(site.audits) if n != 20]
    noticed = site.noticed()
    assert set(noticed) == {"log.missing"}
    assert noticed["log.missing"]["count"] == "2"


def test_a_replay_in_a_file_is_noticed(site: LogSite) -> None:
    """Lines that somebody appends again are replays, also to a later tee, and no events."""
    lines = site.some(3)
    site.write(lines)
    site.read_once()
    site.write(lines)
    site.read_once()

    assert site.seen() == [0, 1, 2]
    assert site.noticed()["log.replayed"]["count"] == "6"


def test_a_stream_that_fell_silent_is_noticed(site: LogSite) -> None:
    """An application that was killed says no end, and a file has none: after a minute without a
    sign of life the stream is said to have broken off, once."""
    site.write(site.some(1))
    site.read_once()
    assert site.noticed() == {}
    (kept,) = site.directory.glob("*.journals/log-*.seen")
    for _ in range(3):  # a minute passes: for the first time in which something came
        position = json.loads(kept.read_bytes())
        position["asked_at"] -= 61
        kept.write_text(json.dumps(position))
        site.read_once()

    assert site.noticed()["log.unended"]["count"] == "1"
    assert len(site.events("log.unended", system=True)) == 1


def test_two_tees_of_one_key_are_refused(site: LogSite) -> None:
    """Who reads with a key knows what was read with it: a second one at the same time doesn't."""
    site.write(site.some(1))
    tee = site.follow()
    site.wait_for_lines(1)
    second = subprocess.run(
        site.tee("--file", "app.log", "--once"),
        cwd=site.directory,
        capture_output=True,
        check=False,
        timeout=60,
    )
    end(tee)

    assert second.returncode == 2
    assert b"expected to be the only tee that reads with this key" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--file", "x.log"], "expected --key-file with --stdin, --file and --journal"),
        (["--file", "x.log", "--key-file", "log.key", "--", "true"], "expected either a command"),
        (["--file", "none.log", "--once", "--key-file", "log.key"], "expected a log in none.log"),
        (["--file", ".", "--key-file", "log.key"], "got no file"),
        (["--stdin", "--once", "--key-file", "log.key"], "expected --once with"),
        (
            ["--file", "a.log", "--to-file", "a.log", "--key-file", "log.key"],
            "another file than --file",
        ),
    ],
    ids=["key", "both", "none", "directory", "once", "itself"],
)
def test_mistakes_are_told(site: LogSite, arguments: list[str], told: str) -> None:
    """What can't be read is an error that says what was expected, with exit code 2."""
    result = subprocess.run(
        [INDELIBLE, "tee", *arguments], cwd=site.directory, capture_output=True, check=False
    )

    assert result.returncode == 2
    assert told.encode() in result.stderr


REMOTE = "/lib/systemd/systemd-journal-remote"


class JournaldSite(LogSite):
    """A site whose application's lines are in a real journal of systemd."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.journal = directory / "journal"
        self.journal.mkdir()
        self.at = 1_790_000_000_000_000

    def put(self, lines: bytes, unit: str = "shop.service", file: str = "a") -> None:
        """An entry for each line, as journald writes what comes from a unit's stderr."""
        exported = b""
        for line in lines.splitlines():
            self.at += 1
            exported += f"__REALTIME_TIMESTAMP={self.at}\n_SYSTEMD_UNIT={unit}\n".encode()
            exported += b"_TRANSPORT=stdout\nMESSAGE\n" + len(line).to_bytes(8, "little")
            exported += line + b"\n\n"
        subprocess.run(
            [REMOTE, "-o", str(self.journal / f"{file}.journal"), "-"],
            input=exported,
            capture_output=True,
            check=True,
            timeout=60,
        )

    def journal_tee(self, *options: str) -> list[str]:
        return self.tee("--journal", "shop", "--journal-directory", "journal", *options)

    def read_journal_once(self) -> None:
        command = self.journal_tee("--once")
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def journald(tmp_path: Path) -> JournaldSite:
    return JournaldSite(tmp_path)


def test_a_units_lines_are_read_from_the_journal(journald: JournaldSite) -> None:
    """Of one unit, behind the last entry that was read: whatever bytes its lines are."""
    journald.put(journald.some(30) + b"\xff\x00 no text\n" + b"x" * 40_000 + b"\n")
    journald.put(b"of another unit\n", unit="other.service")
    journald.read_journal_once()
    assert journald.seen() == list(range(30))
    journald.put(journald.some(3))
    journald.put(journald.some(3), file="b")
    journald.read_journal_once()
    journald.read_journal_once()

    assert journald.seen() == list(range(36))
    assert journald.went_on() == Counter({f"line {n}": 1 for n in range(36)})
    out = (journald.directory / "out.log").read_bytes()
    assert b"another unit" not in out
    assert out.count(b'"c":"U"') == 2
    assert journald.noticed() == {}


def test_kills_while_the_journal_is_read(journald: JournaldSite) -> None:
    """A tee that follows the journal and is killed, also behind its events: each event once."""
    journald.put(journald.some(500))
    command = [sys.executable, "-c", CRASHING.format(number=3), *journald.journal_tee()[1:]]
    killed = subprocess.run(
        command, cwd=journald.directory, capture_output=True, check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    tee = subprocess.Popen(journald.journal_tee(), cwd=journald.directory, stderr=subprocess.PIPE)
    journald.wait_for_lines(500)
    journald.put(journald.some(5))
    journald.wait_for_lines(505)
    end(tee)

    assert journald.seen() == list(range(505))
    assert journald.noticed() == {}


def test_a_journal_that_cannot_be_read_is_told(journald: JournaldSite) -> None:
    """What journalctl says is passed on, with exit code 4."""
    command = journald.tee("--journal", "NOT A FIELD=1", "--once")
    done = subprocess.run(
        command, cwd=journald.directory, capture_output=True, check=False, timeout=60
    )

    assert done.returncode == 4
    assert b"expected entries from journalctl, got: " in done.stderr

"""`indelible tee` around real programs: what is in the trail, what goes on, and what isn't felt."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible.errors import DeliveryError
from indelible.events.model import Event
from indelible.logs.following import MAX_REMEMBERED
from indelible.logs.frames import LineReader, StreamId, StreamKeys
from indelible.logs.insisting import Insisting
from indelible.logs.keys import LogKeys, read_key_file
from indelible.logs.teeing import Tee
from indelible.trail import Trail

INDELIBLE = str(Path(sys.executable).with_name("indelible"))
PROGRAM = """
import logging, os, signal, subprocess, sys, threading, time
from indelible import Actor, Target, acting_as, logs
logs.configure(service="test")
log = logging.getLogger("shop")
"""


class Site:
    """A directory with a trail, in which programs are run under the tee."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\n')
        Trail.create(str(directory / "indelible.toml")).close()

    def command(self, code: str, *options: str) -> list[str]:
        (self.directory / "program.py").write_text(PROGRAM + textwrap.dedent(code))
        return [INDELIBLE, "tee", *options, "--", sys.executable, "program.py"]

    def run(self, code: str, *options: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(code, *options),
            cwd=self.directory,
            capture_output=True,
            timeout=120,
            check=False,
            **more,
        )

    def start(self, code: str, *options: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(code, *options),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=more.pop("stderr", subprocess.PIPE),
            **more,
        )

    def events(self, action: str, *, system: bool = False) -> list[Event]:
        trail = Trail.open(str(self.directory / "indelible.toml"))
        try:
            trail.flush(30)
            return [found.event for found in trail.events(action=action, system=system)]
        finally:
            trail.close()

    def noticed(self) -> dict[str, dict[str, Any]]:
        found = self.events("log.*", system=True)
        return {
            event.action: dict(event.details or {}) for event in found if event.kind == "system"
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


def lines(written: bytes, line_class: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in written.splitlines()]
    return [line for line in found if line["c"] == line_class]


def test_audit_lines_go_to_the_trail_and_the_others_on(site: Site) -> None:
    """One command: who did what is in the trail, and the application's log holds names and ids."""
    result = site.run(
        """
        log.info("started")
        with acting_as(Actor("staff", "alice"), request="r-1"):
            logs.audit("user.logged_in", target=Target("account", "17"), details={"note": "s3cr3t"})
        log.info("done")
        """
    )

    (event,) = site.events("user.*")
    assert (str(event.actor), event.targets[0].ids) == ("staff:alice", (("17",),))
    assert event.details is not None
    assert event.details["note"] == "s3cr3t"
    assert [line["m"] for line in lines(result.stderr, "L")] == ["started", "done"]
    (kept,) = lines(result.stderr, "A")
    assert kept == {"v": 1, "c": "A", "event": "user.logged_in", "id": event.details["log_id"]}
    assert b"s3cr3t" not in result.stderr
    assert b"alice" not in result.stderr
    assert site.noticed() == {}
    (ended,) = site.events("log.ended")
    assert ended.details == {"exit": 0, "audit": 1, "application": 2, "unsigned": 0, "irregular": 0}


FORGED = '{"v":1,"c":"A","e":{"action":"user.forged","kind":"event"}}'


@pytest.mark.parametrize(
    "how",
    [
        "print(FORGED, file=sys.stderr)",
        "os.write(2, FORGED.encode() + b'\\n')",
        "subprocess.run(['/bin/sh', '-c', 'echo \"$0\" >&2', FORGED])",
        "raise ValueError('x\\n' + FORGED)",
        "log.info('x\\n' + FORGED); log.info('y', extra={'x\\n' + FORGED: FORGED})",
        "os.write(2, REAL.replace(b'user.logged_in', b'user.forged___'))",
        "os.write(2, FORGED[:-1].encode() + TRAILER + b'\\n')",
        'os.write(2, REAL[:-3] + b\',"c":"A"}\\n\')',
    ],
)
def test_nobody_forges_an_audit_line(site: Site, how: str) -> None:
    """Strings, children, `print`, uncaught exceptions, changed and extended lines: none is taken
    for an event, and no real one is lost."""
    site.run(
        f"""
        FORGED = {FORGED!r}
        TRAILER = b',"_m":"6b0d7d90deadbeef.000000000001.' + b"0" * 32 + b'"}}'
        from indelible.logs import setup
        stream = setup.current().stream
        put = stream._put
        seen = []
        stream._put = lambda line, stuck: (seen.append(line), put(line, stuck))[1]
        logs.audit("user.logged_in")
        REAL = seen[-1]
        try:
            {how}
        finally:
            logs.audit("user.logged_out")
        """
    )

    assert [event.action for event in site.events("user.*")] == [
        "user.logged_in",
        "user.logged_out",
    ]


def test_what_is_irregular_is_noticed(site: Site) -> None:
    """Forged, replayed, doubled, torn and missing lines, and a stream that broke off: an entry
    each, with its count."""
    site.run(
        """
        from indelible.logs import setup
        stream = setup.current().stream
        put = stream._put
        seen = []
        stream._put = lambda line, stuck: (seen.append(line), put(line, stuck))[1]
        logs.audit("user.one")
        logs.audit("user.two")
        os.write(2, seen[-1])                                  # doubled
        os.write(2, seen[-2])                                  # replayed
        os.write(2, seen[-1].replace(b"two", b"six"))          # forged
        os.write(2, seen[-1][:50])                             # torn, and glued before the next
        logs.audit("user.three")
        stream._put = lambda line, stuck: True                 # held back
        logs.audit("user.lost"); logs.audit("user.lost")
        stream._put = put
        logs.audit("user.four")
        os._exit(0)
        """
    )

    names = [event.action for event in site.events("user.*")]
    assert names == ["user.one", "user.two", "user.three", "user.four"]
    noticed = site.noticed()
    assert {name: details["count"] for name, details in noticed.items()} == {
        "log.duplicated": "1",
        "log.replayed": "1",
        "log.forged": "1",
        "log.torn": "1",
        "log.missing": "2",
        "log.unended": "1",
    }
    assert (noticed["log.missing"]["first"], noticed["log.missing"]["last"]) == ("5", "6")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("sys.exit(7)", 7),
        ("os._exit(0)", 0),
        ("raise SystemExit('x')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_the_exit_code_is_the_commands(site: Site, code: str, status: int) -> None:
    """However the command ends, so does the tee."""
    assert site.run(code).returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_to_the_command(site: Site, number: signal.Signals) -> None:
    """A signal that the tee gets is the command's, which ends as it likes; the tee follows."""
    process = site.start(
        f"""
        def caught(number, frame):
            logs.audit("user.caught")
            os._exit(5)
        signal.signal({int(number)}, caught)
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode == 5
    assert len(site.events("user.caught")) == 1


def test_a_terminal_is_the_commands(site: Site) -> None:
    """Standard input and output stay the terminal's, stderr is a pipe, and Ctrl-C comes once."""
    code = """
    caught = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(1))
    print("tty", os.isatty(0), os.isatty(1), os.isatty(2), flush=True)
    for _ in range(40):
        time.sleep(0.05)
        if caught: break
    time.sleep(0.5)
    print("caught", len(caught), flush=True)
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(site.directory)
        command = site.command(code)
        os.execv(command[0], command)
    shown = b""
    while not re.search(rb"caught \d", shown):
        shown += os.read(terminal, 1024)
        if shown.endswith(b"False\r\n"):
            os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)

    assert b"tty True True False" in shown
    assert b"caught 1" in shown
    assert status == 0


def test_a_stuck_output_sheds_lines_and_keeps_events(site: Site) -> None:
    """Nobody reads the application's branch: its lines are shed and counted, events are kept."""
    stuck = site.start(
        """
        for n in range(6):
            for _ in range(30):
                log.info("large", extra={"data": [logs.Public("x" * 8000)] * 8})
            logs.audit("user.logged_in", details={"n": n})
        """,
        "--to-command",
        "sleep 20",
    )
    stuck.communicate(timeout=100)

    assert stuck.returncode == 0
    assert [e.details["n"] for e in site.events("user.*") if e.details][-6:] == list(range(6))
    assert int(site.noticed()["log.shed"]["count"]) > 0


def test_files_are_rotated(site: Site) -> None:
    """The application's lines in files of a bounded size, of which so many are kept."""
    site.run(
        "for n in range(2000): log.info('one of many', extra={'index': n})",
        "--to-file", "app.log", "--max-bytes", "50000", "--keep", "2",
    )  # fmt: skip

    files = sorted(path.name for path in site.directory.glob("app.log*"))
    assert files == ["app.log", "app.log.1", "app.log.2"]
    last = [json.loads(line) for line in (site.directory / "app.log").read_bytes().splitlines()]
    assert [line["f"]["index"] for line in last if line["c"] == "L"][-1] == 1999
    assert (site.directory / "app.log.1").stat().st_size <= 50_000


def test_garbage_is_encoded_and_counted(site: Site) -> None:
    """Binary, NUL, terminal escapes and a line of 20 MB: lines of ASCII, nothing breaks."""
    result = site.run(
        r"""
        os.write(2, bytes(range(256)) * 4 + b"\n")
        left = memoryview(b"x" * 20_000_000 + b"\n")
        while left:
            left = left[os.write(2, left):]
        logs.audit("user.logged_in")
        """
    )

    assert result.returncode == 0
    assert all(len(json.loads(line)) for line in result.stderr.splitlines())
    assert result.stderr.isascii()
    assert len(site.events("user.*")) == 1
    (ended,) = site.events("log.ended")
    assert ended.details is not None
    assert isinstance(ended.details["unsigned"], int)
    assert ended.details["unsigned"] > 2


def test_what_nobody_signed_is_scrubbed(site: Site) -> None:
    """`print` and children write what they like: what looks like a secret is taken out of it."""
    result = site.run(
        """
        print("Authorization: Bearer " + "abcdef0123456789" * 2, file=sys.stderr)
        subprocess.run("echo password=hunter2-x >&2", shell=True)
        """
    )

    shown = [line["text"] for line in lines(result.stderr, "U")]
    assert len(shown) == 2
    assert all("<redacted:" in text for text in shown)
    assert b"hunter2" not in result.stderr
    assert b"abcdef0123456789" not in result.stderr


def test_a_killed_tee_ends_the_stream_but_not_what_is_kept(site: Site) -> None:
    """SIGKILL of the tee: the events before are in the trail, the command finds nobody reading."""
    process = site.start(
        """
        from indelible.errors import DeliveryError
        logs.audit("user.before")
        time.sleep(0.5)
        print("now", flush=True)
        time.sleep(1.0)
        log.info("lost")
        try:
            logs.audit("user.after")
        except DeliveryError:
            open("told", "w").close()
        """
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while not (site.directory / "told").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert (site.directory / "told").exists()
    assert [event.action for event in site.events("user.*")] == ["user.before"]


def test_an_existing_stream_is_read_with_its_key_file(site: Site) -> None:
    """A stream that no tee started: its key is in a file that only its owner may read."""
    key = site.directory / "log.key"
    made = subprocess.run(
        [INDELIBLE, "tee", "--make-key", str(key)], check=True, capture_output=True
    )
    assert b"keys for a log stream" in made.stdout
    code = "from indelible import logs\nlogs.configure(key_file='log.key')\nlogs.audit('user.x')"
    written = subprocess.run(
        [sys.executable, "-c", code], cwd=site.directory, capture_output=True, check=True
    ).stderr
    command = [INDELIBLE, "tee", "--stdin", "--key-file", str(key)]
    subprocess.run(command, input=written, cwd=site.directory, check=True, capture_output=True)

    assert len(site.events("user.x")) == 1
    subprocess.run(command, input=written, cwd=site.directory, check=True, capture_output=True)
    assert len(site.events("user.x")) == 1
    assert site.noticed()["log.replayed"]["count"] == "3"
    assert "log.unended" not in site.noticed()
    (seen,) = site.directory.glob("*.journals/log-*.seen")
    seen.write_text("{")
    lost = subprocess.run(command, input=b"", cwd=site.directory, capture_output=True, check=False)
    assert lost.returncode == 2
    assert b"what comes could be a replay" in lost.stderr
    seen.unlink()
    again = [INDELIBLE, "tee", "--key-file", str(key), "--"]
    code = f"import os; os.write(2, {written!r})"
    for _ in range(2):  # a command's stream is one of the key's as well
        subprocess.run(
            [*again, sys.executable, "-c", code],
            cwd=site.directory,
            capture_output=True,
            check=True,
        )
    assert len(site.events("user.x")) == 2
    assert site.noticed()["log.replayed"]["count"] == "3"
    key.chmod(0o644)
    refused = subprocess.run(
        command, input=b"", cwd=site.directory, capture_output=True, check=False
    )
    assert refused.returncode == 2
    assert b"readable by its owner only, got 0644" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected either a command behind"),
        (["--stdin"], "expected --key-file with --stdin"),
        (["--", "/no/such/command"], "expected to run '/no/such/command', got No such file"),
        (["--to-file", "/no/such/dir/x", "--", "true"], "expected to append to"),
    ],
)
def test_mistakes_are_told(site: Site, arguments: list[str], told: str) -> None:
    """What can't be started is an error that says what was expected, with exit code 2."""
    result = subprocess.run(
        [INDELIBLE, "tee", *arguments], cwd=site.directory, capture_output=True, check=False
    )

    assert result.returncode == 2
    assert told.encode() in result.stderr


class Full:
    """A journal on a disk that is full for the first so many calls."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.kept: list[bytes] = []

    def append(self, draft: bytes) -> str:
        self.sync()
        self.kept.append(draft)
        return "id"

    def sync(self) -> None:
        if self.times:
            self.times -= 1
            raise DeliveryError("no space left")


def test_an_event_that_cannot_be_kept_waits_or_ends_the_tee() -> None:
    """On a full disk the tee insists until there is room, or, as its owner chose, fails: nothing
    is passed over."""
    keys = LogKeys.new()
    stream = StreamKeys(keys.master, StreamId("6b0d7d90deadbeef"))
    line = stream.seal("A", '{"v":1,"c":"A","e":{"action":"user.x","kind":"event"}', 1)
    for insists in (True, False):
        full, on = Full(2), list[bytes]()
        kept = Insisting(full, retry_s=0.01) if insists else full
        tee = Tee(LineReader(keys.master), kept, _no_notice, on.append, str, time.monotonic)
        if insists:
            tee.feed(line)
            assert (len(full.kept), len(on)) == (1, 1)
        else:
            with pytest.raises(DeliveryError, match="no space left"):
                tee.feed(line)
            assert (full.kept, on) == ([], [])


def _no_notice(action: str, message: str, **details: str) -> None:
    raise AssertionError(action)


def test_a_trail_may_keep_events_without_a_tee(site: Site) -> None:
    """`configure(keeper=trail.journal)`: events are in the trail, and not on stderr."""
    code = """
    from indelible import Trail, logs
    trail = Trail.open("indelible.toml")
    logs.configure(keeper=trail.journal)
    logs.audit("user.logged_in", details={"note": "s3cr3t"})
    trail.close()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=site.directory,
        capture_output=True,
        check=True,
    )

    assert [event.action for event in site.events("user.*")] == ["user.logged_in"]
    assert b"user" not in result.stderr


def test_a_replay_after_forgetting(site: Site) -> None:
    """A key that thousands of processes wrote with: how far each was read is kept for so many only,
    and what the oldest of them said is a replay all the same, to this tee and to a later one."""
    key = site.directory / "log.key"
    subprocess.run([INDELIBLE, "tee", "--make-key", str(key)], check=True, capture_output=True)
    master = read_key_file(key).master
    event = '{"v":1,"c":"A","e":{"action":"user.came","kind":"event"}'

    def stream(number: int) -> bytes:
        keys = StreamKeys(master, StreamId(f"{0x6B0D7D90 + number // 2:08x}{number:08x}"))
        said = ("A", event) if number < 20 else ("L", '{"v":1,"c":"L","m":"came"')
        return keys.seal(*said, 1) + keys.seal("C", '{"v":1,"c":"C","is":"end"', 2)

    def tee(written: bytes) -> None:
        command = [INDELIBLE, "tee", "--stdin", "--key-file", str(key)]
        subprocess.run(
            command, input=written, cwd=site.directory, check=True, capture_output=True, timeout=120
        )

    def replayed() -> int:
        found = site.events("log.replayed", system=True)
        return sum(int(str((event.details or {})["count"])) for event in found)

    oldest = b"".join(stream(number) for number in range(20))
    count = MAX_REMEMBERED + 100
    tee(oldest + b"".join(stream(number) for number in range(20, count)) + oldest)
    tee(oldest)

    (seen,) = site.directory.glob("*.journals/log-*.seen")
    assert seen.stat().st_size < 64 * MAX_REMEMBERED
    assert len(site.events("user.came")) == 20
    assert replayed() == 80
    tee(b"".join(stream(number) for number in range(count, count + 20)) + stream(count - 1))
    assert len(json.loads(seen.read_bytes())["read"]["streams"]) <= MAX_REMEMBERED
    assert replayed() == 82

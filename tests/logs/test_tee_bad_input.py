"""What is wrong around a tee and its application: a clear outcome each, and nothing lost unsaid."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.logs.frames import StreamId, StreamKeys
from indelible.logs.keys import LogKeys
from tests.logs.test_tee import INDELIBLE, Site, lines
from tests.logs.test_tee_inputs import LogSite

MIB = 2**20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


@pytest.mark.parametrize(
    "set_up",
    [
        "logs.configure()",
        "import logging.config; logging.config.dictConfig(logs.dict_config())",
        "logs.audit('user.x')",
    ],
    ids=["configure", "dictConfig", "audit"],
)
def test_keys_that_something_closed(site: Site, set_up: str) -> None:
    """A supervisor between that closes descriptors: the application doesn't start unsigned, it ends
    with an error that says what happened."""
    code = f"from indelible import logs\n{set_up}\nprint('went on')"
    call = f"subprocess.call([{sys.executable!r}, '-c', {code!r}])"
    between = f"import subprocess; raise SystemExit({call})"
    result = subprocess.run(
        [INDELIBLE, "tee", "--", sys.executable, "-c", between],
        cwd=site.directory,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert result.returncode == 1
    assert b"something closed it between the tee and this process" in result.stderr
    assert result.stdout == b""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("fields={'a': 'pseudonim'}", "expected the field 'a' as one of public, pseudonym, sealed"),
        ("undeclared='show'", "expected undeclared as withhold or scrub, got 'show'"),
        ("seal_to='no key'", "expected the sealing key as 32 bytes in base64"),
        ("fields={'a': 'sealed'}", "expected seal_to, the public key that seals, as the field 'a'"),
        ("key_file='none.key'", "expected log keys in none.key, got No such file"),
        ("key_file='indelible.toml'", "expected indelible.toml to be readable by its owner only"),
    ],
    ids=["type", "undeclared", "key", "no-key", "no-file", "mode"],
)
def test_a_setting_that_is_none(site: Site, settings: str, told: str) -> None:
    """An unknown type of a field, or a choice there isn't: an error at set-up that names it."""
    result = subprocess.run(
        [sys.executable, "-c", f"from indelible import logs\nlogs.configure({settings})"],
        cwd=site.directory,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert result.returncode == 1
    assert f"ConfigurationError: {told}" in result.stderr.decode()


def test_a_stream_that_is_not_ours(site: Site) -> None:
    """Lines that another key signed: nothing of them is an event, they are forged, and go on as
    what nobody signed."""
    key = site.directory / "log.key"
    subprocess.run([INDELIBLE, "tee", "--make-key", str(key)], check=True, capture_output=True)
    other = StreamKeys(LogKeys.new().master, StreamId("6b0d7d90deadbeef"))
    written = b"".join(
        other.seal("A", '{"v":1,"c":"A","e":{"action":"user.forged","kind":"event"}', n)
        for n in (1, 2, 3)
    )
    result = subprocess.run(
        [INDELIBLE, "tee", "--stdin", "--key-file", str(key)],
        input=written,
        cwd=site.directory,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert site.events("user.*") == []
    assert site.noticed()["log.forged"]["count"] == "3"
    assert len(lines(result.stderr, "U")) == 3


def test_a_line_of_100_mb_takes_no_memory(site: Site) -> None:
    """It goes on in pieces of 64 KiB, each of which says how much of it is left out, and the tee
    stays below 200 MB."""
    key = site.directory / "log.key"
    subprocess.run([INDELIBLE, "tee", "--make-key", str(key)], check=True, capture_output=True)
    out = site.directory / "out.log"
    tee = subprocess.Popen(
        [INDELIBLE, "tee", "--stdin", "--key-file", str(key), "--to-file", str(out)],
        cwd=site.directory,
        stdin=subprocess.PIPE,
    )
    assert tee.stdin is not None
    for _ in range(100):
        tee.stdin.write(b"lorem ip" * (MIB // 8))
    status = Path(f"/proc/{tee.pid}/status").read_text()
    tee.stdin.close()

    assert tee.wait() == 0
    assert int(status.partition("VmHWM:")[2].split()[0]) < 200 * 1024  # in kB
    with out.open() as file:
        texts = [json.loads(line)["text"] for line in file]
    pieces = [re.fullmatch(r"([lorem ip]+)<dropped:([0-9]+)>", text) for text in texts]
    # Where they come faster than they can be written some are shed, which is noticed.
    shed = int(site.noticed().get("log.shed", {"count": 0})["count"])
    assert {len(each[1]) + int(each[2]) for each in pieces if each} == {64 * 1024}
    assert len(pieces) + shed == 100 * MIB // (64 * 1024)


def test_a_branch_on_a_full_disk(site: Site) -> None:
    """The application's lines can't be written: they are shed, counted and noticed while it runs;
    events are kept and the application doesn't feel it."""
    result = site.run(
        "for n in range(20): log.info('a line'); logs.audit('user.seen')\nsys.exit(3)",
        "--to-file",
        "/dev/full",
    )

    assert result.returncode == 3
    assert len(site.events("user.seen")) == 20
    assert int(site.noticed()["log.shed"]["count"]) >= 40


def wait_for_the_first(site: Site) -> None:
    """What the application said is kept, before there is no more room."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        kept = site.directory.glob("**/*.journal")
        if any(b'"user.seen"' in path.read_bytes() for path in kept):
            return
        time.sleep(0.02)
    raise AssertionError("expected the first event to be in the journal within a minute")


FILLED = """
    logs.audit("user.seen", details={"n": 0})
    print("one", flush=True)
    sys.stdin.readline()
    from indelible.errors import DeliveryError
    told = 0
    for n in range(1, 21):
        log.info("a line")
        try:
            logs.audit("user.seen", details={"n": n})
        except DeliveryError:
            told += 1
        time.sleep(0.1)
    print("told" if told else "not told", flush=True)
"""


def test_a_trail_on_a_full_disk_is_waited_for(site: Site) -> None:
    """No space for events: the tee waits, the application with it, and goes on when there is room.
    Nothing is lost, and no exit code."""
    process = site.start(FILLED, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    wait_for_the_first(site)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
    process.stdin.write(b"\n")
    process.stdin.flush()
    told = process.stdout.readline()
    time.sleep(1.0)
    assert process.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    process.communicate(timeout=120)

    assert (told, process.returncode) == (b"not told\n", 0)
    assert [(event.details or {})["n"] for event in site.events("user.seen")] == list(range(21))
    assert site.noticed() == {}


def test_a_trail_on_a_full_disk_may_end_the_tee(site: Site) -> None:
    """With `--when-full fail`: who audits in the application is told, exit code 4, and what was
    kept before is."""
    process = site.start(FILLED, "--when-full", "fail", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    wait_for_the_first(site)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
    told, errors = process.communicate(b"\n", timeout=120)

    assert told == b"told\n"
    assert process.returncode == 4
    assert b"indelible: " in errors
    kept = [(event.details or {})["n"] for event in site.events("user.seen")]
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 21


def test_a_tee_without_stderr(site: Site) -> None:
    """Where there is no way for the application's lines the command isn't started: exit code 2.
    With a file for them it is."""
    command = 'exec "$0" tee "$@" 2>&-'
    for options, status in (([], 2), (["--to-file", "out.log"], 0)):
        result = subprocess.run(
            ["/bin/sh", "-c", command, INDELIBLE, *options, "--", "/bin/sh", "-c", "echo ran >&2"],
            cwd=site.directory,
            check=False,
            timeout=60,
        )
        assert result.returncode == status
    assert "ran" in (site.directory / "out.log").read_text()


def test_nobody_reads_what_goes_on(site: Site) -> None:
    """The reader of the tee's stderr is gone: its lines are shed, counted and noticed, events are
    kept, the exit code is the command's."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = site.start(
        "for n in range(20): log.info('a line'); logs.audit('user.seen')\nsys.exit(3)",
        stderr=write_end,
    )
    os.close(write_end)
    process.communicate(timeout=60)

    assert process.returncode == 3
    assert len(site.events("user.seen")) == 20
    assert int(site.noticed()["log.shed"]["count"]) >= 40


@pytest.mark.parametrize("keeps", [False, True], ids=["alone", "keeper"])
@pytest.mark.parametrize("why", ["killed", "closed"])
def test_an_application_whose_stream_goes_nowhere(site: Site, why: str, keeps: bool) -> None:
    """Its tee was killed, or it was started without a stderr: it runs on, its lines cost nothing,
    and an audit event is an error, unless a trail keeps it: then it is kept."""
    keeper = "keeper=Trail.open('indelible.toml').journal" if keeps else ""
    code = f"""
    import logging.handlers
    from indelible import Trail
    from indelible.errors import DeliveryError
    logs.configure({keeper})
    print("ready", flush=True)
    sys.stdin.readline()
    said = ""
    for call in (lambda: log.info("a line"), lambda: print("x", file=sys.stderr),
                 lambda: logs.audit("user.one"), lambda: log.audit("user.two"),
                 lambda: log.log(logs.AUDIT, "user.three")):
        try:
            call()
            said += "."
        except DeliveryError:
            said += "D"
        except OSError:
            said += "O"
    open("said", "w").write(said)
    """
    if why == "killed":
        process = site.start(code, stdin=subprocess.PIPE)
    else:
        site.command(code)
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$0" program.py 2>&-', sys.executable],
            cwd=site.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    assert process.stdout is not None
    process.stdout.readline()
    if why == "killed":
        process.kill()
        process.wait()
    process.communicate(b"\n", timeout=60)  # until the application, too, has closed its output

    printed = "O" if why == "killed" else "."
    said = (site.directory / "said").read_text()
    assert said == f".{printed}" + ("..." if keeps else "DDD")
    actions = [event.action for event in site.events("user.*")]
    assert actions == (["user.one", "user.two", "user.three"] if keeps else [])


def test_a_followed_file_and_a_full_disk(tmp_path: Path) -> None:
    """A file waits where it is: a tee that finds no space for its events ends at SIGTERM, with 4,
    and the next one keeps each of them once."""
    site = LogSite(tmp_path)
    site.write(site.some(2))
    tee = site.follow()
    site.wait_for_lines(2)
    _, hard = resource.prlimit(tee.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(tee.pid, resource.RLIMIT_FSIZE, (1, hard))
    site.write(site.some(50))
    time.sleep(1.0)
    assert tee.poll() is None
    tee.terminate()
    tee.communicate(timeout=60)
    site.read_once()

    assert tee.returncode == 4
    assert site.seen() == list(range(52))
    assert site.noticed() == {}


def test_the_page_names_tests_that_there_are() -> None:
    """Each outcome in docs/logs.md is shown by a test of that name."""
    here = Path(__file__).parent
    page = (here.parents[1] / "docs" / "logs.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    code = "".join(path.read_text() for path in here.glob("test_*.py"))

    assert len(named) > 15
    assert named <= set(re.findall(r"^def (test_[a-z0-9_]+)\(", code, re.M))

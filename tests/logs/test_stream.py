"""What was logged is on the stream, whatever becomes of the process or of the stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from indelible.logs.frames import MAX_LINE_BYTES
from tests.logs.programs import CONFIGURED, KEYS, run, said, started

COUNT = 1990
LOG_THEM = f"""
for n in range({COUNT}):
    log.info("one of many", extra={{"index": n}})
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("sys.exit(4)", 4),
    ],
)
def test_no_line_is_lost_however_the_process_ends(end: str, status: int) -> None:
    """Normal exit, `os._exit`, SIGTERM and SIGKILL: what was logged before is there, in order."""
    found = run(LOG_THEM + end)

    assert found.status == status
    assert [line["f"]["index"] for line in found.lines()] == list(range(COUNT))
    assert found.unsigned == []
    # Only a process that could say so is known to have ended.
    assert [each.what for each in found.irregular] == (
        ["unended"] if "_exit" in end or "SIGKILL" in end else []
    )


def test_a_forked_child_is_a_stream_of_its_own() -> None:
    """Nothing of a child's is lost at `os._exit`, and neither takes the other's numbers."""
    found = run(
        """
        log.info("parent")
        if os.fork() == 0:
            for n in range(1990):
                log.info("child", extra={"index": n})
            os._exit(0)
        os.wait()
        log.info("parent")
        """
    )

    assert found.messages.count("child") == COUNT
    assert found.messages.count("parent") == 2
    assert len({frame.stream for frame in found.frames}) == 2
    assert [each.what for each in found.irregular] == ["unended"]  # the child's


def test_threads_tasks_and_pools_share_a_stream() -> None:
    """16 threads, 200 tasks and a process pool: every line whole, once, in its stream's order."""
    found = run(
        """
        import asyncio, concurrent.futures
        def many(name):
            for n in range(200):
                log.info("from a thread", extra={"index": n})
        threads = [threading.Thread(target=many, args=(n,)) for n in range(16)]
        [t.start() for t in threads]; [t.join() for t in threads]
        async def task():
            for n in range(5):
                log.info("from a task")
                await asyncio.sleep(0)
        async def all_tasks():
            await asyncio.gather(*[task() for _ in range(200)])
        asyncio.run(all_tasks())
        with concurrent.futures.ProcessPoolExecutor(4) as pool:
            list(pool.map(many, range(4)))
        """
    )

    assert found.messages.count("from a thread") == 16 * 200 + 4 * 200
    assert found.messages.count("from a task") == 1000
    assert found.unsigned == []
    assert {each.what for each in found.irregular} <= {"unended"}


def test_a_signal_in_the_midst_of_a_line() -> None:
    """Handlers of signals that log, again and again while lines are written: every line is there
    once, in the order of its numbers."""
    found = run(
        """
        caught = 0
        def handler(number, frame):
            global caught
            caught += 1
            logs.audit("user.caught")
            log.info("caught")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for n in range(20000):
            log.info("a line")
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(caught)
        log.info("end", extra={"count": caught})
        """
    )

    assert found.irregular == []
    assert found.messages.count("a line") == 20_000
    caught = found.lines()[-1]["f"]["count"]
    assert caught > 100
    assert found.messages.count("caught") == len(found.events) == caught


@pytest.mark.parametrize("size", [200, 4000, 4200, 9000, 70000])
def test_no_line_is_torn_by_other_writers(size: int) -> None:
    """8 processes on one pipe, lines beyond what a pipe takes at once: none is torn, none lost."""
    code = f"""
    data = logs.Public("x" * {size})
    for n in range(100):
        log.info("large", extra={{"index": n, "data": [data] * 8}})
    """
    read_end, write_end = os.pipe()
    processes = [started(code, stderr=write_end) for _ in range(8)]
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        written = pipe.read()
    for process in processes:
        process.communicate(timeout=60)

    found = said(written)
    assert all(len(line) < MAX_LINE_BYTES for line in written.splitlines())
    assert found.unsigned == []
    assert found.irregular == []
    wholes = [line for line in found.lines() if line.get("m") == "large"]
    firsts = [line for line in found.lines() if line.get("part", [0])[0] == 1]
    assert len(wholes) + len(firsts) == 800


def test_a_long_record_is_put_together_again() -> None:
    """The pieces of a record are JSON in order: joined they are the record."""
    found = run('log.info("large", extra={"data": [logs.Public("é" * 3000)] * 3})')

    pieces = [line for line in found.lines() if "part" in line]
    whole = json.loads("".join(piece["json"] for piece in pieces))
    assert [piece["part"][0] for piece in pieces] == list(range(1, pieces[0]["part"][1] + 1))
    assert whole["f"]["data"] == ["é" * 3000] * 3


@pytest.mark.parametrize(
    "what",
    [
        "sys.stderr.close()",
        "sys.stderr = None",
        "sys.stderr = open(os.devnull, 'w')",
        "os.close(2)",
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)",
        "os.set_blocking(2, False)",
    ],
)
def test_whatever_is_done_to_stderr(what: str) -> None:
    """Lines have a descriptor of their own: closing or replacing stderr loses none."""
    found = run(f'log.info("before")\n{what}\nlog.info("after"); logs.audit("user.logged_in")')

    assert found.messages == ["before", "after"]
    assert [event["action"] for event in found.events] == ["user.logged_in"]


STUCK = """
import logging, os, signal, sys, threading, time
from indelible import logs
from indelible.errors import DeliveryError
from indelible.logs.stream import Stuck
logs.configure(application=Stuck({application!r}, 0.3), audit=Stuck({audit!r}, 0.3))
log = logging.getLogger("shop")
"""


def test_a_stuck_reader_costs_lines_that_are_counted() -> None:
    """Nobody reads: application lines are dropped after their deadline, the application goes on,
    and when somebody reads again the count stands where they would have."""
    read_end, write_end = os.pipe()
    begin = time.monotonic()
    process = started(
        """
        for n in range(3000):
            log.info("filling the pipe", extra={"index": n})
            if n > 400 and n % 500 == 0: time.sleep(0.01)
            if n == 402: break
        done = time.monotonic()
        print("through", flush=True)
        sys.stdin.readline() if False else time.sleep(1.5)
        log.info("read again")
        """,
        stderr=write_end,
        configured=STUCK.format(application="drop", audit="block"),
    )
    os.close(write_end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"through\n"
    assert time.monotonic() - begin < 60
    with os.fdopen(read_end, "rb") as pipe:
        written = pipe.read()
    process.communicate(timeout=60)

    found = said(written)
    lost = [line["lines"] for line in found.lines("C") if line["is"] == "lost"]
    kept = found.messages.count("filling the pipe")
    assert kept + sum(lost) == 403
    assert sum(lost) > 0
    assert found.messages[-1] == "read again"
    assert found.irregular == []


def test_an_audit_event_waits_for_its_reader() -> None:
    """By default an audit event blocks until it is on the stream, where lines are dropped."""
    read_end, write_end = os.pipe()
    process = started(
        """
        for n in range(2000):
            logs.audit("user.logged_in", details={"n": n})
        """,
        stderr=write_end,
        configured=STUCK.format(application="drop", audit="block"),
    )
    os.close(write_end)
    time.sleep(1.0)
    assert process.poll() is None
    with os.fdopen(read_end, "rb") as pipe:
        written = pipe.read()
    process.communicate(timeout=60)

    assert [event["details"]["n"] for event in said(written).events] == list(range(2000))


def test_an_owner_may_choose_an_error() -> None:
    """With `raise` who audits is told within the deadline that nobody reads."""
    read_end, write_end = os.pipe()
    process = started(
        """
        begin = time.monotonic()
        try:
            while True:
                begin = time.monotonic()
                logs.audit("user.logged_in")
        except DeliveryError as problem:
            print(round(time.monotonic() - begin, 1), problem, flush=True)
        os._exit(0)
        """,
        stderr=write_end,
        configured=STUCK.format(application="drop", audit="raise"),
    )
    os.close(write_end)
    output, _ = process.communicate(timeout=60)
    os.close(read_end)

    assert output.decode().strip() == "0.3 expected the log stream to be read within 0.3 s"


def test_a_dead_reader_is_told_to_who_audits() -> None:
    """A tee that is gone: application lines are lost without a word to the application, an audit
    event is an error."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = started(
        """
        from indelible.errors import DeliveryError
        log.info("to nobody")
        try:
            logs.audit("user.logged_in")
        except DeliveryError as problem:
            print(problem, flush=True)
        """,
        stderr=write_end,
    )
    os.close(write_end)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert b"expected an audit event on the log stream" in output


def test_a_closed_stderr_disturbs_nobody() -> None:
    """A process that was started without a stderr runs as any other."""
    code = CONFIGURED + 'log.info("x"); print("ran")'
    result = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', __import__("sys").executable, code],
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert result.stdout == b"ran\n"
    assert result.returncode == 0


def test_a_full_disk_loses_lines_and_says_so() -> None:
    """Lines on a full file system are counted; the application goes on."""
    with Path("/dev/full").open("wb") as full:
        process = started('log.info("x"); print("ran")', stderr=full.fileno())
        output, _ = process.communicate(timeout=60)

    assert output == b"ran\n"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("77", "expected the tee's keys on descriptor 77"),
        ("x", "expected a descriptor's number in INDELIBLE_LOG_KEY_FD, got 'x'"),
    ],
)
def test_keys_that_are_not_there(number: str, told: str) -> None:
    """A key that was announced and isn't there is an error at the start, not an unsigned log."""
    found = run("", signed=False, environment={"INDELIBLE_LOG_KEY_FD": number})

    assert found.status == 1
    assert any(told.encode() in each.text for each in found.unsigned)


def test_the_keys_are_nowhere_to_be_found() -> None:
    """A child of the application has neither the keys in its environment nor their descriptor."""
    found = run(
        """
        import subprocess, base64
        out = subprocess.run("env; ls -l /proc/self/fd", shell=True, close_fds=False,
                             capture_output=True, text=True).stdout
        print(out)
        assert "memfd" not in out, out
        log.info("ok")
        """
    )

    assert found.messages == ["ok"]


def test_a_key_file_closes_what_the_tee_handed_over(tmp_path: Path) -> None:
    """Where the owner names a key file, the descriptor that a tee left open is closed; a file that
    something else opened under its number isn't."""
    key = tmp_path / "log.key"
    key.write_bytes(KEYS.encode())
    key.chmod(0o600)
    code = f"""
import os
from indelible import logs
fd = int(os.environ["INDELIBLE_LOG_KEY_FD"])
os.fstat(fd)
logs.configure(key_file={str(key)!r})
try:
    os.fstat(fd)
except OSError:
    logs.audit("log.checked")
os.dup2(os.open({str(key)!r}, os.O_RDONLY), fd)
logs.configure(key_file={str(key)!r})
os.fstat(fd)
"""
    found = run(code, configured="")

    assert (found.status, [event["action"] for event in found.events]) == (0, ["log.checked"])

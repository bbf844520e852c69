"""Witnesses for tests: real ones in processes of their own, and some that lie."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from indelible.integrity.witness import Answer, Witness
from indelible.integrity.witness_alarm import alarms
from indelible.integrity.witness_file import WitnessedTlog
from indelible.tlog import VerifierKey
from tests.servers import free_port

MAIN = "from indelible.cli import main; main()"


class WitnessProcess:
    """`indelible witness serve` in a folder, as an operator runs it."""

    def __init__(self, directory: Path, name: str, *arguments: str, port: int = 0) -> None:
        self.directory = directory
        self.name = name
        if not (directory / "witness.db").exists():
            Witness.create(directory, name).close()
        with contextlib.closing(Witness.open(directory)) as witness:
            self.key = witness.verifier_key
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def policy_line(self) -> str:
        return f"witness {self.name.replace('/', '-')} {self.key} {self.url}"

    def add(self, key: VerifierKey, origin: str | None = None) -> None:
        with contextlib.closing(Witness.open(self.directory)) as witness:
            witness.file.add_tlog(origin or key.name, key, int(time.time()))

    def knows(self, origin: str) -> WitnessedTlog:
        """What it has of this tlog."""
        with contextlib.closing(Witness.open(self.directory)) as witness:
            tlog = witness.file.tlog(origin)
        assert tlog is not None
        return tlog

    def alarms(self) -> list[str]:
        """What is wrong, by its kind."""
        with contextlib.closing(Witness.open(self.directory)) as witness:
            return [alarm.what for alarm in alarms(witness, now=int(time.time()))]

    def start(self, *before: str) -> None:
        """`before` is what runs it: strace, say."""
        self._process = subprocess.Popen(
            [
                *before,
                *(sys.executable, "-c", MAIN, "witness", "serve"),
                *("--directory", str(self.directory), "--listen", f"127.0.0.1:{self.port}"),
                *self._arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("serving "), said

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def post(self, body: bytes, path: str = "/add-checkpoint") -> Answer:
        return request(self.port, "POST", path, body)

    def get(self, path: str) -> Answer:
        return request(self.port, "GET", path)


def request(port: int, method: str, path: str, body: bytes | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Answer(response.status, response.headers["Content-Type"], response.read())
    finally:
        connection.close()


@contextlib.contextmanager
def running(process: WitnessProcess) -> Iterator[WitnessProcess]:
    process.start()
    try:
        yield process
    finally:
        process.kill(signal.SIGTERM)


@contextlib.contextmanager
def answering(answer: Callable[[str, str, bytes], Answer | None]) -> Iterator[str]:
    """A server that says what `answer(method, path, body)` says; None: nothing, ever.

    Gives its URL.
    """
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = answer(self.command, self.path, body)
            if found is None:
                ended.wait(60)
                return
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        do_GET = do_PUT = do_DELETE = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def run(*arguments: str, cwd: Path, exit_code: int = 0) -> str:
    """`indelible …` in `cwd`; what it said."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=cwd,
        env={**os.environ, "XDG_STATE_HOME": str(cwd / "state"), "NO_COLOR": "1", "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def until(is_so: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it didn't come to that"
        time.sleep(0.02)

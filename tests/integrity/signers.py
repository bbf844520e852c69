"""Signers for tests: real ones in processes of their own, asked as a trail asks them."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from indelible.cli.app import main
from indelible.integrity.http_exchange import Exchanged, exchange
from indelible.integrity.key_ring import key_text
from indelible.integrity.signer import CheckpointGuard
from indelible.tlog import SigningKey, VerifierKey
from tests.integrity.witnesses import MAIN
from tests.integrity.witnesses import run as run_apart

ORIGIN = "example.com/trail"


class SignerProcess:
    """`indelible signer serve` in a folder, as an operator runs it."""

    def __init__(self, directory: Path, *arguments: str, origin: str = ORIGIN) -> None:
        self.directory = directory
        # A socket's path has 107 bytes at most, which a test's folder may be longer than.
        folder = tempfile.mkdtemp(prefix="s")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.socket = Path(folder) / "s"
        if not (directory / "signer.db").exists():
            key = SigningKey.generate(origin)
            CheckpointGuard.create(directory, key, key_text(key, None)).close()
        self._arguments = arguments
        self.process: subprocess.Popen[str] | None = None

    @property
    def key(self) -> VerifierKey:
        """The newest."""
        (directory, file) = (self.directory, "trail.key")
        return SigningKey.parse((directory / file).read_text().splitlines()[0]).verifier_key

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, *before: str, environment: dict[str, str] | None = None) -> None:
        """`before` is what runs it: strace, say."""
        self.process = subprocess.Popen(
            [
                *before,
                *(sys.executable, "-c", MAIN, "signer", "serve", "--socket", str(self.socket)),
                *("--directory", str(self.directory), *self._arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("signing "), said + self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """What it said last."""
        if self.process is None:
            return ""
        process, self.process = self.process, None
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        return said

    def __enter__(self) -> SignerProcess:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def ask(self, method: str, path: str, body: bytes | None = None) -> Exchanged:
        return exchange(
            method,
            f"http://signer/{path}",
            deadline_s=10,
            max_bytes=1_000_000,
            body=body,
            via=self.socket,
        )

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        return connection


def run(*arguments: str, cwd: Path, exit_code: int = 0) -> str:
    """`indelible …` in `cwd`; what it said. In this process, which saves half a second each time;
    in one of its own what sets up logging or signals."""
    if {"relay", "serve"} & {*arguments}:
        return run_apart(*arguments, cwd=cwd, exit_code=exit_code)
    said = io.StringIO()
    ended = 0
    environment = {"XDG_STATE_HOME": str(cwd / "state"), "NO_COLOR": "1", "COLUMNS": "80"}
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["indelible", *arguments]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            main()
        except SystemExit as end:
            ended = int(end.code or 0)
    assert ended == exit_code, said.getvalue()
    return said.getvalue()

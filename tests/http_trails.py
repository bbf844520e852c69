"""A trail served as a person serves it, and a folder behind a web server that isn't ours."""

from __future__ import annotations

import contextlib
import functools
import http.server
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from indelible.integrity.fetching import HttpFetcher
from indelible.integrity.remote import RemoteVerification, verify_remote
from indelible.integrity.tokens import read_token_file
from indelible.tlog import SigningKey
from tests.servers import free_port

COMMAND = (sys.executable, "-c", "from indelible.cli import main; main()")
_STOP_S = 30.0


def write_config(trail: Path) -> Path:
    """A configuration beside the trail's file."""
    config = trail.with_name("indelible.toml")
    config.write_text(f'[trail]\nurl = "sqlite:///{trail.name}"\norigin = "example.com/trail"\n')
    return config


def write_token(directory: Path) -> Path:
    """A new token in a file of its own."""
    path = directory / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32) + "\n")
    return path


class Served:
    """`indelible serve --log` of the trail at `path`, in a process of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        arguments = ("--log", "--listen", f"127.0.0.1:{self.port}", *options)
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *arguments, "--config", str(write_config(path))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; returns the exit code, and what it wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, stderr = self.process.communicate(timeout=_STOP_S)
        return self.process.returncode, stderr


@contextlib.contextmanager
def served(path: Path, *options: str) -> Iterator[Served]:
    server = Served(path, *options)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """The folder behind Python's own web server; gives its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with serving_handler(handler) as url:
        yield url


@contextlib.contextmanager
def serving_handler(handler: object) -> Iterator[str]:
    """A web server that answers as `handler` does; gives its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def verified(
    url: str, key: SigningKey, *, token_file: Path | None = None, **options: Any
) -> RemoteVerification:
    """What `indelible verify --url` finds."""
    token = None if token_file is None else read_token_file(token_file)
    with contextlib.closing(HttpFetcher(url, token)) as fetcher:
        return verify_remote(fetcher, key.verifier_key, with_bodies=token is not None, **options)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


def get(url: str, *, method: str = "GET", **headers: str) -> Answer:
    """The answer to one request, whatever its status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())

"""Each tutorial on PostgreSQL, followed to the letter from an empty folder: its files, its
commands, and what it says that they print."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.servers import PostgresServer, free_port, postgres

__all__ = ["postgres"]

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"(?P<before>[^\n]*\n(?:[^\n]+\n)*)\n?```(?P<kind>\w+)\n(?P<text>.*?)```", re.S)
_FILE = re.compile(r"(?P<how>Save|Add) this (?:as|to) `(?P<name>[^`]+)`")
_SERVER = re.compile(
    r"(indelible tee [^|]*-- )?(uvicorn|gunicorn|celery|python manage.py runserver)"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}Z")
_PLACE = re.compile(r"(?<!\S)\d+ (?=TIME)")
_ID = re.compile(r'"(id|request)":"[0-9a-z]{16,32}"')
_PSEUDONYM = re.compile(r"~\w+:\w+")
_PATIENCE_S = 60.0


class Reader:
    """Somebody who follows a tutorial in a folder of their own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._port = str(free_port())
        self._servers: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "default",
            **environment,
        }

    def follow(self, page: str) -> None:
        for block in _BLOCK.finditer(page):
            text = block["text"]
            if block["kind"] == "console":
                for command, output in commands(text.replace("8000", self._port)):
                    self._type(command, output)
                continue
            told = _FILE.search(block["before"])
            assert told is not None, block["before"]
            path = self._directory / told["name"]
            with path.open("a" if told["how"] == "Add" else "w") as file:
                file.write(text)

    def _type(self, command: str, output: list[str]) -> None:
        if command.startswith("pip install"):
            return  # the tests' environment has them
        if _SERVER.match(command):
            self._serve(command)
            return
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self._directory,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed = _alike(done.stdout)
            missing = [line for line in output if _alike(line) not in printed]
            if not missing:
                return
            # What was done a moment ago may still be on its way into the trail.
            assert time.monotonic() < deadline, f"{command}\n{missing}\n{done.stdout}"
            time.sleep(0.2)

    def _serve(self, command: str) -> None:
        log = (self._directory / "server.log").open("wb")
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._directory,
            env=self._environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        self._servers.append(server)
        if self._port not in command:
            return  # a worker: what it is given waits for it
        deadline = time.monotonic() + _PATIENCE_S
        probe = ["curl", "-s", "-o", os.devnull, f"localhost:{self._port}/"]
        while subprocess.run(probe).returncode:
            said = (self._directory / "server.log").read_text()
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def stop(self) -> None:
        for server in self._servers:
            server.terminate()  # who runs the tests in the background may have SIGINT ignored
            server.wait(_PATIENCE_S)
        self._servers.clear()


def _alike(text: str) -> str:
    """Without what is another each time: spaces, times, places in the trail, ids, pseudonyms."""
    text = " ".join(_TIME.sub("TIME", text).split())
    text = _PLACE.sub("", text)
    return _ID.sub(r'"\1":"ID"', _PSEUDONYM.sub("PSEUDONYM", text))


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console, and the lines that it prints."""
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        command, *output = part.rstrip("\n").split("\n")
        yield command, output


@pytest.mark.parametrize("tutorial", ["tutorial-fastapi.md", "tutorial-django.md"])
def test_a_tutorial_can_be_followed(
    tutorial: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    if shutil.which("curl") is None:
        pytest.fail("no curl: apt-get install --no-install-recommends curl")
    server = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres"}
    reader = Reader(tmp_path, server)
    with contextlib.closing(_Stopping(reader)):
        reader.follow((DOCS / tutorial).read_text())


class _Stopping:
    def __init__(self, reader: Reader) -> None:
        self.close = reader.stop

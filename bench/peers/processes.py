"""One variant's process, and the processor time that it and the server take for a work."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.peers.stores import Store

ROOT = Path(__file__).parents[2]


class Taken(NamedTuple):
    """Seconds."""

    client: float
    server: float
    wall: float


class Worker:
    """A process that does the works it is told."""

    def __init__(self, module: str, variant: str, directory: Path, url: str) -> None:
        self._log = (directory / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.peers.{module}", variant, str(directory), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            text=True,
        )
        self._directory = directory
        ready, *self.works = self._hear().split() or [""]
        if ready != "ready":
            sys.exit(f"expected {variant} to begin, got: {self.said()}")

    def run(self, work: str, store: Store) -> Taken:
        self._say(work)
        self._expect("go")
        server = {pid: used_s(pid) for pid in store.serving()}
        client = used_s(self._process.pid)
        began = time.perf_counter()
        self._say("")
        self._expect("done")
        wall = time.perf_counter() - began
        client = used_s(self._process.pid) - client
        # A process that came meanwhile used all of its time here.
        served = sum(used_s(pid) - server.get(pid, 0.0) for pid in store.serving())
        return Taken(client, served, wall)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def said(self) -> str:
        """What it wrote to its standard error."""
        return (self._directory / "log").read_text()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _expect(self, word: str) -> None:
        heard = self._hear().strip()
        if heard != word:
            sys.exit(f"expected {word!r} of a worker, got {heard!r}: {self.said()}")


def used_s(pid: int = 0) -> float:
    """The processor time of a process, by default of this one.

    In nanoseconds' resolution, which /proc doesn't have: there a tick is 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks

"""Starting the shop as a process of its own, and stopping that one again."""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from indelible.errors import IndelibleError

_START_S: Final = 60.0
_STOP_S: Final = 20.0
LOG: Final = "shop.log"


class ShopFailedError(IndelibleError):
    """The demo's application didn't start or didn't stop; its log says why."""


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """The base URL of the shop in `directory`, served by a process of its own while inside.

    However the block is left, that process is asked to end (SIGTERM), and killed where it hasn't
    after 20 s. Raises `ShopFailedError` when it doesn't start, or ends badly.
    """
    log = directory / LOG
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "indelible.demo.shop.serve", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C in a terminal is for the one who started it, who then stops it.
            start_new_session=True,
        ) as process,
    ):
        try:
            yield f"http://127.0.0.1:{_read_port(process, log)}"
        finally:
            _stop(process)
    if process.returncode != 0:
        raise ShopFailedError(f"expected the shop to end well, got {process.returncode}: see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _read_port(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if ready.select(_START_S) else b""
    if not line.strip().isdigit():
        raise ShopFailedError(
            f"expected the shop to say its port within {_START_S:.0f} s: see {log}"
        )
    return int(line)

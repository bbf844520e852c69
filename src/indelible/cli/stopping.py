"""A server of the command line answers until a signal ends it, in order."""

from __future__ import annotations

import signal
import threading
from socketserver import BaseServer
from typing import Final

import click

_LOOK_S: Final = 0.1


def serve_until_stopped(server: BaseServer, said: str) -> None:
    """Answer until SIGINT or SIGTERM, and close; `said` is printed once these do that."""

    def stop(*_: object) -> None:
        # From another thread: `shutdown` waits for the loop that the signal interrupted.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    click.echo(f"{said}; stop with Ctrl-C")
    try:
        server.serve_forever(_LOOK_S)
    finally:
        server.server_close()

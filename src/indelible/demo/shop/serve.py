"""The shop's process: `python -m indelible.demo.shop.serve DIRECTORY`.

Serves on a free port of 127.0.0.1, prints the port as its only line of output, and ends on
SIGTERM or when its standard input is closed: it never outlives the one who started it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from sqlalchemy import Engine

from indelible import Trail
from indelible.capture.sqlalchemy import capture
from indelible.demo.shop.opening import CONFIG, DATABASE
from indelible.demo.shop.routes import Shop
from indelible.demo.shop.tables import open_database


def audited(engine: Engine, config: Path) -> Trail:
    """Audit everything that `engine` does from here on."""
    trail = Trail.open(config)
    capture(engine, trail)
    return trail


def main(directory: Path) -> None:
    """Serve the shop in `directory` until asked to stop."""
    # uvicorn finishes what is under way on SIGTERM, and then raises it again: leave the blocks
    # below, so that the trail carries what was captured last.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    engine = open_database(directory / DATABASE)
    with audited(engine, directory / CONFIG) as trail:
        listener = socket.create_server(("127.0.0.1", 0))
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        threading.Thread(target=_stop_when_abandoned, daemon=True).start()
        # The address of the person behind a proxy on this machine stands in X-Forwarded-For.
        settings = uvicorn.Config(
            Shop(engine, trail).asgi(),
            proxy_headers=True,
            forwarded_allow_ips="127.0.0.1",
            log_level="warning",
            access_log=False,
        )
        uvicorn.Server(settings).run(sockets=[listener])
        engine.dispose()


def _stop_when_abandoned() -> None:
    # Reads until the other end closes, which also happens when its process is killed.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

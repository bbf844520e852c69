"""Listening: one process that answers until SIGTERM or Ctrl-C, and then finishes what it is at."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import uvicorn
from starlette.applications import Starlette

from indelible.errors import ConfigurationError

_MOST_AT_ONCE: Final = 256
"""Connections; who comes while there are more is told so with 503."""
_GRACE_S: Final = 5
"""How long an answer under way may take once we are to stop."""


class Address(NamedTuple):
    """Where to listen. Port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, an IPv6 address in brackets; raises `ConfigurationError`."""
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", text)
        if match is None or int(match[3]) > 65_535:
            raise ConfigurationError(f"expected HOST:PORT to listen at, got {text!r}")
        return cls(match[1] or match[2], int(match[3]))


def serve(application: Starlette, address: Address, on_listening: Callable[[str], object]) -> None:
    """Answer until SIGTERM or SIGINT; `on_listening` is told the URL once we listen.

    Raises `ConfigurationError` where we can't listen there.
    """
    listener = _listen(address)
    host, port = listener.getsockname()[:2]
    settings = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_GRACE_S,
    )
    # uvicorn raises the signal again behind its orderly end: that is the end that was asked for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    _Server(settings, lambda: on_listening(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it has started: from then on a signal finds a server that ends in order."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()


def _listen(address: Address) -> socket.socket:
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family)
        # What is accepted inherits it. Without it each answer waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigurationError(
            f"can't listen at {address.host}:{address.port}: {error.strerror or error}"
        ) from None

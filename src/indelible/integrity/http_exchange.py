"""One HTTP request and its answer, within a deadline and a number of bytes, whatever comes back.

No redirect is followed and no proxy of the environment used: the operator said whom to ask.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from indelible._version import __version__
from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.deadline_socket import DeadlineSocket

_AGENT: Final = f"indelible/{__version__}"
_PLAIN: Final = "text/plain; charset=utf-8"


class Exchanged(NamedTuple):
    """The answer: `content_type` in lower case without parameters."""

    status: int
    content_type: str
    body: bytes


def check_url(url: str) -> None:
    """Raise `ConfigurationError` unless `url` is one that can be asked."""
    _connection(url, 1.0)


def exchange(
    method: str,
    url: str,
    *,
    deadline_s: float,
    max_bytes: int,
    body: bytes | None = None,
    content_type: str = _PLAIN,
    authorization: str | None = None,
    via: Path | None = None,
) -> Exchanged:
    """Ask once, over the socket `via` where there is one: the URL's host is a name only then.

    Raises `DeliveryError` for all that isn't a whole answer of at most `max_bytes`
    within `deadline_s`, also where it drips in byte by byte; never with what the answer says.

    Looking a host name up isn't cut short: the system's resolver has a time limit of its own.
    Connecting, and agreeing on TLS, have `deadline_s` each.
    """
    connection, target = _connection(url, deadline_s, via)
    headers: Mapping[str, str] = {"User-Agent": _AGENT, "Connection": "close"}
    if body is not None:
        headers = {**headers, "Content-Type": content_type}
    if authorization is not None:
        headers = {**headers, "Authorization": authorization}
    ends = time.monotonic() + deadline_s
    try:
        connection.connect()
        bounded = connection.sock = DeadlineSocket(connection.sock)
        bounded.deadline = ends
        connection.request(method, target, body=body, headers=headers)
        with contextlib.closing(connection.getresponse()) as response:
            received = response.read(max_bytes + 1)
            media_type = response.headers.get("Content-Type", "").partition(";")[0]
    except (OSError, http.client.HTTPException, ValueError) as error:
        is_late = isinstance(error, TimeoutError)
        why = f"none within {deadline_s:g} s" if is_late else type(error).__name__
        raise DeliveryError(f"expected an answer of {via or _shown(url)}: {why}") from None
    finally:
        connection.close()
    if len(received) > max_bytes:
        raise DeliveryError(
            f"expected at most {max_bytes} bytes of {via or _shown(url)}, came more"
        )
    return Exchanged(response.status, media_type.strip().lower(), received)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(str(self._path))
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def _connection(
    url: str, timeout_s: float, via: Path | None = None
) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or " " in url:
        raise ConfigurationError(f"expected a URL like https://witness.example/, came {url!r}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if via is not None:
        return UnixConnection(via, timeout_s), target
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_s), target
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context), target


def _shown(url: str) -> str:
    """The URL without what may be secret in it: a password, a token in its path or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"

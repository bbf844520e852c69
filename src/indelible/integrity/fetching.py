"""GET, from a server that isn't trusted: so many bytes at most, within so many seconds.

No redirect is followed, nothing is unpacked, no proxy of the environment is asked: what is read is
what the named server sent.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from typing import Final, Protocol
from urllib.parse import urlsplit

from indelible._version import __version__
from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.integrity.deadline_socket import DeadlineSocket, seconds_left
from indelible.integrity.tokens import Token

TIMEOUT_S: Final = 60.0
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_NOT_THERE: Final = (404, 410)
_REFUSED: Final = (401, 403)


class UnreachableTrailError(DeliveryError):
    """No answer, or one that no server of a trail gives."""


class OversizedAnswerError(VerificationError):
    """More came than can be at that path."""


class Fetcher(Protocol):
    """Where a remote trail is read from."""

    def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
        """What stands at `path`; None where nothing does.

        Raises `UnreachableTrailError`, and `OversizedAnswerError` for more than `max_bytes`.
        """


class HttpFetcher:
    """A trail's URL, read over one connection; for one thread. `close` it."""

    def __init__(
        self, url: str, token: Token | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Raises `ConfigurationError` for what is no URL of a trail.

        A token goes only to this machine, or over HTTPS. `timeout_s` is for each answer, whole.
        """
        self._connection, self._prefix = _parse_url(url)
        self._token = token
        self._timeout_s = timeout_s
        self._socket: DeadlineSocket | None = None
        is_private = isinstance(self._connection, http.client.HTTPSConnection)
        if token and not is_private and self._connection.host not in _LOCAL:
            raise ConfigurationError(
                f"expected https:// where a token is sent, got {url}: anybody on the way could "
                "read it"
            )

    def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
        is_kept = self._socket is not None
        deadline = time.monotonic() + self._timeout_s
        try:
            try:
                return self._fetch(path, max_bytes, with_token, deadline)
            except ConnectionError:
                # A server may close a connection between two answers.
                if not is_kept:
                    raise
                self.close()
                return self._fetch(path, max_bytes, with_token, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise UnreachableTrailError(
                f"expected an answer from {self._where(path)}, came {_describe(error)}"
            ) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._connection.close()
        self._socket = None

    def _fetch(self, path: str, max_bytes: int, with_token: bool, deadline: float) -> bytes | None:
        connection = self._connection
        if self._socket is None:
            connection.timeout = seconds_left(deadline)
            connection.connect()
            self._socket = connection.sock = DeadlineSocket(connection.sock)
        self._socket.deadline = deadline
        headers = {
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",
            "User-Agent": f"indelible/{__version__}",
        }
        if with_token and self._token is not None:
            headers["Authorization"] = self._token.header
        connection.request("GET", f"{self._prefix}/{path}", headers=headers)
        with connection.getresponse() as response:
            content = response.read(max_bytes + 1)
            left = response.length
            is_whole = response.isclosed()
        if not is_whole or connection.sock is None:
            self.close()
        return self._judge(path, response, content, max_bytes, left)

    def _judge(
        self,
        path: str,
        response: http.client.HTTPResponse,
        content: bytes,
        max_bytes: int,
        left: int | None,
    ) -> bytes | None:
        status = response.status
        if status in _NOT_THERE:
            return None
        if status in _REFUSED:
            raise ConfigurationError(
                f"expected to be let in at {self._where(path)}, came {status}: is it the token "
                "of this trail?"
            )
        if status != 200:
            raise UnreachableTrailError(f"expected 200 from {self._where(path)}, came {status}")
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise UnreachableTrailError(
                f"expected {self._where(path)} as it is, came another encoding of it"
            )
        if len(content) > max_bytes:
            raise OversizedAnswerError(f"{path}: expected at most {max_bytes} bytes, came more")
        if left:
            raise UnreachableTrailError(
                f"expected {left} more bytes from {self._where(path)}, the answer broke off"
            )
        return content

    def _where(self, path: str) -> str:
        return f"{self._connection.host}:{self._connection.port}{self._prefix}/{path}"


def _parse_url(url: str) -> tuple[http.client.HTTPConnection, str]:
    """The connection, not made yet, and the path without a slash at its end."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    if (
        parts.scheme not in ("http", "https")
        or not re.fullmatch(r"[0-9A-Za-z.:_-]+", host)
        or not re.fullmatch(r"[!-~]*", parts.path)
        or parts.username is not None
        or parts.query
        or parts.fragment
    ):
        raise ConfigurationError(
            "expected the URL of a trail, as in https://trail.example.com/, without a user, a "
            "query or a fragment"
        )
    prefix = parts.path.rstrip("/")
    # Of an address of IPv6 without a port `http.client` would take the end for one.
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port or 80), prefix
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port or 443, context=context), prefix


def _describe(error: Exception) -> str:
    """What happened; never what the server said, which may be anything."""
    if isinstance(error, TimeoutError):
        return "none in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that isn't trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ConnectionError):
        return "a closed connection"
    return f"something else ({type(error).__name__})"

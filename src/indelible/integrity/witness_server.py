"""The HTTP front of a witness: `POST …/add-checkpoint`, `GET …/<SHA-256 of origin>/checkpoint`.

Python's own server, with bounds: so many connections, so many bytes a request, so many seconds for
one to arrive. TLS is a proxy's in front of it. A signer answers within the same bounds.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from indelible.errors import ConfigurationError, IndelibleError
from indelible.integrity.witness import TEXT, Answer, Witness
from indelible.tlog import ADD_CHECKPOINT_PATH, MAX_REQUEST_BYTES

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
REQUEST_S: Final = 10.0
"""How long a request may take to arrive, and a connection may stay without one."""


class BoundedServer(ThreadingHTTPServer):
    """Within the bounds: `serve_forever` until `shutdown`, from another thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: Any,
        *,
        max_connections: int = MAX_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        """Listens at once; raises `OSError`."""
        self._request_s = request_s
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._due: dict[socket.socket, float] = {}
        super().__init__(address, _UnixHandler if isinstance(address, str) else _Handler)

    def answer_post(self, path: str, body: bytes) -> Answer:
        """The answer to a POST; raises `IndelibleError` where nothing was done."""
        raise NotImplementedError

    def answer_get(self, path: str) -> Answer:
        """The answer to a GET; raises `IndelibleError`."""
        raise NotImplementedError

    def expect_request(self, connection: socket.socket) -> None:
        """From now on a request has to arrive in time."""
        with self._lock:
            self._due[connection] = time.monotonic() + self._request_s

    def request_arrived(self, connection: socket.socket) -> None:
        """It is being answered: nothing cuts it short."""
        with self._lock:
            self._due[connection] = float("inf")

    # -- what http.server calls -----------------------------------------------------------------

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn a connection away, before it gets a thread, where there are as many as there may."""
        with self._lock:
            if len(self._due) >= self._max_connections:
                return False
            self._due[request] = time.monotonic() + self._request_s
        return True

    def service_actions(self) -> None:
        """At each look of `serve_forever`: cut off whoever takes too long over a request."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, due in self._due.items() if due < now]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._due.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            _log.debug("a connection ended early")
        else:
            _log.exception("answering a request")


class WitnessServer(BoundedServer):
    """Serves one witness."""

    def __init__(
        self,
        witness: Witness,
        host: str,
        port: int,
        *,
        max_connections: int = MAX_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        """Listens at once; port 0 is any free one. Raises `ConfigurationError`."""
        self.witness = witness
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), max_connections=max_connections, request_s=request_s)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(f"can't listen on {host} port {port}: {error}") from None

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def answer_post(self, path: str, body: bytes) -> Answer:
        if path.rpartition("/")[2] != ADD_CHECKPOINT_PATH:
            return Answer(404, TEXT, b"no such place\n")
        return self.witness.add_checkpoint(body)

    def answer_get(self, path: str) -> Answer:
        found = self.witness.latest("/".join(path.split("/")[-2:]))
        if found is None:
            return Answer(404, TEXT, b"no such checkpoint\n")
        return Answer(200, TEXT, found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "indelible-witness"
    sys_version = ""
    timeout = REQUEST_S
    wbufsize = -1
    disable_nagle_algorithm = True
    server: BoundedServer

    def handle_one_request(self) -> None:
        self.server.expect_request(self.connection)
        super().handle_one_request()

    def do_POST(self) -> None:
        body = self._read_body()
        if body is None:
            return
        self.server.request_arrived(self.connection)
        try:
            answer = self.server.answer_post(self.path, body)
        except IndelibleError as error:
            _log.error("not signed: %s", error)
            answer = Answer(500, TEXT, b"nothing was signed: see what the process prints\n")
        self._answer(answer)

    def do_GET(self) -> None:
        self.server.request_arrived(self.connection)
        try:
            answer = self.server.answer_get(self.path)
        except IndelibleError as error:
            _log.error("not read: %s", error)
            answer = Answer(500, TEXT, b"see what the process prints\n")
        self._answer(answer)

    def _read_body(self) -> bytes | None:
        """All of it; None where it was refused or cut off."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(411, b"expected a Content-Length\n")
            return None
        if len(length) > 10 or int(length) > MAX_REQUEST_BYTES:
            self._refuse(413, f"expected at most {MAX_REQUEST_BYTES} bytes\n".encode())
            return None
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: int, why: bytes) -> None:
        """Without having read the body: what comes next isn't a request."""
        self.close_connection = True
        self._answer(Answer(status, TEXT, why))

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        _log.debug("request", extra={"client": self.client_address[0]})


class _UnixHandler(_Handler):
    disable_nagle_algorithm = False  # which such a socket doesn't have

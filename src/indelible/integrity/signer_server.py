"""The front of a signer: HTTP over a Unix socket, for the accounts that may use it.

`POST /add-checkpoint`; `GET /key`, `/rotations` and `/checkpoint`. Who connects is asked of the
kernel (SO_PEERCRED), so that the socket's path and mode need keep nobody away.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.signer import CheckpointGuard, described
from indelible.integrity.witness import Answer, refusal
from indelible.integrity.witness_server import MAX_CONNECTIONS, REQUEST_S, BoundedServer
from indelible.tlog import ADD_CHECKPOINT_PATH

_log = logging.getLogger(__name__)

_ANSWER_S: Final = 2.0
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class SignerServer(BoundedServer):
    """Serves one signer at the socket `path` to processes of its own account and of `accounts`."""

    address_family = socket.AF_UNIX

    def __init__(
        self,
        guard: CheckpointGuard,
        path: Path,
        *,
        accounts: Collection[int] = (),
        max_connections: int = MAX_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        """Listens at once. `accounts` are user ids. Raises `ConfigurationError` where the path is
        something else's, or others could put something else there.

        A socket that is there already and that nobody answers at is what a killed one left.
        """
        self._guard = guard
        self._path = path
        self._file: tuple[int, int] | None = None
        self._accounts = {os.geteuid(), *accounts}
        _clear(path)
        before = os.umask(0o177)
        try:
            super().__init__(str(path), max_connections=max_connections, request_s=request_s)
            if accounts:
                path.chmod(0o666)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"can't listen at {path}: {error}") from None
        finally:
            os.umask(before)

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self._file = _identity(self._path)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The connection, and who is at its other end, in place of an address."""
        connection, _ = self.socket.accept()
        _, uid, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        return connection, (f"uid {uid}", uid)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if client_address[1] not in self._accounts:
            _log.warning("refused: a process of user id %s, which isn't allowed", client_address[1])
            return False
        return super().verify_request(request, client_address)

    def answer_post(self, path: str, body: bytes) -> Answer:
        if path != f"/{ADD_CHECKPOINT_PATH}":
            return refusal(404, f"expected {ADD_CHECKPOINT_PATH}")
        answer = self._guard.sign(body)
        if answer.status == 422:
            _log.error("not signed: %s", answer.body.decode().strip())
        return answer

    def answer_get(self, path: str) -> Answer:
        return described(self._guard, path)

    def server_close(self) -> None:
        with contextlib.suppress(OSError):
            # Unless it never was ours, or another's is there by now.
            if _identity(self._path) == self._file:
                self._path.unlink()
        super().server_close()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _clear(path: Path) -> None:
    """Take away the socket that a killed signer left, and nothing else.

    Raises `DeliveryError` where a live one's is there.
    """
    try:
        folder = path.parent.stat()
        if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
            raise ConfigurationError(
                f"expected {path.parent} to be writable by its owner only: others could put a "
                "socket of theirs there"
            )
        found = path.lstat()
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigurationError(f"expected a socket of ours or nothing at {path}, it is else")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S)
            # A full backlog, a time-out: somebody listens there as well.
            if connection.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise DeliveryError(
                    f"expected nobody to listen at {path}, another process does: stop it first, or "
                    "serve at another path"
                )
        path.unlink()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ConfigurationError(f"expected a folder at {path.parent}, there is none") from None
    except OSError as error:
        raise ConfigurationError(f"can't listen at {path}: {error.strerror}") from None

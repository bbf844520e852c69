"""A trail with anchors, in a folder, as an operator sets it up; and what it is anchored in."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from indelible import Trail
from indelible.integrity.anchors import Anchor
from indelible.store.protocol import AnchorRow
from indelible.tlog import Checkpoint, Hash, SigningKey, Size, VerifierKey, sign_checkpoint
from tests.integrity.witnessed import ORIGIN, Operated
from tests.integrity.witnesses import Answer, answering, until
from tests.servers import free_port

BUCKET = "anchors"
_START_S = 60.0


class Anchored(Operated):
    """The folder of a trail; `anchors` is the text of its `[anchors.…]`."""

    def __init__(self, directory: Path, anchors: str, *, witness: str = "") -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.path = directory / "trail.db"
        self.config = directory / "indelible.toml"
        self.anchor(anchors, witness=witness)
        if not self.path.exists():
            Trail.create(self.config).close()
        public = directory / "trail.db.keys" / "trail.pub"
        self.key = VerifierKey.parse(public.read_text().strip())

    def anchor(self, anchors: str, *, witness: str = "") -> None:
        self.config.write_text(
            f'[trail]\nurl = "sqlite:///trail.db"\norigin = "{ORIGIN}"\n{witness}{anchors}'
        )


def wait_until_anchored(trail: Trail) -> None:
    """Until each anchor of the configuration has all that is there."""

    def is_so() -> bool:
        rows = trail.anchors()
        return len(rows) == len(trail.policy.anchors) and all(
            row.size == trail.reader.size and not row.fault for row in rows
        )

    until(is_so)


KEY = SigningKey.generate(ORIGIN)
"""Of what is given to anchors that no trail stands behind."""


def checkpoint(size: int) -> tuple[bytes, Checkpoint]:
    made = Checkpoint(origin=ORIGIN, size=Size(size), root=Hash(size.to_bytes(32, "big")))
    return sign_checkpoint(made, KEY), made


def keep(anchor: Anchor, size: int, last: AnchorRow | None = None) -> AnchorRow:
    """Have it take a checkpoint; what the trail's file would say of that."""
    note, made = checkpoint(size)
    took = anchor.keep(note, made, last)
    return AnchorRow(anchor.name, made.size, took.time, note, took.answer, took.outside)


class Authority:
    """A timestamp authority with a CA of its own; `openssl ts` signs."""

    def __init__(self, directory: Path, *, seconds: int = 86_400, name: str = "tsa") -> None:
        self.directory = directory
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self._config = directory / "ts.conf"
        self._config.write_text(_TS_CONF.format(directory=directory))
        (directory / "serial").write_text("01\n")
        self._make_certificates(f"{name} root", name, seconds)
        self._signing = threading.Lock()
        self.queries: list[bytes] = []

    def _make_certificates(self, root: str, leaf: str, seconds: int) -> None:
        """Valid for so long from now on, to the second, which `openssl req` can't say."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.ends = now.timestamp() + seconds
        root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

        def certificate(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
            return x509.CertificateBuilder(
                issuer_name=_name(root),
                subject_name=_name(name),
                public_key=key.public_key(),
                serial_number=x509.random_serial_number(),
                not_valid_before=now - timedelta(seconds=1),
                not_valid_after=now + timedelta(seconds=seconds),
            )

        ca = certificate(root, root_key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING])
        tsa = certificate(leaf, leaf_key).add_extension(usage, critical=True)
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(ca.sign(root_key, hashes.SHA256()).public_bytes(pem))
        (self.directory / "tsa.pem").write_bytes(
            tsa.sign(root_key, hashes.SHA256()).public_bytes(pem)
        )
        (self.directory / "tsa.key").write_bytes(
            leaf_key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def reply(self, query: bytes) -> bytes:
        """The response to a query."""
        with self._signing:
            self.queries.append(query)
            asked, said = self.directory / "query.tsq", self.directory / "reply.tsr"
            asked.write_bytes(query)
            openssl(
                *("ts", "-reply", "-config", str(self._config), "-queryfile", str(asked)),
                *("-out", str(said)),
            )
            return said.read_bytes()

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        return Answer(200, "application/timestamp-reply", self.reply(body))

    @contextlib.contextmanager
    def serving(
        self, answer: Callable[[str, str, bytes], Answer | None] | None = None
    ) -> Iterator[str]:
        """The `[anchors.tsa]` of a server of it, or of one that says what `answer` says."""
        with answering(answer or self.answer) as url:
            yield self.section(url)

    def section(self, url: str, ca: Path | None = None) -> str:
        return (
            f'[anchors.tsa]\nkind = "rfc3161"\nurl = "{url}/tsr"\nca_file = "{ca or self.ca}"\n'
            "every_s = 0.1\ndeadline_s = 5.0\n"
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def openssl(*arguments: str, exit_code: int = 0) -> str:
    """What `openssl` says; it must end with this code."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


_TS_CONF = """
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = {directory}/serial
crypto_device = builtin
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class LockingServer:
    """moto's S3, which refuses to delete what is locked, in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        program = Path(sys.executable).parent / "moto_server"
        if not program.exists():
            pytest.fail("no moto: pip install 'moto[s3]' flask-cors")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(program), "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.make_bucket(BUCKET)
                return
            except BotoCoreError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.remove()
                    pytest.fail("moto didn't start")
                time.sleep(0.05)

    def make_bucket(self, name: str, *, locks: bool = True) -> None:
        client = s3_client(self.url)
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)

    def remove(self) -> None:
        self._process.kill()
        self._process.wait(_START_S)


def s3_client(url: str) -> Any:
    return boto3.session.Session(
        aws_access_key_id="a", aws_secret_access_key="s", region_name="us-east-1"
    ).client(
        "s3",
        endpoint_url=url,
        config=Config(
            connect_timeout=5,
            read_timeout=20,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )


def s3_section(url: str, bucket: str = BUCKET, name: str = "vault") -> str:
    return (
        f'[anchors.{name}]\nkind = "s3"\nbucket = "{bucket}"\nprefix = "audit/"\n'
        f'endpoint = "{url}"\nretention_days = 7\nevery_s = 0.1\ndeadline_s = 10.0\n'
    )


_DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


def weakens(method: str, path: str) -> bool:
    """Whether a request would change how an object is kept: moto 5.2 lets that be weakened."""
    return method == "PUT" and "retention" in path.partition("?")[2]


@contextlib.contextmanager
def between(url: str, refuses: Callable[[str, str], bool]) -> Iterator[str]:
    """A front that hands requests on to `url`, but for those that it refuses by method and path."""
    port = int(url.rsplit(":", 1)[1])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if refuses(self.command, self.path):
                self.send_response(403)
                self.send_header("Content-Length", str(len(_DENIED)))
                self.end_headers()
                self.wfile.write(_DENIED)
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            self.send_response(response.status)
            for key, value in response.headers.items():
                if key.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            connection.close()

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

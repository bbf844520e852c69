"""The witness on the wire: bounded, patient with nobody, and the same witness from every client."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.http_exchange import exchange
from indelible.integrity.witness import Witness
from indelible.integrity.witness_server import WitnessServer
from indelible.tlog import MAX_REQUEST_BYTES, open_cosignature, witnessed_checkpoint_path
from tests.integrity.test_witness import LOG, ORIGIN, asking, signed
from tests.integrity.witnesses import Answer, WitnessProcess, answering, request, run, until


class Served:
    def __init__(self, directory: Path) -> None:
        Witness.create(directory, "witness.example/w").close()
        self.witness = Witness.open(directory)
        self.witness.file.add_tlog(ORIGIN, LOG.verifier_key, int(time.time()))
        self.server = WitnessServer(self.witness, "127.0.0.1", 0, max_connections=4, request_s=0.5)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.port

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.witness.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("indelible.integrity.witness_file.BUSY_TIMEOUT_S", 0.2)
    made = Served(tmp_path / "w")
    yield made
    made.close()


def test_statuses_and_types_arrive(served: Served) -> None:
    """As the witness decided; below any prefix."""
    cosigned = request(served.port, "POST", "/some/prefix/add-checkpoint", asking(0, 10))
    assert cosigned.status == 200
    open_cosignature(cosigned.body, signed(10), served.witness.verifier_key)
    assert request(served.port, "POST", "/add-checkpoint", asking(0, 20)) == Answer(
        409, "text/x.tlog.size", b"10\n"
    )
    shown = request(served.port, "GET", f"/some/{witnessed_checkpoint_path(ORIGIN)}")
    assert shown.status == 200
    assert shown.body.endswith(cosigned.body)
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", f"/{'0' * 64}/checkpoint", 404),
        ("GET", "/add-checkpoint", 404),
        ("POST", "/", 404),
        ("PUT", "/add-checkpoint", 501),
    ):
        assert request(served.port, method, path, b"").status == status


def test_a_connection_is_kept_for_further_requests(served: Served) -> None:
    """Growth over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    for size in range(1, 20):
        connection.request("POST", "/add-checkpoint", asking(size - 1, size))
        response = connection.getresponse()
        assert (response.status, len(response.read()) > 0) == (200, True)
    connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1e3\r\n\r\n", b"411"),
        (
            b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Length: 3\r\n\r\nabc",
            b"411",
        ),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (1 << 40), b"413"),
        (
            b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
            % (MAX_REQUEST_BYTES + 1),
            b"413",
        ),
        (b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n", b"400"),
    ],
)
def test_what_is_too_long_or_unclear_is_refused(served: Served, head: bytes, status: bytes) -> None:
    """Before anything of it is kept, and the connection ends."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head)
        answer = b""
        while more := connection.recv(4096):
            answer += more
    assert status in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("start", [b"", b"POST /add-ch", b"POST /a HTTP/1.1\r\nA: b\r\n"])
def test_who_drips_is_cut_off(served: Served, start: bytes) -> None:
    """A byte now and then doesn't hold a place for longer than a request may take."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        with pytest.raises(OSError):
            connection.sendall(start)
            while time.monotonic() - began < 20:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began < 20


def test_places_are_few_and_come_back(served: Served) -> None:
    """Who takes all places keeps others out only until the time for a request is over."""
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(6)]
    until(lambda: gets_an_answer(served.port), timeout_s=20)
    for each in idle:
        each.close()


def gets_an_answer(port: int) -> bool:
    try:
        return request(port, "GET", "/").status == 404
    except (OSError, http.client.HTTPException):
        return False


def test_a_file_that_can_t_be_written_cosigns_nothing(served: Served) -> None:
    """The answer is a 500; what happened is in the witness's own tlog, not in the answer."""
    path = served.witness.file.path
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = request(served.port, "POST", "/add-checkpoint", asking(0, 10))
    assert (answer.status, str(path).encode() in answer.body) == (500, False)
    assert request(served.port, "POST", "/add-checkpoint", asking(0, 10)).status == 200


def test_an_operator_sets_one_up_and_is_alarmed(tmp_path: Path) -> None:
    """init, add, serve; cron's check turns 1 when a tlog falls silent; the webhook is told, too."""
    told: list[bytes] = []

    def hook(method: str, path: str, body: bytes) -> Answer:
        told.append(body)
        return Answer(204 if len(told) > 1 else 503, "text/plain", b"")

    said = run("witness", "init", "witness.example/w", cwd=tmp_path)
    assert "witness witness.example/w witness.example/w+" in said
    run("witness", "init", "witness.example/w", cwd=tmp_path, exit_code=2)
    run("witness", "add", str(LOG.verifier_key), cwd=tmp_path)
    said = run("witness", "add", str(LOG.verifier_key), cwd=tmp_path, exit_code=2)
    assert "isn't witnessed yet" in said
    assert "never" in run("witness", "check", cwd=tmp_path)
    with answering(hook) as url:
        process = WitnessProcess(
            tmp_path / "witness", "witness.example/w", "--alarm-after", "1", "--webhook", url
        )
        process.start()
        try:
            assert process.post(asking(0, 10)).status == 200
            until(lambda: len(told) >= 2)
        finally:
            process.kill()
    assert len(told) == 2, "told again until it was heard, and then no more"
    assert all(b'"what":"silent"' in each for each in told)
    said = run("witness", "check", "--alarm-after", "1", cwd=tmp_path, exit_code=1)
    assert f"silent: {ORIGIN}: nothing was heard of it for" in said
    run("witness", "retire", ORIGIN, cwd=tmp_path)
    assert "retired" in run("witness", "check", "--alarm-after", "1", cwd=tmp_path)


# -- the client's side of HTTP --------------------------------------------------------------------


def ask(url: str, deadline_s: float = 5.0) -> int:
    return exchange("POST", url, deadline_s=deadline_s, max_bytes=1_000, body=b"x").status


def test_an_answer_is_bounded_in_time_and_size() -> None:
    """Silence, a drip, too much, no HTTP, nobody there: each a DeliveryError, in time."""
    with (
        answering(lambda *_: None) as url,
        pytest.raises(DeliveryError, match=r"none within 0\.3 s"),
    ):
        ask(url, 0.3)
    with (
        answering(lambda *_: Answer(200, "text/plain", bytes(1_001))) as url,
        pytest.raises(DeliveryError, match="at most 1000 bytes"),
    ):
        ask(url)
    with (
        raw_server(b"HTTP/1.1 200 OK\r\n\r\n", b"x") as port,
        pytest.raises(DeliveryError, match=r"within 0\.5 s"),
    ):
        ask(f"http://127.0.0.1:{port}/", 0.5)
    with raw_server(b"", b"HTTP/1.1 200 OK\r\nA: ") as port, pytest.raises(DeliveryError):
        ask(f"http://127.0.0.1:{port}/", 0.5)
    with (
        raw_server(b"SSH-2.0-OpenSSH\r\n", b"") as port,
        pytest.raises(DeliveryError, match="expected an answer of"),
    ):
        ask(f"http://127.0.0.1:{port}/")
    with pytest.raises(DeliveryError, match="ConnectionRefusedError"):
        ask("http://127.0.0.1:1/")
    redirect = Answer(302, "text/plain", b"")
    with answering(lambda *_: redirect) as url:
        assert ask(url) == 302


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "ftp://w/", "http://", "http://w:x/", "http://w /", "//w"]
)
def test_other_urls_are_refused(url: str) -> None:
    """Only http and https, with a host."""
    with pytest.raises(ConfigurationError, match="expected a URL like"):
        ask(url)


class raw_server:
    """Once asked, sends `first`, then `drip` again and again."""

    def __init__(self, first: bytes, drip: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._first, self._drip = first, drip
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> int:
        self._thread.start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(self._first)
                while self._drip:
                    connection.sendall(self._drip)
                    time.sleep(0.05)
            except OSError:
                pass

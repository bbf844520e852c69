"""A server that isn't trusted costs so many bytes and so many seconds, and no more."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigurationError
from indelible.integrity.faults import CheckpointError
from indelible.integrity.fetching import (
    HttpFetcher,
    OversizedAnswerError,
    UnreachableTrailError,
)
from indelible.integrity.remote import verify_remote
from indelible.integrity.tokens import Token
from indelible.tlog import SigningKey

Script = Callable[[bytes], Iterable[bytes]]
"""What a server sends to the request that it was sent; it hangs up behind the last."""

TIMEOUT_S = 0.4
OK = b"HTTP/1.1 200 OK\r\n"
TOKEN = Token("t" * 40)


class Raw:
    """A server that sends whatever it is told to."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.script: Script = lambda request: ()
        self.requests: list[bytes] = []
        self.sent = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(10)
                if self._context is None:
                    self._answer(connection)
                else:
                    with self._context.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        request = connection.recv(65_536)
        self.requests.append(request)
        for part in self.script(request):
            connection.sendall(part)
            self.sent += len(part)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.close()


def fetch(
    server: Raw, script: Script, *, max_bytes: int = 8192, with_token: bool = False
) -> object:
    server.script = script
    with contextlib.closing(
        HttpFetcher(server.url, TOKEN if with_token else None, timeout_s=TIMEOUT_S)
    ) as fetcher:
        return fetcher.fetch("tile/0/000", max_bytes=max_bytes, with_token=with_token)


def slowly(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A byte in a while, as long as somebody listens."""
    for part in parts:
        threading.Event().wait(0.05)
        yield part


def test_an_answer_is_read(raw: Raw) -> None:
    """By length, by chunks, or to the end of the connection; nothing where nothing is."""
    assert fetch(raw, lambda _: [OK, b"Content-Length: 3\r\n\r\n", b"abc"]) == b"abc"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    assert fetch(raw, lambda _: [OK, chunked]) == b"abc"
    assert fetch(raw, lambda _: [OK, b"\r\nabc"]) == b"abc"
    for status in (b"404", b"410"):
        assert fetch(raw, lambda _, s=status: [b"HTTP/1.1 " + s + b" Gone\r\n\r\n"]) is None
    (request, *_) = raw.requests
    assert request.startswith(b"GET /tile/0/000 HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity\r\n" in request and b"Authorization" not in request


@pytest.mark.parametrize(
    "head",
    [b"\r\n", b"Content-Length: 10000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"],
)
def test_ten_gigabytes_are_refused_unread(head: bytes, raw: Raw) -> None:
    """As soon as there is more than can be; the rest is never taken from the wire."""
    part = b"x" * 65_536
    framed = b"10000\r\n" + part + b"\r\n" if b"chunked" in head else part

    def script(_: bytes) -> Iterator[bytes]:
        return itertools.chain([OK, head], itertools.repeat(framed, 160_000))

    with pytest.raises(OversizedAnswerError, match="expected at most 8192 bytes, came more"):
        fetch(raw, script)
    assert raw.sent < 50_000_000


@pytest.mark.parametrize(
    "script",
    [
        lambda _: itertools.chain([OK, b"\r\n"], slowly(itertools.repeat(b"x"))),
        lambda _: itertools.chain([OK], slowly(itertools.repeat(b"X: y\r\n"))),
        lambda _: slowly(itertools.repeat(b"H")),
        lambda _: slowly(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
        lambda _: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda _: itertools.chain([OK, b"Content-Length: 5\r\n\r\nab"], slowly([b""] * 20)),
        lambda _: itertools.chain(
            [OK, b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], slowly(itertools.repeat(b"T: u\r\n"))
        ),
        lambda _: slowly([b""] * 20),
    ],
    ids=["body", "headers", "status", "slow 100s", "fast 100s", "half", "trailers", "silence"],
)
def test_an_answer_that_never_ends_is_given_up(script: Script, raw: Raw) -> None:
    """After one deadline for all of it, however it trickles."""
    with pytest.raises(UnreachableTrailError, match=r"came (none in time|something else)"):
        fetch(raw, script)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "came 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", "another encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "4 more bytes .* broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx", "something else"),
        (b"HTTP/1.1 206 Partial\r\n\r\nx", "came 206"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "came 503"),
        (b"SSH-2.0-OpenSSH\r\n", "something else"),
        (b"", "a closed connection|reset by peer"),
        (OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n", "something else"),
        (OK + b"X: y\r\n" * 200 + b"\r\n", "something else"),
    ],
)
def test_what_no_server_of_a_trail_says_is_no_answer(answer: bytes, said: str, raw: Raw) -> None:
    """No redirect is followed, nothing is unpacked, half an answer isn't believed."""
    with pytest.raises(UnreachableTrailError, match=said):
        fetch(raw, lambda _: [answer])
    assert all(request.startswith(b"GET /tile/0/000 ") for request in raw.requests)


def test_a_token_that_isn_t_taken_is_the_operator_s_to_change(raw: Raw) -> None:
    """And it isn't in what is said."""
    for status in (b"401", b"403"):
        with pytest.raises(ConfigurationError, match="is it the token of this trail") as caught:
            fetch(raw, lambda _, s=status: [b"HTTP/1.1 " + s + b" No\r\n\r\n"], with_token=True)
        assert "ttt" not in str(caught.value)
    assert b"Authorization: Bearer " + b"t" * 40 in raw.requests[0]


def test_a_connection_that_was_closed_between_two_answers_is_made_again(raw: Raw) -> None:
    """Once; a server may close what it kept."""
    raw.script = lambda _: [OK, b"Content-Length: 1\r\n\r\na"]
    with contextlib.closing(HttpFetcher(raw.url, timeout_s=TIMEOUT_S)) as fetcher:
        for _ in range(3):
            assert fetcher.fetch("x", max_bytes=10) == b"a"
        raw.script = lambda _: []
        with pytest.raises(UnreachableTrailError):
            fetcher.fetch("x", max_bytes=10)
    assert len(raw.requests) == 4


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.builds(
        lambda status, headers, body: (
            b"HTTP/1.1 %d X\r\n" % status
            + b"".join(b"%s: %s\r\n" % header for header in headers)
            + b"\r\n"
            + body
        ),
        st.integers(0, 999),
        st.lists(
            st.tuples(
                st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"X"]),
                st.sampled_from([b"chunked", b"-1", b"3", b"99999999999999999999", b"close", b""])
                | st.binary(max_size=20),
            ),
            max_size=4,
        ),
        st.binary(max_size=100),
    )
)
def test_whatever_is_answered_it_ends_in_bytes_or_our_own_error(raw: Raw, answer: bytes) -> None:
    """No other exception, no hang, no more bytes than were asked for."""
    with contextlib.suppress(UnreachableTrailError, OversizedAnswerError, ConfigurationError):
        content = fetch(raw, lambda _: [answer], max_bytes=50)
        assert content is None or len(content) <= 50


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["checkpoint", "tile/0/000.p/1"]), st.binary(max_size=200)))
def test_whatever_is_served_no_trail_is_made_of_it(paths: dict[str, bytes]) -> None:
    """Without the key nothing verifies."""
    key = SigningKey.generate("example.com/trail").verifier_key

    class Served:
        def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
            return paths.get(path)

    with pytest.raises((CheckpointError, UnreachableTrailError)):
        verify_remote(Served(), key)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "trail.example.com",
        "ftp://trail.example.com/",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@trail.example.com/",
        "https://trail.example.com/?a=b",
        "https://trail.example.com/#a",
        "https://trail.example.com:99999/",
        "https://trail.example.com:x/",
        "http://[::1/",
        "http://a b/",
        "http://trail.example.com/\r\nX: y",
        "http://trail.example.com/ü",
    ],
)
def test_what_is_no_url_of_a_trail_is_refused(url: str) -> None:
    """Without repeating it: a URL may have a password in it."""
    with pytest.raises(ConfigurationError, match="expected the URL of a trail") as caught:
        HttpFetcher(url)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_refused(url: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(ConfigurationError):
        HttpFetcher(url).close()


def test_a_token_is_sent_to_this_machine_or_over_tls() -> None:
    """Over plain HTTP everybody on the way could read what is in the trail from then on."""
    with pytest.raises(ConfigurationError, match="expected https://"):
        HttpFetcher("http://trail.example.com/", TOKEN)
    for url in ("https://trail.example.com/", "http://localhost:1/", "http://[::1]:1/"):
        HttpFetcher(url, TOKEN).close()
    HttpFetcher("http://trail.example.com/").close()


def test_an_address_of_ipv6_needs_no_port() -> None:
    """Its end isn't taken for one."""
    with (
        contextlib.closing(HttpFetcher("http://[::1]/", timeout_s=TIMEOUT_S)) as fetcher,
        pytest.raises(UnreachableTrailError, match="from ::1:80/checkpoint"),
    ):
        fetcher.fetch("checkpoint", max_bytes=1)


def test_over_tls_the_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an authority that the machine trusts, else there is no answer."""
    context = certified(tmp_path / "certificate.pem")
    server = Raw(context)
    try:
        with pytest.raises(UnreachableTrailError, match="a certificate that isn't trusted"):
            fetch(server, lambda _: [OK, b"Content-Length: 1\r\n\r\na"])
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        answer = [OK, b"Content-Length: 1\r\n\r\na"]
        assert fetch(server, lambda _: answer, with_token=True) == b"a"
        never = itertools.chain([OK, b"\r\n"], slowly(itertools.repeat(b"x")))
        with pytest.raises(UnreachableTrailError, match="none in time"):
            fetch(server, lambda _: never)
    finally:
        server.close()


def certified(path: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own for 127.0.0.1, which is left at `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = path.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return context

"""A file, and a webhook, as anchors: edited, cut, gone; sent elsewhere, endless, huge."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchor_file import FileAnchor
from indelible.integrity.anchor_webhook import WebhookAnchor
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import FileSettings, WebhookSettings
from indelible.store.protocol import AnchorRow
from indelible.tlog import Checkpoint, Hash, SigningKey, Size, sign_checkpoint
from tests.integrity.anchored import keep
from tests.integrity.witnessed import ORIGIN
from tests.integrity.witnesses import Answer, answering


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere.jsonl"


def file_at(path: Path) -> FileAnchor:
    return FileAnchor(FileSettings(name="disk", path=path), ORIGIN)


def sizes(path: Path, last: AnchorRow | None) -> list[int]:
    return [each.size for each in file_at(path).read_back(last).held]


# -- a file ---------------------------------------------------------------------------------------


def test_each_checkpoint_is_a_line(path: Path) -> None:
    """Of JSON, with the signed note; lines are only added."""
    first = keep(file_at(path), 5)
    begun = path.read_bytes()
    second = keep(file_at(path), 6, first)
    assert path.read_bytes().startswith(begun)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["checkpoint"].encode() for line in lines] == [first.note, second.note]
    assert sizes(path, second) == [5, 6]
    assert not second.outside


def test_of_a_long_file_the_newest_is_read_only(path: Path) -> None:
    """Before each checkpoint what is there is looked at: the end of it; all of it by `verify`."""
    row = None
    for size in range(5, 9):
        row = keep(file_at(path), size, row)
        with path.open("ab") as file:
            file.write(b'{"another": "' + b"x" * 1_900_000 + b'"}\n')
    newest = file_at(path).read_back(row, whole=False).held
    assert [each.size for each in newest] == [7, 8]
    assert sizes(path, row) == [5, 6, 7, 8]


EDITS = {
    "a-line-changed": lambda raw: raw.replace(rb"\n5\n", rb"\n4\n"),
    "a-line-taken-out": lambda raw: raw.split(b"\n", 1)[1],
    "the-last-taken-out": lambda raw: raw.rstrip(b"\n").rsplit(b"\n", 1)[0] + b"\n",
    "a-line-put-in-front": lambda raw: b"{}\n" + raw,
    "two-exchanged": lambda raw: b"\n".join([*reversed(raw.rstrip(b"\n").split(b"\n")), b""]),
    "a-byte-cut": lambda raw: raw[:-1],
    "emptied": lambda raw: b"",
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_file_that_was_edited(edit: str, path: Path) -> None:
    """Any line, however old: it is named, and nothing is added that would cover it up."""
    last = keep(file_at(path), 6, keep(file_at(path), 5))
    edited = EDITS[edit](path.read_bytes())
    path.write_bytes(edited)
    for again in (lambda: file_at(path).read_back(last), lambda: keep(file_at(path), 7, last)):
        with pytest.raises(AnchorMismatchError, match="isn't what it was when it took 6 entries"):
            again()
    assert path.read_bytes() == edited


def test_a_file_that_is_gone(path: Path) -> None:
    """Deleted, or on a disk that isn't mounted: no other is begun in its place."""
    last = keep(file_at(path), 5)
    path.unlink()
    with pytest.raises(AnchorMismatchError, match="its disk isn't mounted, or a line was changed"):
        file_at(path).read_back(last)
    with pytest.raises(AnchorMismatchError):
        keep(file_at(path), 6, last)
    assert not path.exists()


def test_half_a_line_that_a_crash_left(path: Path) -> None:
    """It was never acknowledged; the next begins on a line of its own."""
    last = keep(file_at(path), 5)
    with path.open("ab") as file:
        file.write(b'{"time":1,"checkpoint":"exam')
    assert sizes(path, last) == [5]
    last = keep(file_at(path), 6, last)
    assert sizes(path, last) == [5, 6]


def test_what_others_write_behind_is_left_out(path: Path) -> None:
    """Noise, JSON of another kind, a line without an end, another trail's checkpoints."""
    last = keep(file_at(path), 5)
    other = SigningKey.generate("another.example/trail")
    made = Checkpoint(origin=other.name, size=Size(9), root=Hash(bytes(32)))
    FileAnchor(FileSettings(name="b", path=path), other.name).keep(
        sign_checkpoint(made, other), made, None
    )
    with path.open("ab") as file:
        file.write(b"\xff\x00\n[1]\n{}\n" + b"[" * 100_000 + b"\n" + b"x" * 3_000_000)
    assert sizes(path, last) == [5]


def test_a_file_that_can_t_be_written(path: Path, tmp_path: Path) -> None:
    """Another folder in its place, or none above it."""
    with pytest.raises(DeliveryError, match=r"can't append to .*: No such file or directory"):
        keep(file_at(tmp_path / "no" / "such"), 5)
    path.mkdir()
    with pytest.raises(DeliveryError, match=r"can't append to .*: Is a directory"):
        keep(file_at(path), 5)
    with pytest.raises(DeliveryError, match="can't read"):
        file_at(path).read_back(None)


# -- a webhook ------------------------------------------------------------------------------------


def hook_at(url: str, token_file: Path | None = None, deadline_s: float = 5.0) -> WebhookAnchor:
    settings = WebhookSettings(name="siem", url=url, token_file=token_file, deadline_s=deadline_s)
    return WebhookAnchor(settings)


def test_each_checkpoint_is_posted(tmp_path: Path) -> None:
    """Its origin, size and root, and the note; acknowledged by any status of 2xx."""
    came: list[tuple[str, str, bytes]] = []

    def take(*request: str | bytes) -> Answer:
        came.append(request)  # type: ignore[arg-type]
        return Answer(202, "text/plain", b"thank you")

    with answering(take) as url:
        row = keep(hook_at(f"{url}/in?x=1"), 5)
    ((method, path, body),) = came
    assert (method, path) == ("POST", "/in?x=1")
    said = json.loads(body)
    assert said == {
        "origin": ORIGIN,
        "size": 5,
        "root": (5).to_bytes(32, "big").hex(),
        "checkpoint": (row.note or b"").decode(),
    }
    assert (row.receipt, row.outside) == (b"202", False)


def test_the_token_goes_to_who_was_named_and_no_further(tmp_path: Path) -> None:
    """A redirect is a failure: whoever it names gets neither checkpoint nor token."""
    token = tmp_path / "token"
    token.write_text("Sesame0penSesame0penSesame0penSes\n")
    token.chmod(0o600)
    raw: list[bytes] = []

    def serve(listening: socket.socket, location: str) -> None:
        with listening, listening.accept()[0] as connection:
            raw.append(connection.recv(65_536))
            connection.sendall(
                b"HTTP/1.1 307 Elsewhere\r\nLocation: " + location.encode() + b"\r\n"
                b"Content-Length: 0\r\n\r\n"
            )

    elsewhere: list[bytes] = []
    with answering(lambda method, path, body: elsewhere.append(body)) as other:  # type: ignore[func-returns-value]
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(listening, f"{other}/in"))
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises(DeliveryError, match="expected a status of 200 to 299, came 307"):
            keep(hook_at(f"http://127.0.0.1:{port}/", token), 5)
        thread.join()
    assert b"Authorization: Bearer Sesame0penSesame0penSesame0penSes\r\n" in raw[0]
    assert elsewhere == []


def test_a_hook_that_never_ends(tmp_path: Path) -> None:
    """Silent, dripping, endless or huge: it has failed for now, within the deadline."""
    with answering(lambda method, path, body: None) as url:
        late(f"{url}/")
    with (
        answering(lambda method, path, body: Answer(200, "", b"x" * 1_000_000)) as url,
        pytest.raises(DeliveryError, match="expected at most 65536 bytes"),
    ):
        keep(hook_at(url), 5)
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        with listening, listening.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while not ended.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=drip, args=(listening,))
    thread.start()
    late(f"http://127.0.0.1:{listening.getsockname()[1]}/")
    ended.set()
    thread.join()


def late(url: str) -> None:
    begun = time.monotonic()
    with pytest.raises(DeliveryError, match=r"none within 0\.4 s"):
        keep(hook_at(url, deadline_s=0.4), 5)
    assert time.monotonic() - begun < 5


def test_a_token_that_can_t_be_read(tmp_path: Path) -> None:
    """None there, one that others may read, one that is too short: said at the start."""
    token = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="expected a token at"):
        hook_at("http://127.0.0.1:1", token)
    token.write_text("Sesame0penSesame0penSesame0penSes")
    token.chmod(0o644)
    with pytest.raises(ConfigurationError, match="readable by its owner only"):
        hook_at("http://127.0.0.1:1", token)
    token.write_text("short")
    token.chmod(0o600)
    with pytest.raises(ConfigurationError, match="expected a token of 32 letters"):
        hook_at("http://127.0.0.1:1", token)

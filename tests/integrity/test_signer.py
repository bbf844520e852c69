"""A signer signs one history of its trail, for its own accounts, whatever it is asked."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import ClassVar

import pytest

from indelible import Trail
from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.faults import CONTRADICTED, SignerAwayError, SignerRefusedError
from indelible.integrity.key_ring import KeyRing, key_text
from indelible.integrity.sequencer import UNSIGNED, Sequencer
from indelible.integrity.signer import CheckpointGuard, hold
from indelible.integrity.signer_client import SignerClient
from indelible.integrity.signer_server import SignerServer
from indelible.integrity.verifier import verify_trail
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import (
    MAX_REQUEST_BYTES,
    SIZE_CONTENT_TYPE,
    AddCheckpoint,
    Checkpoint,
    Hash,
    SigningKey,
    Size,
    consistency_proof,
    format_add_checkpoint,
    format_checkpoint,
    open_checkpoint,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
)
from tests.integrity.signers import ORIGIN, SignerProcess, run
from tests.integrity.test_witness import FORKED, LEAVES, root_at
from tests.integrity.trails import delivery_at
from tests.integrity.witnesses import until
from tests.tlog.trees import MemoryTiles

KEY = SigningKey.generate(ORIGIN)


def checkpoint(size: int, leaves: list[Hash] = LEAVES, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin=origin, size=Size(size), root=root_at(size, leaves))


def asking(old: int, size: int, leaves: list[Hash] = LEAVES, origin: str = ORIGIN) -> bytes:
    proof = consistency_proof(MemoryTiles(leaves[:size]), Size(old), Size(size)) if size else ()
    text = format_checkpoint(checkpoint(size, leaves, origin)).encode()
    return format_add_checkpoint(
        AddCheckpoint(old=Size(old), proof=tuple(proof), signed_checkpoint=text)
    )


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[CheckpointGuard]:
    made = CheckpointGuard.create(tmp_path / "signer", KEY, key_text(KEY, None))
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerProcess]:
    """Whose trail nobody is at: for what isn't signed."""
    with SignerProcess(tmp_path_factory.mktemp("served") / "signer") as process:
        yield process


# -- what is signed -------------------------------------------------------------------------------


def test_growth_is_signed_and_nothing_else(guard: CheckpointGuard) -> None:
    """By the proof from the last size; not smaller, other, or unproven trees."""
    assert guard.sign(asking(0, 10)).status == 200
    for body, status in (
        (asking(0, 10), 409),
        (asking(9, 10), 409),
        (asking(10, 12, FORKED), 422),
        (asking(10, 10, FORKED), 422),
        (asking(0, 9), 409),
        (asking(0, 0), 409),
        (asking(10, 12, origin="example.com/another"), 404),
        (asking(10, 12).replace(b"old 10", b"old 13"), 409),
        (asking(10, 12).replace(ORIGIN.encode(), b"\n" + ORIGIN.encode()), 400),
        (asking(10, 12) + b"an extension\n", 400),
        (b"", 400),
        (bytes(MAX_REQUEST_BYTES + 1), 400),
        (b"old 10\n\n\xff\xff\n", 400),
        (b"old 10\n\nindelible-key-rotation/1\norigin a\nsize 1\n", 400),
    ):
        assert guard.sign(body).status == status, body
    assert guard.last.size == 10
    assert guard.sign(asking(10, 600)).status == 200


def test_the_same_tree_again_gets_the_same_bytes(guard: CheckpointGuard) -> None:
    """Whoever was killed before the answer came asks again."""
    first = guard.sign(asking(0, 300))
    assert guard.sign(asking(300, 300)) == first
    note = format_checkpoint(checkpoint(300)).encode() + b"\n" + first.body
    assert open_checkpoint(note, origin=ORIGIN, log_key=KEY.verifier_key).checkpoint.size == 300


def test_nothing_is_signed_that_is_not_on_disk(guard: CheckpointGuard) -> None:
    """A state that can't be written: no signature leaves."""
    with contextlib.closing(
        sqlite3.connect(guard.directory / "signer.db", isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DeliveryError):
            guard.sign(asking(0, 10))
    assert guard.last.size == 0
    assert guard.sign(asking(0, 10, FORKED)).status == 200


def test_another_key_in_the_file_is_refused(guard: CheckpointGuard) -> None:
    """Also with the same name; and a folder without its state signs nothing."""
    other = SigningKey.generate(ORIGIN)
    (guard.directory / "trail.key").write_text(key_text(other, None))
    with pytest.raises(ConfigurationError, match="or a rotation from it, came"):
        CheckpointGuard.open(guard.directory)
    (guard.directory / "trail.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        CheckpointGuard.open(guard.directory)
    (guard.directory / "signer.db").unlink()
    with pytest.raises(ConfigurationError, match="If its state was lost"):
        CheckpointGuard.open(guard.directory)


def test_one_process_has_the_folder(guard: CheckpointGuard) -> None:
    """A second signer on one state is turned away, also by another path to it."""
    with (
        hold(guard.directory),
        pytest.raises(DeliveryError, match="another process signs there"),
        hold(guard.directory / ".." / guard.directory.name),
    ):
        pass


# -- who may ask ----------------------------------------------------------------------------------


def test_what_is_shown(served: SignerProcess) -> None:
    """Key, rotations, last checkpoint; the socket is its owner's; no more places than that."""
    assert served.ask("GET", "key").body.decode().strip() == str(served.key)
    assert served.ask("GET", "rotations").body == b""
    assert served.ask("GET", "checkpoint").status == 404
    assert served.ask("GET", "trail.key").status == 404
    assert served.ask("GET", "../signer/trail.key").status == 404
    assert served.ask("POST", "sign", b"").status == 404
    assert served.ask("PUT", "add-checkpoint", b"").status == 501
    assert served.socket.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["tls", "huge", "chunked", "long"],
)
def test_garbage_is_refused(served: SignerProcess, sent: bytes) -> None:
    """And the next one is answered."""
    with served.connect() as connection:
        connection.settimeout(10)
        connection.sendall(sent)
        assert connection.recv(4096).startswith((b"HTTP/1.1 4", b"<"))
    assert served.ask("GET", "key").status == 200


def test_who_is_slow_or_half_gone_or_many_holds_up_nobody_for_long(tmp_path: Path) -> None:
    """Connections that say nothing, or half, are cut off; more than there are places wait."""
    guard = CheckpointGuard.create(tmp_path / "signer", KEY, key_text(KEY, None))
    path = SignerProcess(tmp_path / "signer").socket
    server = SignerServer(guard, path, max_connections=4, request_s=0.5)
    thread = serving(server)
    try:
        held = []
        for start in (b"", b"POST /add-ch", b"POST /add-checkpoint HTTP/1.1\r\nA: b\r\n"):
            for _ in range(3):
                connection = socket.socket(socket.AF_UNIX)
                held.append(connection)
                connection.connect(str(path))
                with contextlib.suppress(OSError):
                    connection.sendall(start)
        held[-1].shutdown(socket.SHUT_WR)
        client = SignerClient(path, KEY.verifier_key, deadline_s=1)

        def is_signed() -> bool:
            with contextlib.suppress(DeliveryError):
                return bool(client.sign(checkpoint(10), MemoryTiles(LEAVES[:10])))
            return False

        until(is_signed)
        for connection in held:
            connection.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        guard.close()
    assert not path.exists()


def serving(server: SignerServer):  # type: ignore[no-untyped-def]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    return thread


AS_NOBODY = """
import os, sys
path = sys.argv[1]
from pathlib import Path
from indelible.integrity.http_exchange import exchange
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    answer = exchange("GET", "http://signer/key", deadline_s=5, max_bytes=999, via=Path(path))
    print(answer.status)
except Exception as error:
    print(error)
"""


def as_nobody(process: SignerProcess) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(process.socket)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_account_is_turned_away(tmp_path: Path) -> None:
    """By the socket's mode; by the kernel's word on who it is, where that lets it through; and let
    in where it is named."""
    process = SignerProcess(tmp_path / "signer")
    process.socket.parent.chmod(0o755)
    with process:
        assert "PermissionError" in as_nobody(process)
        process.socket.chmod(0o666)
        assert "200" not in as_nobody(process)
        said = process.stop()
        assert "refused: a process of user id 65534" in said
    allowing = SignerProcess(tmp_path / "signer", "--account", "nobody")
    allowing.socket.parent.chmod(0o755)
    with allowing:
        assert as_nobody(allowing).strip() == "200"
        assert allowing.ask("GET", "key").status == 200


@pytest.mark.parametrize("kind", ["link", "file", "link to a socket", "open folder"])
def test_a_path_that_is_something_else_s_is_refused(
    guard: CheckpointGuard, tmp_path: Path, kind: str
) -> None:
    """A link isn't followed, a file isn't replaced, a folder where others write isn't used."""
    path = SignerProcess(tmp_path / "signer").socket
    other = path.with_name("other")
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        other.write_text("precious")
        path.symlink_to(other)
    elif kind == "link to a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(other))
        path.symlink_to(other)
    else:
        path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"expected a socket of ours|by its owner only"):
        SignerServer(guard, path)
    assert kind == "open folder" or os.path.lexists(path)


def test_a_socket_that_a_killed_one_left_is_replaced(tmp_path: Path) -> None:
    """SIGKILL leaves the socket's path; the next one listens there, a second one doesn't."""
    process = SignerProcess(tmp_path / "signer")
    process.start()
    process.stop(signal.SIGKILL)
    assert process.socket.exists()
    with process:
        assert process.ask("GET", "key").status == 200
        said = run(
            *("signer", "serve", "--socket", str(process.socket)),
            *("--directory", str(process.directory)),
            cwd=tmp_path,
            exit_code=4,
        )
        assert "another process signs there" in said
        assert process.ask("GET", "key").status == 200


def test_a_live_signer_s_socket_is_left_alone(tmp_path: Path) -> None:
    """Another signer that is given its path doesn't take it; and one that ends takes away its own
    only."""
    process = SignerProcess(tmp_path / "signer")
    other = SignerProcess(tmp_path / "other", origin="example.com/other")
    serve = ("signer", "serve", "--socket", str(process.socket), "--directory", "other")
    with process:
        said = run(*serve, cwd=tmp_path, exit_code=4)
        assert "another process does" in said
        assert process.ask("GET", "key").body == f"{process.key}\n".encode()
        process.socket.unlink()
        other.socket = process.socket
        with other:
            process.stop()
            assert other.ask("GET", "key").body == f"{other.key}\n".encode()
        assert not process.socket.exists()


# -- the client -----------------------------------------------------------------------------------


def test_whoever_answers_in_its_place_is_not_believed(tmp_path: Path) -> None:
    """A process that took the socket's path over can only be away."""
    impostor = SignerProcess(tmp_path / "impostor")
    with impostor:
        client = SignerClient(impostor.socket, KEY.verifier_key)
        with pytest.raises(DeliveryError, match="expected the signature of"):
            client.sign(checkpoint(10), MemoryTiles(LEAVES[:10]))
    with pytest.raises(DeliveryError, match="FileNotFoundError"):
        client.sign(checkpoint(10), MemoryTiles(LEAVES[:10]))


class Liar(BaseHTTPRequestHandler):
    """Whatever it is asked, it says no; the last signed checkpoint is somebody else's, or none."""

    refusals: ClassVar = [
        (409, SIZE_CONTENT_TYPE, b"1000000\n"),
        (422, "text/plain", b"not a continuation\n"),
    ]
    shown: ClassVar[bytes] = b""

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.refusals.append(self.refusals.pop(0))
        self.answer(*self.refusals[0])

    def do_GET(self) -> None:
        has_one = self.path == "/checkpoint" and self.shown
        self.answer(200 if has_one else 404, "text/plain", self.shown)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def lying(path: Path) -> Iterator[None]:
    server = ThreadingUnixStreamServer(str(path), Liar)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        path.unlink()


def test_a_refusal_is_believed_by_what_the_key_signed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took the socket over can't stop a trail by saying that another one was signed."""
    path = SignerProcess(tmp_path / "signer").socket
    client = SignerClient(path, KEY.verifier_key)
    tiles = MemoryTiles(LEAVES[:10])
    stranger = sign_checkpoint(checkpoint(12), SigningKey.generate(ORIGIN))
    with lying(path):
        for shown in (b"", stranger, sign_checkpoint(checkpoint(9), KEY)):
            monkeypatch.setattr(Liar, "shown", shown)
            for _ in Liar.refusals:
                with pytest.raises(SignerAwayError):
                    client.sign(checkpoint(10), tiles)
        for shown, why in (
            (sign_checkpoint(checkpoint(12), KEY), "it signed a tree of size 12, ours has 10"),
            (sign_checkpoint(checkpoint(10, FORKED), KEY), "another tree than ours of size 10"),
        ):
            monkeypatch.setattr(Liar, "shown", shown)
            for _ in Liar.refusals:
                with pytest.raises(SignerRefusedError, match=why):
                    client.sign(checkpoint(10), tiles)


# -- a trail and its signer -----------------------------------------------------------------------


class Site:
    """A trail whose key only the signer has."""

    def __init__(self, directory: Path, signer: SignerProcess) -> None:
        self.directory = directory
        self.signer = signer
        self.config = directory / "indelible.toml"
        self.path = directory / "trail.db"
        self.configure("trail.db")

    def configure(self, file: str, signer: SignerProcess | None = None) -> None:
        signer = signer or self.signer
        self.config.write_text(
            f'[trail]\nurl = "sqlite:///{file}"\nsigner = "{signer.url}"\n'
            f'origin = "{signer.key.name}"\n'
            'journals = "trail.db.journals"\n[relay]\npoll_s = 0.01\n'
        )

    def restore(self, backup: Path) -> None:
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(backup, self.path)

    def backup(self) -> Path:
        copy = self.directory / "backup.db"
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return copy


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with SignerProcess(tmp_path / "signer") as signer:
        yield Site(tmp_path, signer)


def signed_size(trail: Trail) -> int:
    note = trail.reader.state().checkpoint
    return 0 if note is None else int(parse_checkpoint(parse_note(note).text).size)


def record(trail: Trail, count: int = 3) -> None:
    for n in range(count):
        trail.record("invoice.refund", details={"n": n, "at": str(time.time_ns())})
    trail.flush()


def test_a_trail_without_a_key_of_its_own(site: Site) -> None:
    """What runs the sequencer has no key file; the trail verifies by the signer's key."""
    run("init", cwd=site.directory)
    keys = site.directory / "trail.db.keys"
    assert not (keys / "trail.key").exists()
    with Trail.open(site.config) as trail:
        record(trail)
        until(lambda: signed_size(trail) == trail.reader.size)
        assert trail.verify().vkey == str(site.signer.key)
    assert verify_trail(site.path, site.signer.key).size >= 3
    said = run("status", cwd=site.directory)
    assert "not signed" not in said
    assert f"of {ORIGIN}" in run("verify", cwd=site.directory)


def test_while_the_signer_is_away_entries_are_numbered_and_then_signed(site: Site) -> None:
    """Nothing waits and nothing is lost; it is noticed; when it is back all is signed."""
    run("init", cwd=site.directory)
    with Trail.open(site.config) as trail:
        record(trail)
        until(lambda: signed_size(trail) == trail.reader.size)
        site.signer.stop()
        before = signed_size(trail)
        record(trail, 5)
        assert trail.reader.size >= before + 5
        assert signed_size(trail) == before
        until(lambda: [each.action for each in trail.notices()] == [UNSIGNED])
        said = run("status", cwd=site.directory, exit_code=1)
        assert "not signed as it should be: expected an answer of" in said
        record(trail, 2)
        assert [each.action for each in trail.notices()] == [UNSIGNED], "once"
        site.signer.start()
        until(lambda: signed_size(trail) == trail.reader.size)
        assert trail.verify().size == trail.reader.size


def test_a_trail_is_opened_while_the_signer_is_away(site: Site) -> None:
    """It relays, unsigned, and the signer's return is enough."""
    run("init", cwd=site.directory)
    site.signer.stop()
    with Trail.open(site.config) as trail:
        record(trail)
        assert trail.reader.size >= 3
        assert signed_size(trail) == 0 or signed_size(trail) < trail.reader.size
        site.signer.start()
        until(lambda: signed_size(trail) == trail.reader.size)


def test_a_hung_signer_is_away_too(site: Site) -> None:
    """Stopped in the middle (SIGSTOP): events go on being numbered."""
    run("init", cwd=site.directory)
    assert site.signer.process is not None
    with Trail.open(site.config) as trail:
        record(trail)
        site.signer.process.send_signal(signal.SIGSTOP)
        try:
            before = trail.reader.size
            record(trail, 4)
            assert trail.reader.size >= before + 4
        finally:
            site.signer.process.send_signal(signal.SIGCONT)
        until(lambda: signed_size(trail) == trail.reader.size)


def test_a_rolled_back_trail_is_signed_no_more(site: Site) -> None:
    """The signer knows more than the backup: exit 3 and 1, the words say what to do, and the way on
    is a new trail with a new signer, in which what waited is."""
    run("init", cwd=site.directory)
    with Trail.open(site.config) as trail:
        record(trail)
    backup = site.backup()
    with Trail.open(site.config) as trail:
        record(trail)
        until(lambda: signed_size(trail) == trail.reader.size)
        lost = int(trail.reader.size)
    site.restore(backup)
    with Trail.open(site.config) as trail:
        until(lambda: trail.refusal is not None)
        trail.record("invoice.waits")
        size = trail.reader.size
        with pytest.raises(SignerRefusedError, match="it signed a tree of size"):
            trail.flush(2)
        assert trail.reader.size == size
    assert "init --continue" in run("relay", "--once", cwd=site.directory, exit_code=3)
    assert "it signed a tree of size" in run("status", cwd=site.directory, exit_code=1)
    last = site.directory / "last"
    last.write_bytes(site.signer.ask("GET", "checkpoint").body)
    with SignerProcess(site.directory / "second", origin="example.com/trail-2") as second:
        site.configure("second.db", second)
        said = run(
            *("init", "--continue", "trail.db", "--checkpoint", str(last)), cwd=site.directory
        )
        assert f"which had {lost} entries; {size} of them are kept" in said
        with Trail.open(site.config) as trail:
            trail.flush()
            found = [found.event.action for found in trail.events(action="invoice.*")]
            assert "invoice.waits" in found
            assert "trail.contradicted" in [each.action for each in trail.notices()]
            until(lambda: signed_size(trail) == trail.reader.size)
            trail.verify()


def test_each_refusal_is_noticed_once(site: Site) -> None:
    """Also the one behind a time in which it signed again."""
    run("init", cwd=site.directory)
    state = site.signer.directory / "signer.db"
    sizes = []
    for refusals in (1, 2):
        with Trail.open(site.config) as trail:
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)
        backup = site.backup()
        site.signer.stop()
        kept = shutil.copy(state, site.directory / "kept.db")
        site.signer.start()
        with Trail.open(site.config) as trail:
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)
        site.restore(backup)
        shutil.rmtree(site.directory / "trail.db.journals")
        for _ in range(2):
            with Trail.open(site.config) as trail:
                until(lambda: trail.refusal is not None)
        # What must never be done: the signer's state put back, so that it signs this one again.
        site.signer.stop()
        for suffix in ("-wal", "-shm"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        shutil.copy(kept, state)
        site.signer.start()
        with Trail.open(site.config) as trail:
            trail.flush()
            until(lambda: signed_size(trail) == trail.reader.size)
            found = [each.action for each in trail.notices()]
            assert found.count(CONTRADICTED) == refusals
            sizes.append(trail.reader.size)
    assert sizes[0] < sizes[1]


def test_a_rewritten_trail_is_signed_no_more(site: Site) -> None:
    """Of the same size or larger: no proof leads there."""
    run("init", cwd=site.directory)
    with Trail.open(site.config) as trail:
        record(trail)
    backup = site.backup()
    with Trail.open(site.config) as trail:
        record(trail, 2)
        until(lambda: signed_size(trail) == trail.reader.size)
    site.restore(backup)
    # The signer away, the copy grows beyond what was signed.
    site.signer.stop()
    with Trail.open(site.config) as trail:
        record(trail, 20)
        site.signer.start()
        until(lambda: trail.refusal is not None)
        assert "it signed another tree than ours" in str(trail.refusal)


def test_a_second_sequencer_on_a_copy_of_the_store(site: Site) -> None:
    """Whichever asks first is signed; the other's tree isn't, and it says so."""
    run("init", cwd=site.directory)
    with Trail.open(site.config) as trail:
        record(trail)
        until(lambda: signed_size(trail) == trail.reader.size)
    copy = site.backup()
    refused: list[SignerRefusedError] = []
    stores = [SqliteTrail(path) for path in (site.path, copy)]
    sequencers = []
    for store in stores:
        lease = store.acquire_lease("test", now=time.time_ns() // 1_000, lease_s=0)
        assert lease is not None
        client = SignerClient(site.signer.socket, site.signer.key)
        sequencers.append(Sequencer(store, lease, client, on_refusal=refused.append))
    sequencers[1].deliver([delivery_at(1)])
    with pytest.raises(SignerRefusedError):
        sequencers[0].deliver([delivery_at(2)])
    with pytest.raises(SignerRefusedError):
        sequencers[0].deliver([delivery_at(3)])
    assert len(refused) == 1
    sequencers[1].deliver([delivery_at(4)])
    for store in stores:
        store.close()
    assert verify_trail(copy, site.signer.key).size > 3


def test_an_older_state_of_the_signer_is_what_witnesses_are_for(tmp_path: Path) -> None:
    """Put back, it signs a second history: said in the threat model, and no more than that. The
    two checkpoints together prove it."""
    process = SignerProcess(tmp_path / "signer")
    older = tmp_path / "older"
    with process:
        assert process.ask("POST", "add-checkpoint", asking(0, 10)).status == 200
    shutil.copytree(process.directory, older)
    with process:
        first = process.ask("POST", "add-checkpoint", asking(10, 20))
        assert process.ask("POST", "add-checkpoint", asking(10, 20, FORKED)).status == 409
    shutil.copy(older / "signer.db", process.directory / "signer.db")
    for suffix in ("-wal", "-shm"):
        (process.directory / f"signer.db{suffix}").unlink(missing_ok=True)
    forked = [*LEAVES[:15], *FORKED[:10]]
    with process:
        second = process.ask("POST", "add-checkpoint", asking(10, 20, forked))
    assert (first.status, second.status) == (200, 200)
    assert first.body != second.body


def test_a_key_that_is_not_the_trail_s_signs_nothing(tmp_path: Path) -> None:
    """A key file that was exchanged is told when the trail is opened."""
    config = tmp_path / "indelible.toml"
    config.write_text('[trail]\nurl = "sqlite:///trail.db"\norigin = "example.com/trail"\n')
    Trail.create(config).close()
    (tmp_path / "trail.db.keys" / "trail.key").write_text(key_text(KEY, None))
    with pytest.raises(ConfigurationError, match="is the key file another trail's"):
        Trail.open(config)
    store = SqliteTrail(tmp_path / "trail.db")
    lease = store.acquire_lease("test", now=time.time_ns() // 1_000, lease_s=0)
    assert lease is not None
    with pytest.raises(ConfigurationError, match="nothing is signed with it"):
        Sequencer(store, lease, KeyRing([KEY]))
    store.close()

"""Go's side of witnessing: torchwood judges our checkpoints, litewitness cosigns our trail."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.errors import DeliveryError
from indelible.integrity.faults import ContradictedError
from indelible.integrity.published import PublishedTrail
from indelible.integrity.witness_client import SignedCheckpoint, WitnessClient
from indelible.tlog import (
    Algorithm,
    Checkpoint,
    Hash,
    SigningKey,
    Size,
    TrustedWitness,
    VerifierKey,
    format_note,
    open_checkpoint,
    parse_note,
    sign_checkpoint,
)
from tests.conftest import go_build
from tests.http_trails import get, served
from tests.integrity.test_remote_witnesses import KEYS, WITNESSES, cosign, cosigned
from tests.integrity.trails import ORIGIN, Maker
from tests.integrity.witnessed import Operated, record, wait_until_witnessed
from tests.integrity.witnesses import request, run, until
from tests.servers import free_port

GO = Path(__file__).parent / "go_witness"
NAME = "witness.example/lite"


@pytest.fixture(scope="module")
def checkcosigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/integrity/go_witness."""
    return go_build(GO, ".", tmp_path_factory.mktemp("torchwood") / "checkcosigned")


def test_torchwood_judges_the_quorum_as_we_do(
    maker: Maker, tmp_path: Path, checkcosigned: Path
) -> None:
    """Served by us, and as somebody in between would change it."""
    maker.fill([300])
    cosign(maker, *WITNESSES)
    policy = tmp_path / "policy"
    policy.write_text(
        f"log {maker.key.verifier_key}\n"
        + "".join(f"witness w{n} {key}\n" for n, key in enumerate(KEYS))
        + "group both all w0 w1\nquorum both\n"
    )

    def judged(note: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "note").write_bytes(note)
        command = [str(checkcosigned), str(policy), str(tmp_path / "note")]
        return subprocess.run(command, capture_output=True, text=True)

    with served(maker.path) as server:
        honest = get(server.url + "checkpoint").content
    assert honest == PublishedTrail(maker.store).current().note
    assert judged(honest).stdout == "size 301, 3 signatures\n"
    note = parse_note(honest)
    bare = maker.store.state().checkpoint
    assert bare is not None
    elsewhere = Checkpoint(origin="example.com/other", size=Size(301), root=Hash(bytes(32)))
    for bad in (
        bare,
        format_note(type(note)(note.text, note.signatures[:2])),
        format_note(type(note)(note.text, note.signatures[1:])),
        honest.replace(b"\n301\n", b"\n300\n"),
        cosigned(sign_checkpoint(elsewhere, maker.key), *WITNESSES),
    ):
        assert judged(bad).returncode == 1


class Lite:
    """litewitness in a folder, with its key in an agent of its own."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.control = programs / "witnessctl"
        self._program = programs / "litewitness"
        self._started: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if not (self.directory / "key").exists():
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key")
            self._start("ssh-agent", "-D", "-a", "agent")
            until((self.directory / "agent").exists)
            self._run("ssh-add", "-q", "key")
        kind, blob, *_ = (self.directory / "key.pub").read_text().split()
        assert kind == "ssh-ed25519"
        public_key = base64.b64decode(blob)[-32:]
        self.key = VerifierKey(NAME, Algorithm.COSIGNATURE_V1, public_key)
        said = self._run("ssh-keygen", "-l", "-f", "key.pub")
        fingerprint = re.search(r"SHA256:\S+", said)
        assert fingerprint is not None
        listen = f"127.0.0.1:{self.port}"
        self._start(
            *(str(self._program), "-name", NAME, "-key", fingerprint[0], "-db", "lite.db"),
            *("-ssh-agent", "agent", "-listen", listen),
        )
        until(self._answers)

    def add(self, key: VerifierKey) -> None:
        origin = ("-db", "lite.db", "-origin", key.name)
        self._run(str(self.control), "add-log", *origin)
        self._run(str(self.control), "add-key", *origin, "-key", str(key))

    def kill(self) -> None:
        """The witness, not its agent."""
        process = self._started.pop()
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            process.wait(30)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return request(self.port, "GET", "/").status == 200
        return False

    def _start(self, *command: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self._started.append(
                subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
            )

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, "SSH_AUTH_SOCK": str(self.directory / "agent")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About a minute of processor time where Go has nothing cached: SQLite, translated to Go."""
    folder = tmp_path_factory.mktemp("lite")
    for name in ("litewitness", "witnessctl"):
        go_build(GO, f"filippo.io/torchwood/cmd/{name}", folder / name)
    return folder


@pytest.fixture
def lite(tmp_path: Path, programs: Path) -> Iterator[Lite]:
    directory = tmp_path / "lite"
    directory.mkdir()
    witness = Lite(directory, programs)
    try:
        witness.start()
        yield witness
    finally:
        witness.stop()


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_litewitness_cosigns_our_trail(lite: Lite, tmp_path: Path, checkcosigned: Path) -> None:
    """First, grown, idle, killed and back; then a backup is put back, which it won't cosign."""
    lines = [f"witness lite {lite.key} {lite.url}", "quorum lite"]
    operated = Operated(tmp_path / "trail", lines)
    lite.add(operated.key)
    with operated.open() as trail:
        record(trail)
        wait_until_witnessed(trail)
        record(trail, 300)
        wait_until_witnessed(trail)
        (before,) = trail.witnesses()
        until(lambda: trail.witnesses()[0].time > before.time)
        backup = operated.backup("backup.db")
        lite.kill()
        record(trail)
        until(lambda: trail.witnesses()[0].fault)
        lite.start()
        wait_until_witnessed(trail)
        size = trail.reader.size
        assert trail.refusal is None
        note = PublishedTrail(trail.reader).current().note
    assert "assurance: witnessed by 1 of 1" in run("verify", cwd=operated.directory)
    opened = open_checkpoint(
        note, origin=operated.key.name, log_key=operated.key, witness_keys=[lite.key]
    )
    assert len(opened.cosignatures) == 1
    policy, checkpoint = tmp_path / "policy", tmp_path / "checkpoint"
    policy.write_text(f"log {operated.key}\n" + "\n".join(lines) + "\n")
    checkpoint.write_bytes(note)
    done = subprocess.run([checkcosigned, policy, checkpoint], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"size {opened.checkpoint.size}, 2 signatures\n", "")
    operated.restore(backup)
    with operated.open() as trail:
        until(lambda: trail.refusal is not None)
        assert re.search(r"a tree of size \d+, ours has", str(trail.refusal))
        assert trail.reader.size < size


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_what_litewitness_refuses_is_a_failure_or_a_contradiction(
    lite: Lite, maker: Maker, tmp_path: Path
) -> None:
    """A tlog that it doesn't know (404), another key (403): failures. 409: its way is found.

    Another tree of the same size (422), and a smaller one: contradictions.
    """
    maker.fill([300])

    def signed(size: int | None = None, root: bytes | None = None) -> SignedCheckpoint:
        state = maker.store.state()
        checkpoint = Checkpoint(
            origin=ORIGIN, size=Size(size or state.size), root=Hash(root or state.root)
        )
        return SignedCheckpoint(checkpoint, sign_checkpoint(checkpoint, maker.key))

    def client(*, known: int = 0) -> WitnessClient:
        witness = TrustedWitness("lite", lite.key, lite.url)
        return WitnessClient(
            witness,
            lambda: [maker.key.verifier_key],
            maker.store,
            deadline_s=10.0,
            known=Size(known),
        )

    with pytest.raises(DeliveryError, match="came status 404"):
        client().cosign(signed())
    lite.add(maker.key.verifier_key)
    stranger = SigningKey.generate(ORIGIN)
    ours = signed()
    forged = SignedCheckpoint(ours.checkpoint, sign_checkpoint(ours.checkpoint, stranger))
    with pytest.raises(DeliveryError, match="came status 403"):
        client().cosign(forged)
    assert lite.key.name.encode() in client().cosign(ours).note
    maker.fill([300])
    for known in (0, 7, 301, 602):
        assert client(known=known).cosign(signed()).time > 0
    for root in (bytes(32), ours.checkpoint.root):
        with pytest.raises(ContradictedError, match="it knows another tree than ours of size 602"):
            client(known=602).cosign(signed(root=root))
    with pytest.raises(ContradictedError, match="it cosigned a tree of size 602, ours has 301"):
        client().cosign(ours)
    with pytest.raises(DeliveryError):
        lite.kill()
        client().cosign(signed())

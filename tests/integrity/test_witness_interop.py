"""A witness and a client that aren't ours: PyPI's `witness-log`, in Rust."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from witness_log import WitnessLog, WitnessService, submit_round

from indelible.integrity.faults import ContradictedError
from indelible.tlog import VerifierKey
from tests.integrity.witnessed import Operated, record, wait_until_witnessed
from tests.integrity.witnesses import Answer, WitnessProcess, answering, running, until


def test_another_s_witness_cosigns_our_trail_and_refuses_its_rollback(tmp_path: Path) -> None:
    """Growth, idle refreshes, and a backup put back: told by status and size alone (it shows no
    checkpoints)."""
    state = str(tmp_path / "theirs")
    WitnessService.create_state(state)
    theirs = WitnessService.new("witness.example/theirs", bytes(range(32)), state)
    lock = threading.Lock()

    def answer(method: str, path: str, body: bytes) -> Answer:
        if method == "GET":
            return Answer(404, "text/plain", b"")
        with lock:
            status, content_type, said = theirs.handle_add_checkpoint_http(body.decode())
        return Answer(status, content_type, said.encode())

    with answering(answer) as url:
        key = VerifierKey.parse(theirs.vkey())
        operated = Operated(tmp_path / "trail", [f"witness theirs {key} {url}", "quorum theirs"])
        theirs.add_log(operated.key.name, str(operated.key))
        with operated.open() as trail:
            record(trail, 300)
            wait_until_witnessed(trail)
            (before,) = trail.witnesses()
            until(lambda: trail.witnesses()[0].time > before.time)
        backup = operated.backup("backup.db")
        with operated.open() as trail:
            record(trail)
            wait_until_witnessed(trail)
            known = trail.reader.size
        operated.restore(backup)
        with operated.open() as trail:
            until(lambda: trail.refusal is not None)
            refusal = trail.refusal
        assert isinstance(refusal, ContradictedError)
        assert (f"a tree of size {known}" in str(refusal), refusal.is_proven) == (True, False)


def test_another_s_client_is_cosigned_by_our_witness(tmp_path: Path) -> None:
    """It finds its way over our 409s, and verifies what it gets with its own code."""
    log = WitnessLog.generate()
    origin = log.canonical_origin()
    process = WitnessProcess(tmp_path / "ours", "witness.example/ours")
    process.add(VerifierKey.parse(log.c2sp_vkey(origin)), origin)
    directory = {
        "witnesses": [
            {
                "name": process.name,
                "operator_org": "example",
                "url": process.url,
                "pubkey": process.key.public_key.hex(),
                "compute_provider": "",
                "project_operated": False,
            }
        ]
    }
    with running(process):
        for round_ in range(4):
            for number in range(40):
                log.append_intent(b"%d" % (round_ * 100 + number))
            # Another state each time: it doesn't know what was cosigned, and is told.
            found = submit_round(log, directory, str(tmp_path / f"state{round_}"))
            assert [each["status"] for each in found.outcomes] == [200], found.outcomes
            assert found.cosignatures == 1
        process.kill(signal.SIGKILL)
    with running(process):
        refused = process.post(log.add_checkpoint_body_at(100, 0).encode())
        assert (refused.status, refused.body) == (409, b"%d\n" % log.tree_size())
        assert process.post(log.add_checkpoint_body(log.tree_size()).encode()).status == 200

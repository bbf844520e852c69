"""What anchors of all kinds are worth: honest, under attack, dead; real processes and files."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import Trail
from indelible.cli.anchor_look import look_at_anchors
from indelible.errors import ConfigurationError, UnacknowledgedError
from indelible.integrity.acks import Ack, ack_of
from indelible.integrity.anchoring import Anchoring, Trusted
from indelible.integrity.anchors import open_anchors
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.faults import AnchorMismatchError, ForkError, RollbackError
from indelible.integrity.verifier import Verification, verify_trail
from indelible.policy import load_policy
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import parse_note
from tests.integrity.anchored import (
    Anchored,
    Authority,
    LockingServer,
    between,
    s3_section,
    wait_until_anchored,
    weakens,
)
from tests.integrity.witnessed import ORIGIN, policy_of, record
from tests.integrity.witnesses import (
    Answer,
    WitnessProcess,
    answering,
    objects,
    run,
    running,
    until,
)
from tests.servers import free_port

NAMES = {"rfc3161": "tsa", "s3": "vault", "git": "history", "file": "disk"}
"""Of each kind that can be read back, the anchor's name here."""
ALL = {*NAMES.values(), "siem"}
FILE = '[anchors.disk]\nkind = "file"\npath = "elsewhere.jsonl"\nevery_s = 0.1\n'
GIT = '[anchors.history]\nkind = "git"\nrepository = "anchors.git"\nevery_s = 0.1\n'


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """By name, what a configuration says of each anchor; their servers run."""
    directory = tmp_path_factory.mktemp("authority")
    server = LockingServer()
    with contextlib.ExitStack() as stack:
        stack.callback(server.remove)
        tsa = stack.enter_context(Authority(directory / "tsa").serving())
        bucket = stack.enter_context(between(server.url, weakens))
        hook = stack.enter_context(answering(lambda method, path, body: Answer(204, "", b"")))
        yield {
            "tsa": tsa,
            "vault": s3_section(bucket),
            "history": f'{GIT}push = "remote.git"\n',
            "disk": FILE,
            "siem": f'[anchors.siem]\nkind = "webhook"\nurl = "{hook}/in"\nevery_s = 0.1\n',
        }


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


@pytest.fixture
def anchored(tmp_path: Path, sections: dict[str, str]) -> Anchored:
    """A trail with all of them. Its bucket has a folder of its own."""
    directory = tmp_path / "trail"
    make_remote(directory)
    return Anchored(directory, of_its_own("".join(sections.values()), directory))


def make_remote(directory: Path) -> None:
    remote = directory / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)


def of_its_own(text: str, directory: Path) -> str:
    return text.replace('prefix = "audit/"', f'prefix = "{directory}/"')


def verified(anchored: Anchored, *names: str) -> Verification:
    """By the anchors of these names, or all of them."""
    settings = load_policy(anchored.config).anchors
    chosen = [each for each in settings if not names or each.name in names]
    anchors = open_anchors(chosen, anchored.path, ORIGIN)
    return verify_trail(anchored.path, anchored.key, anchors=anchors)


def test_each_anchor_has_what_was_signed(anchored: Anchored) -> None:
    """`status` says so by what they answered, `verify` reads them back; `anchor` asks at once."""
    with anchored.open() as trail:
        record(trail)
        wait_until_anchored(trail)
        record(trail)
        wait_until_anchored(trail)
        outside = {row.name for row in trail.anchors() if row.outside}
        assert outside == {"tsa", "vault", "history"}
    found = {each.name: each for each in verified(anchored).anchors}
    size = verified(anchored).size
    assert {name: each.size for name, each in found.items()} == dict.fromkeys(ALL, size)
    assert all(abs(each.time - time.time()) < 60 and not each.fault for each in found.values())
    assert "2 timestamps that ca.pem vouches for" in found["tsa"].shown
    assert "2 objects in anchors at 127.0.0.1:" in found["vault"].shown
    assert "write-once by its self-test" in found["vault"].shown
    assert found["history"].shown == "2 commits, here and where it is pushed to"
    assert found["siem"].shown == "acknowledged, which nobody can check"
    said = run("verify", cwd=anchored.directory)
    assert f"anchor disk (file): {size} of {size} entries, " in said
    (all_told,) = objects(run("verify", "--json", cwd=anchored.directory))
    assert {each["name"] for each in all_told["anchors"]} == ALL
    said = run("status", cwd=anchored.directory)
    assert all(f"anchor {name} (" in said for name in ALL)
    told = objects(run("status", "--json", cwd=anchored.directory))
    sizes = {each["anchor"]: each["size"] for each in told if "anchor" in each}
    assert sizes == dict.fromkeys(ALL, size)
    said = run("anchor", "disk", "tsa", cwd=anchored.directory)
    assert said.split("\n")[:2] == [
        f"disk: has {size} of {size} entries",
        f"tsa: has {size} of {size} entries",
    ]
    assert "3 timestamps" in run("verify", cwd=anchored.directory)
    said = run("anchor", "nobody", cwd=anchored.directory, exit_code=2)
    assert "expected the name of an anchor, got 'nobody'" in said


def test_a_relay_that_cron_starts_anchors_and_asks_no_more_than_it_may(tmp_path: Path) -> None:
    """With a minute between two checkpoints, what three runs carry is one commit."""
    anchored = Anchored(tmp_path / "trail", GIT.replace("0.1", "60.0"))
    for _ in range(3):
        with Trail.open(anchored.config, relay=False) as trail:
            trail.record("invoice.refund")
        run("relay", "--once", cwd=anchored.directory)
    (found,) = verified(anchored).anchors
    assert found.shown == "1 commits, here only"
    assert 0 < found.size < verified(anchored).size


def test_an_anchor_that_nobody_asks_any_more_is_told(tmp_path: Path) -> None:
    """A quiet trail isn't late. One that goes on without its anchor is, or that never began."""
    anchored = Anchored(tmp_path / "trail", FILE.replace("0.1", "60.0"))
    with anchored.open() as trail:
        record(trail)
        wait_until_anchored(trail)
        now = int(time.time())
        assert [each.fault for each in look_at_anchors(trail, now + 86_400)] == [""]
        record(trail)
        assert [each.fault for each in look_at_anchors(trail, now + 100)] == [""]
        (late,) = look_at_anchors(trail, now + 1_000)
        assert late.fault.endswith("s ago isn't anchored: is a relay running?")
    anchored.anchor(FILE.replace("disk", "another"))
    with Trail.open(anchored.config, relay=False) as trail:
        (never,) = look_at_anchors(trail, now + 86_400)
        assert (never.size, "is a relay running?" in never.fault) == (0, True)


def test_an_anchor_that_contradicts_keeps_no_other_from_being_asked(tmp_path: Path) -> None:
    """`anchor` goes on to the next, ends with 3, and what it found is noticed, once; by then
    nothing counts as anchored there any more."""
    two = FILE + FILE.replace("disk", "share").replace("elsewhere", "share")
    anchored = Anchored(tmp_path / "trail", two.replace("0.1", "1000.0"))
    with anchored.open() as trail:
        record(trail)
        wait_until_anchored(trail)
    (anchored.directory / "elsewhere.jsonl").write_text("{}\n")
    with anchored.open() as trail:
        record(trail)
    for _ in range(2):
        said = run("anchor", cwd=anchored.directory, exit_code=3)
        assert "disk: contradicts this trail: " in said
        assert "share: has " in said
        with anchored.open() as trail:
            trail.flush()
            disk, share = sorted(trail.anchors())
            assert (disk.contradicts, share.contradicts) == (True, False)
            assert share.size > disk.size
            assert [each.action for each in trail.notices()] == ["trail.contradicted"]


# -- acknowledgement ------------------------------------------------------------------------------


def test_an_event_is_anchored_when_other_hands_have_it(
    tmp_path: Path, sections: dict[str, str]
) -> None:
    """A timestamp counts; a file, a webhook and a repository of this machine alone don't."""
    alone = FILE + GIT + sections["siem"]
    anchored = Anchored(tmp_path / "trail", alone)
    with anchored.open() as trail:
        event_id = trail.record("payment.sent")
        assert event_id is not None
        trail.flush()
        wait_until_anchored(trail)
        assert trail.ack_of(event_id) is Ack.CHECKPOINTED
        with pytest.raises(ConfigurationError, match=r"of kind rfc3161, s3, or git with push"):
            trail.await_ack(event_id, Ack.ANCHORED)
    anchored.anchor(alone + sections["tsa"])
    done: list[int] = []
    with anchored.open() as trail:
        pay = trail.action("payment.send", ack=Ack.ANCHORED, deadline_s=30.0)(done.append)
        pay(1)
        assert trail.ack_of(event_id) is Ack.ANCHORED
    assert done == [1]
    with contextlib.closing(SqliteTrail(anchored.path)) as store:
        assert ack_of(store, event_id) is Ack.ANCHORED
        store.store_anchor_fault("tsa", "it contradicts this trail", contradicts=True)
        assert ack_of(store, event_id) is Ack.CHECKPOINTED
    anchored.edit("UPDATE anchor SET outside = 1")
    assert {each.name for each in verified(anchored).anchors if each.outside} == {"tsa"}
    anchored.anchor(sections["tsa"].replace("0.1", "3600.0"))
    with anchored.open() as trail:
        pay = trail.action("payment.send", ack=Ack.ANCHORED, deadline_s=0.5)(done.append)
        with pytest.raises(UnacknowledgedError, match="it is checkpointed"):
            pay(2)
    assert done == [1]


def test_what_is_anchored_is_cosigned_where_witnesses_are_wanted(tmp_path: Path) -> None:
    """So ANCHORED includes WITNESSED; witnesses that stay away don't stop the clock."""
    witness = WitnessProcess(tmp_path / "w", "witness.example/w")
    directory = tmp_path / "trail"
    directory.mkdir()
    make_remote(directory)
    trust = directory / "trust.policy"
    trust.write_text("\n".join(policy_of([witness], 1)) + "\n")
    anchored = Anchored(
        directory,
        f'{GIT}push = "remote.git"\n',
        witness='[witness]\npolicy = "trust.policy"\nrefresh_s = 1.0\n',
    )
    witness.add(anchored.key)
    with running(witness), anchored.open() as trail:
        event_id = trail.record("payment.sent")
        assert event_id is not None
        trail.await_ack(event_id, Ack.ANCHORED, timeout_s=60.0)
        (row,) = trail.anchors()
        assert row.note is not None
        signers = [each.name for each in parse_note(row.note).signatures]
        assert signers == [ORIGIN, "witness.example/w"]
    with anchored.open() as trail:
        later = trail.record("payment.sent")
        assert later is not None
        trail.await_ack(later, Ack.CHECKPOINTED, timeout_s=60.0)
        time.sleep(1.0)
        (row,) = trail.anchors()
        assert [each.name for each in parse_note(row.note or b"").signatures] == signers
    with contextlib.closing(SqliteTrail(anchored.path)) as store:
        policy = load_policy(anchored.config)
        anchors = open_anchors(policy.anchors, anchored.path, ORIGIN)
        impatient = Anchoring(
            store,
            Trusted(lambda: (anchored.key,), load_trust_policy(trust)),
            list(zip(anchors, policy.anchors, strict=True)),
            cosigning_s=0.3,
        )
        impatient.start()
        until(lambda: store.anchors()[0].size == store.size)
        impatient.stop()
        assert len(parse_note(store.anchors()[0].note or b"").signatures) == 1


# -- rollback, fork -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMES)
def test_a_rolled_back_trail_shows_at_each_anchor(
    kind: str, tmp_path: Path, sections: dict[str, str]
) -> None:
    """The older file verifies by itself. It isn't stopped; it is noticed when it next runs."""
    anchored, before, after = rolled_back(kind, tmp_path, sections)
    assert verify_trail(anchored.path, anchored.key).size == before
    with pytest.raises(RollbackError) as caught:
        verified(anchored)
    assert str(caught.value) == (
        f"index {before}: the trail went backwards: last seen size {after} "
        f"(anchor {NAMES[kind]}), offered {before}"
    )
    with anchored.open() as trail:
        record(trail, 1)
        until(lambda: any(row.contradicts for row in trail.anchors()))
        until(lambda: [each.action for each in trail.notices()] == ["trail.contradicted"])
        assert trail.reader.size > before
    if kind == "file":
        said = run("status", cwd=anchored.directory, exit_code=1)
        assert "anchor disk (file): " in said
        assert "contradicts this trail" in said
        assert "(anchor disk)" in run("verify", cwd=anchored.directory, exit_code=3)
        run("anchor", cwd=anchored.directory, exit_code=3)


@pytest.mark.parametrize("kind", NAMES)
def test_another_history_by_the_stolen_key_shows_at_each_anchor(
    kind: str, tmp_path: Path, sections: dict[str, str]
) -> None:
    """It is longer than what was anchored, rightly signed, and was never anchored itself."""
    anchored, _, after = rolled_back(kind, tmp_path, sections)
    anchors = anchored.config.read_text()
    anchored.anchor("")
    with anchored.open() as trail:
        while trail.reader.size <= after:
            record(trail, 5)
    anchored.config.write_text(anchors)
    assert verify_trail(anchored.path, anchored.key).size > after
    with pytest.raises(ForkError, match=f"that anchor {NAMES[kind]} has a signed checkpoint of"):
        verified(anchored)


def test_of_a_webhook_only_that_it_acknowledged_can_be_said(
    tmp_path: Path, sections: dict[str, str]
) -> None:
    """It sees no rollback; who gets the posts has them."""
    anchored, before, _ = rolled_back("siem", tmp_path, sections)
    (found,) = verified(anchored).anchors
    assert 0 < found.size <= before
    assert not found.outside
    assert found.shown == "acknowledged, which nobody can check"


def rolled_back(kind: str, tmp_path: Path, sections: dict[str, str]) -> tuple[Anchored, int, int]:
    """A trail put back to a backup, the row about the anchor with it; its sizes then and after."""
    directory = tmp_path / "trail"
    make_remote(directory)
    anchored = Anchored(directory, of_its_own(sections[NAMES.get(kind, kind)], directory))
    with anchored.open() as trail:
        record(trail)
        wait_until_anchored(trail)
    backup = anchored.backup("backup.db")
    before = verify_trail(backup, anchored.key).size
    with anchored.open() as trail:
        record(trail, 5)
        wait_until_anchored(trail)
    # What was on its way when it was closed is left to itself: the anchor has it, the row doesn't.
    until(lambda: not any(each.name == "indelible-anchor" for each in threading.enumerate()))
    (found,) = verified(anchored).anchors
    after = found.size
    assert after > before
    anchored.restore(backup)
    # What the process that is gone had journalled isn't to be carried again.
    shutil.rmtree(directory / "trail.db.journals", ignore_errors=True)
    return anchored, before, after


def test_what_the_trail_s_file_says_of_an_anchor_is_checked(anchored: Anchored) -> None:
    """Its row edited: another receipt, another checkpoint, another size."""
    with anchored.open() as trail:
        record(trail)
        wait_until_anchored(trail)
    good = anchored.backup("good.db")
    for edit in ("receipt = x'7b7d'", "receipt = x''", "note = x'00'", "size = size - 1"):
        for name in sorted(ALL):
            if name == "siem" and edit.startswith("receipt"):
                continue
            shutil.copy(good, anchored.directory / "copy.db")
            anchored.restore(anchored.directory / "copy.db")
            anchored.edit(f"UPDATE anchor SET {edit} WHERE name = ?", name)
            with pytest.raises(AnchorMismatchError, match=f"anchor {name}: "):
                verified(anchored, name)


# -- slow, dead, secret ---------------------------------------------------------------------------


def test_nothing_waits_for_anchors_that_are_dead_or_silent(
    tmp_path: Path, sections: dict[str, str]
) -> None:
    """Events are carried as ever, the others are asked, and the process ends."""
    with answering(lambda *_: None) as silent:
        dead = f"http://127.0.0.1:{free_port()}"
        late = "every_s = 0.1\ndeadline_s = 0.5\n"
        anchored = Anchored(
            tmp_path / "trail",
            s3_section(dead)
            + f'[anchors.siem]\nkind = "webhook"\nurl = "{silent}/"\n{late}'
            + f'[anchors.nowhere]\nkind = "file"\npath = "no/such/folder"\n{late}'
            + f'[anchors.pushed]\nkind = "git"\nrepository = "a.git"\npush = "{dead}/"\n{late}'
            + sections["tsa"],
        )
        with anchored.open() as trail:
            begun = time.monotonic()
            for _ in range(20):
                record(trail, 1)
            assert time.monotonic() - begun < 10
            until(lambda: sum(bool(row.fault) for row in trail.anchors()) == 4)
            until(lambda: any(row.size == trail.reader.size for row in trail.anchors()))
        said = run("status", cwd=anchored.directory, exit_code=1)
        assert "siem (webhook): nothing yet; took nothing when it was last asked: " in said
        assert "nowhere (file): nothing yet; took nothing" in said
        shown = json.dumps(objects(run("status", "--json", cwd=anchored.directory, exit_code=1)))
        # On a busy machine git may take longer than it is given.
        assert re.search("git (push|ls-remote) failed|no answer within 0.5 s", shown)
        assert "no answer within 0.5 s" in shown or "none within 0.5 s" in shown
        said = run("verify", cwd=anchored.directory, exit_code=4)
        assert "the trail verifies; anchors that couldn't be asked: vault" in said
        assert "anchor vault (s3): nothing yet; couldn't be asked: " in said
        said = run("anchor", "siem", "tsa", cwd=anchored.directory, exit_code=4)
        assert "anchors that took nothing: siem" in said


def test_a_token_is_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither that of a URL nor that of a file; it is sent to the host that was named."""
    secret, in_url = "Sesame0penSesame0penSesame0penSes", "hooktoken1234567"
    came: list[bytes] = []

    def refuse(method: str, path: str, body: bytes) -> Answer:
        came.append(path.encode() + body)
        return Answer(403, "text/plain", f"no {in_url} {secret}".encode())

    with answering(refuse) as url:
        anchored = Anchored(tmp_path / "trail", "")
        token = anchored.directory / "token"
        token.write_text(secret)
        token.chmod(0o600)
        anchored.anchor(
            f'[anchors.siem]\nkind = "webhook"\nurl = "{url}/in/{in_url}?t={in_url}"\n'
            'token_file = "token"\nevery_s = 0.1\n'
            f'[anchors.tsa]\nkind = "rfc3161"\nurl = "{url}/{in_url}"\nca_file = "ca.pem"\n'
            f'[anchors.vault]\nkind = "s3"\nbucket = "b"\nendpoint = "{url}/{in_url}"\n'
        )
        shutil.copy(ca_file(tmp_path), anchored.directory / "ca.pem")
        with anchored.open() as trail:
            record(trail)
            until(lambda: sum(bool(row.fault) for row in trail.anchors()) == 3)
            shown = [repr(trail.policy), repr(trail.anchors()), str(trail.anchors())]
        shown.append(run("status", cwd=anchored.directory, exit_code=1))
        shown.append(run("status", "--json", cwd=anchored.directory, exit_code=1))
        shown.append(run("anchor", cwd=anchored.directory, exit_code=4))
        token.write_text(f"short {secret}")
        shown.append(run("anchor", cwd=anchored.directory, exit_code=2))
        token.chmod(0o644)
        shown.append(run("anchor", cwd=anchored.directory, exit_code=2))
    shown += [caplog.text, *capfd.readouterr()]
    assert any(in_url.encode() in each for each in came)
    for text in shown:
        assert in_url not in text
        assert secret not in text


def ca_file(tmp_path: Path) -> Path:
    return Authority(tmp_path / "another").ca

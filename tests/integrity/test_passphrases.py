"""Keys under a passphrase: an open container, no other passphrase, and it is shown nowhere."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from indelible import Trail
from indelible.errors import ConfigurationError
from indelible.explicit import telling
from indelible.integrity.authorisations import Act, format_act
from indelible.integrity.encrypted_key import decrypt_key, encrypt_key
from indelible.integrity.key_ring import key_text, load_ring
from indelible.integrity.keys import create_signing_key, load_signing_key
from indelible.integrity.passphrases import Passphrase, unlock_with
from indelible.integrity.sequencer import UNSIGNED
from indelible.policy import load_policy
from indelible.tlog import Algorithm, SigningKey
from tests.integrity.signers import SignerProcess, run, run_apart
from tests.integrity.witnesses import MAIN, until

SECRET = "correct horse battery staple é"
CONFIG = '[trail]\nurl = "sqlite:///trail.db"\norigin = "example.com/trail"\n'


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery staple\n")
    file.chmod(0o600)
    return file


def test_the_container_is_one_that_openssl_opens() -> None:
    """With the passphrase, and without it not."""
    key = SigningKey.generate("example.com/trail")
    pem = encrypt_key(key.private_key, Passphrase(SECRET))
    command = ["openssl", "pkey", "-outform", "DER", "-passin", f"pass:{SECRET}"]
    done = subprocess.run(command, input=pem.encode(), capture_output=True, check=True)
    assert done.stdout.endswith(key.private_key.private_bytes_raw())
    command[-1] = "pass:another"
    assert subprocess.run(command, input=pem.encode(), capture_output=True).returncode != 0
    shown = subprocess.run(
        ["openssl", "asn1parse"], input=pem.encode(), capture_output=True, check=True
    ).stdout
    assert b"PBES2" in shown
    assert b":aes-256-cbc" in shown
    assert b"11591.4.11" in shown or b"scrypt" in shown.lower()


def test_one_that_openssl_made_is_opened() -> None:
    """Both ways."""
    made = subprocess.run(
        "openssl genpkey -algorithm ED25519 | "
        "openssl pkcs8 -topk8 -scrypt -passout pass:secret -outform PEM",
        shell=True,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert decrypt_key(made, Passphrase("secret")) is not None
    assert decrypt_key(made, Passphrase("other")) is None


@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.COSIGNATURE_V1])
def test_a_key_file_opens_by_its_passphrase_only(tmp_path: Path, algorithm: Algorithm) -> None:
    """A wrong one, none, and a damaged file are told, and none of them with a secret."""
    path = tmp_path / "a.key"
    secret = Passphrase(SECRET)
    made = create_signing_key(path, "example.com/a", algorithm, passphrase=secret)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE+KEY" not in path.read_text()
    assert load_signing_key(path, lambda _: secret).verifier_key == made.verifier_key
    with pytest.raises(ConfigurationError, match="expected its passphrase, came another"):
        load_signing_key(path, lambda _: Passphrase("another"))
    with pytest.raises(ConfigurationError, match="passphrase_file or passphrase_env"):
        load_signing_key(path)
    with pytest.raises(ConfigurationError, match="it is empty"):
        load_signing_key(path, unlock_with(None, "NOT_SET", {}))
    other = SigningKey.generate("example.com/a", algorithm)
    text = path.read_text()
    path.write_text(text.replace(str(made.verifier_key), str(other.verifier_key)))
    with pytest.raises(ConfigurationError, match="came another key's"):
        load_signing_key(path, lambda _: secret)
    path.write_text(text.replace("\nMI", "\nMJ"))
    with pytest.raises(ConfigurationError, match="or the file is damaged"):
        load_signing_key(path, lambda _: secret)


def test_what_lies_beside_a_key_of_one_s_own_is_none_of_its(tmp_path: Path) -> None:
    """A file called `rotations` is read where a trail's keys are, not in somebody's home."""
    made = create_signing_key(tmp_path / "mine.key", "audit.example.com")
    (tmp_path / "rotations").write_text("of the garden's crops\n")
    assert load_signing_key(tmp_path / "mine.key").verifier_key == made.verifier_key


WRONG = "wrong horse"


def test_no_secret_is_in_a_traceback_or_a_repr(tmp_path: Path) -> None:
    """Not even in the variables of its frames, which error reporters show."""
    key = SigningKey.generate("example.com/trail")
    path = tmp_path / "trail.key"
    plain = key.export_private()
    seed = plain.rpartition("+")[2]
    path.write_text(f"{plain}\n{plain[:-8]}AAAAAAA=\n")
    path.chmod(0o600)
    shown = repr(Passphrase(SECRET)) + shown_by(path, SECRET)
    path.write_text(key_text(key, Passphrase(SECRET)))
    shown += shown_by(path, WRONG)
    assert "expected its passphrase" in shown
    for secret in (SECRET, WRONG, seed, seed[8:30]):
        assert secret not in shown


def shown_by(path: Path, passphrase: str) -> str:
    """What an error reporter has of our frames."""
    try:
        load_ring(path, lambda _: Passphrase(passphrase))
    except ConfigurationError as error:
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in captured.stack if "/indelible/" in frame.filename]
        assert ours
        return str(error) + "".join(str(frame.locals) for frame in ours)
    raise AssertionError("expected an error")


def test_a_trail_s_keys_under_a_passphrase(tmp_path: Path, passphrase_file: Path) -> None:
    """From a file, or a variable that the configuration names; the passphrase is in neither
    configuration nor output; a wrong one ends with 2."""
    config = tmp_path / "indelible.toml"
    config.write_text(CONFIG + 'passphrase_file = "passphrase"\n')
    said = run("init", "--passphrase", cwd=tmp_path)
    keys = tmp_path / "trail.db.keys"
    for name in ("trail.key", "enrolment.key"):
        assert "BEGIN ENCRYPTED PRIVATE KEY" in (keys / name).read_text()
        assert "PRIVATE+KEY" not in (keys / name).read_text()
    with Trail.open(config) as trail:
        trail.record("invoice.refund")
        trail.flush()
        trail.verify()
    said += run("status", cwd=tmp_path)
    said += run("rotate", "--both-for", "0", cwd=tmp_path)
    assert (keys / "trail.key").read_text().count("BEGIN ENCRYPTED PRIVATE KEY") == 2
    said += run("rotate", "--finish", cwd=tmp_path)
    said += run("verify", cwd=tmp_path)
    passphrase_file.chmod(0o644)
    said += run("status", cwd=tmp_path, exit_code=2)
    assert "chmod 600" in said
    passphrase_file.chmod(0o600)
    passphrase_file.write_text("another one\n")
    wrong = run("status", cwd=tmp_path, exit_code=2)
    assert "enrolment.key: expected its passphrase, came another" in wrong
    wrong += run("relay", "--once", cwd=tmp_path, exit_code=2)
    assert "trail.key: expected its passphrase, came another" in wrong
    config.write_text(CONFIG + 'passphrase_env = "TRAIL_PASSPHRASE"\n')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRAIL_PASSPHRASE", "correct horse battery staple")
        said += run("status", cwd=tmp_path, exit_code=1)  # the rotation is noticed
        second = CONFIG.replace("trail", "trail-2").replace("[trail-2]", "[trail]")
        (tmp_path / "second.toml").write_text(
            second + 'passphrase_env = "TRAIL_PASSPHRASE"\njournals = "trail.db.journals"\n'
        )
        said += run("init", "--config", "second.toml", "--continue", "trail.db", cwd=tmp_path)
        for name in ("trail.key", "enrolment.key"):
            assert "ENCRYPTED" in (tmp_path / "trail-2.db.keys" / name).read_text()
    config.write_text(CONFIG)
    said += wrong + run("relay", "--once", cwd=tmp_path, exit_code=2)
    assert "passphrase_file or passphrase_env" in said
    for secret in ("correct horse", "another one"):
        assert secret not in said


def test_typed_at_a_terminal(tmp_path: Path) -> None:
    """Twice where keys are made, once where they are used; what is typed isn't shown."""
    (tmp_path / "indelible.toml").write_text(CONFIG)
    said = typed(tmp_path, ["init", "--passphrase"], ["open sesame", "open sesame"])
    said += typed(tmp_path, ["status"], ["open sesame"])
    assert "0 entries" in said
    said += typed(tmp_path, ["status"], ["open barley"], exit_code=2)
    assert "expected its passphrase, came another" in said
    assert "open " not in said
    run("init", "--passphrase", "--config", "other.toml", cwd=tmp_path, exit_code=2)


def test_every_command_asks_who_sits_at_the_terminal(tmp_path: Path) -> None:
    """Also those that write; what they wrote down is in the trail."""
    (tmp_path / "indelible.toml").write_text(CONFIG + '[database]\nurl = "sqlite:///app.db"\n')
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE bill (id INTEGER PRIMARY KEY, sum)")
    typed(tmp_path, ["init", "--passphrase"], ["open sesame", "open sesame"])
    for command in (
        ["install"],
        ["reconcile"],
        ["reverse", "--by", "staff:bob", "--since", "2026-01-01"],
        ["tee", "--", "true"],
        ["relay", "--once"],
        ["verify"],
        ["relay", "--once"],
    ):
        said = typed(tmp_path, command, ["open sesame"])
        assert "open sesame" not in said
        assert "won't be in the trail" not in said
    said = typed(tmp_path, ["events", "--system", "--action", "trail.verified"], ["open sesame"])
    assert "trail.verified" in said


def test_verifying_and_serving_are_written_down_under_a_passphrase(
    tmp_path: Path, passphrase_file: Path
) -> None:
    """Neither opens the trail: the key that says who they are is under the passphrase, too."""
    config = tmp_path / "indelible.toml"
    config.write_text(CONFIG + 'passphrase_file = "passphrase"\n')
    run("init", "--passphrase", cwd=tmp_path)
    assert "won't be in the trail" not in run("verify", cwd=tmp_path)
    with telling(load_policy(config)) as tell:
        tell("trail.bodies_read", count=1)
    with Trail.open(config) as trail:
        trail.flush()
        found = [each.event.action for each in trail.events(action="trail.*", system=True)]
    assert {"trail.verified", "trail.bodies_read"} <= {*found}
    passphrase_file.write_text("another one\n")
    said = run("verify", cwd=tmp_path)
    assert "that it was verified won't be in the trail: " in said
    assert "enrolment.key: expected its passphrase, came another" in said


def test_who_only_reads_needs_no_key_that_signs_checkpoints(
    tmp_path: Path, passphrase_file: Path
) -> None:
    """It isn't decrypted, and need not be there; what relays needs it."""
    config = tmp_path / "indelible.toml"
    config.write_text(CONFIG + 'passphrase_file = "passphrase"\n')
    run("init", "--passphrase", cwd=tmp_path)
    with Trail.open(config) as trail:
        trail.record("invoice.refund")
        trail.flush()
    run("rotate", "--both-for", "0", cwd=tmp_path)
    key = tmp_path / "trail.db.keys" / "trail.key"
    key.rename(tmp_path / "elsewhere")
    assert "invoice.refund" in run("events", "--action", "invoice.*", cwd=tmp_path)
    with Trail.open(config, relay=False) as trail:
        assert trail.verify().size
        assert trail.signer_fault() is None
    assert "expected a key at" in run("relay", "--once", cwd=tmp_path, exit_code=2)


def test_a_passphrase_is_the_same_wherever_it_comes_from(tmp_path: Path) -> None:
    """A line end or spaces around it, letters that aren't ASCII, bytes that aren't text."""
    file = tmp_path / "passphrase"
    for secret in ("correct horse", "pass é", "\udcff\udcfe"):
        file.write_bytes(f" {secret} \n".encode(errors="surrogateescape"))
        file.chmod(0o600)
        found = {
            unlock_with(file, None, {})(file).reveal(),
            unlock_with(None, "P", {"P": f"{secret} "})(file).reveal(),
            unlock_with(None, None, {}, lambda _, typed=secret: typed)(file).reveal(),  # type: ignore[misc]
        }
        assert found == {secret.encode(errors="surrogateescape")}


def typed(cwd: Path, arguments: list[str], lines: list[str], exit_code: int = 0) -> str:
    """What a command says to somebody who types that at each question."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "XDG_STATE_HOME": str(cwd / "state"),
        },
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):
        while more := os.read(ours, 4096):
            said += more
            if said.endswith(b": ") and lines:
                time.sleep(0.3)  # until it has switched the echo off
                os.write(ours, lines.pop(0).encode() + b"\n")
    os.close(ours)
    assert process.wait(60) == exit_code, said.decode()
    return said.decode()


def test_a_signer_and_a_verifier_s_key_have_one_too(tmp_path: Path, passphrase_file: Path) -> None:
    """`signer init`, `signer serve`, `key`."""
    file = ("--passphrase-file", str(passphrase_file))
    run("key", "--passphrase", *file, "audit.example.com", "mine.key", cwd=tmp_path)
    run("key", *file, "audit.example.com", "mine2.key", cwd=tmp_path)
    act = Act(
        act="subject.erase",
        origin="example.com/trail",
        token="0" * 32,
        reason="request 4411",
        time="2026-11-30T10:00:00.000000Z",
        nonce="1" * 32,
    )
    (tmp_path / "erase.act").write_text(format_act(act))
    authorise = ("authorise", "erase.act", "--key", "mine.key", "--yes")
    assert "expected a passphrase" in run(*authorise, cwd=tmp_path, exit_code=2)
    assert "signed by audit.example.com" in run(*authorise, *file, cwd=tmp_path)
    for name in ("mine.key", "mine2.key"):
        assert "ENCRYPTED" in (tmp_path / name).read_text()
    (tmp_path / "indelible.toml").write_text(CONFIG)
    Trail.create(tmp_path / "indelible.toml").close()
    export = ("export", "events", "--action", "a.b", "--to", "evidence", "--attest", "mine.key")
    assert "expected a passphrase" in run(*export, cwd=tmp_path, exit_code=2)
    assert "0 entries" in run(*export, *file, cwd=tmp_path)
    run("signer", "init", "example.com/trail", "--passphrase", *file, cwd=tmp_path)
    assert "ENCRYPTED" in (tmp_path / "signer" / "trail.key").read_text()
    with SignerProcess(tmp_path / "signer", *file) as process:
        assert process.ask("GET", "key").body.startswith(b"example.com/trail+")
    said = run("signer", "serve", "--socket", str(process.socket), cwd=tmp_path, exit_code=2)
    assert "expected a passphrase" in said


TOKEN_MAKER = """
import pkcs11, sys
from pkcs11.util.ec import encode_named_curve_parameters
library, *labels = sys.argv[1:]
with pkcs11.lib(library).get_token(token_label="audit").open(rw=True, user_pin="2468") as session:
    for label in labels:
        session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")},
            local=True,
        ).generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=label
        )
"""
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def test_keys_in_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM has the signer's key, and the one that it is rotated to: none is in a file."""
    assert SOFTHSM.exists(), "expected SoftHSM: apt-get install softhsm2"
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tokens}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    util = ["softhsm2-util", "--init-token", "--free", "--label", "audit"]
    subprocess.run([*util, "--pin", "2468", "--so-pin", "1357"], check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", TOKEN_MAKER, str(SOFTHSM), "one", "two"], check=True)
    pin = tmp_path / "pin"
    pin.write_text("2468\n")
    pin.chmod(0o600)

    def uri(label: str) -> str:
        return f"pkcs11:token=audit;object={label}?module-path={SOFTHSM}&pin-source=file:{pin}"

    said = run_apart("signer", "init", "example.com/trail", "--pkcs11", uri("one"), cwd=tmp_path)
    first = said.strip().rpartition(" ")[2]
    process = SignerProcess(tmp_path / "signer")
    config = tmp_path / "indelible.toml"
    config.write_text(CONFIG + f'signer = "{process.url}"\n')
    with process:
        run_apart("init", cwd=tmp_path)
        record_one(config)
    rotate = ("rotate", "--signer", "signer")
    file = tmp_path / "signer" / "trail.key"
    before = file.read_text()
    said = run_apart(*rotate, "--both-for", "0", cwd=tmp_path, exit_code=2)
    assert "expected --pkcs11 URI" in said
    assert file.read_text() == before
    run_apart(*rotate, "--pkcs11", uri("two"), "--both-for", "0", cwd=tmp_path)
    with process:
        record_one(config)
    run_apart(*rotate, "--finish", cwd=tmp_path)
    with process:
        second = record_one(config)
        assert second != first
    said = run_apart("verify", "--key", first, "--trail", "trail.db", cwd=tmp_path)
    assert "PRIVATE" not in (tmp_path / "signer" / "trail.key").read_text()
    # The token is away: nothing is signed, and nothing is lost.
    with process:
        shutil.move(tokens, tmp_path / "away")
        with Trail.open(config) as trail:
            signed = trail.reader.state().checkpoint
            trail.record("invoice.refund")
            trail.flush()
            until(lambda: UNSIGNED in [each.action for each in trail.notices()])
            assert trail.reader.state().checkpoint == signed
            assert [each.event.action for each in trail.events(action="invoice.*")][-1:]
        shutil.move(tmp_path / "away", tokens)
    with process:
        record_one(config)
        with Trail.open(config, relay=False) as trail:
            assert len(list(trail.events(action="invoice.*"))) == 5
    for broken, why in (
        (uri("three"), "expected an Ed25519 key 'three'"),
        (uri("one").replace("token=audit", "token=other"), "in the token 'other'"),
        (uri("one").replace("softhsm2.so", "none.so"), "none.so"),
        (uri("one").replace(f"file:{pin}", "env:NO_PIN"), "expected a PIN"),
        (uri("one") + "&pin-value=2468", "with these four parts"),
        ("pkcs11:object=one", "with these four parts"),
    ):
        said = run_apart(
            *("signer", "init", "example.com/a", "--directory", "a", "--pkcs11", broken),
            cwd=tmp_path,
            exit_code=2,
        )
        assert why in said
        assert "2468" not in said
    pin.write_text("9753\n")
    said = run_apart("signer", "serve", "--socket", str(process.socket), cwd=tmp_path, exit_code=2)
    assert "PinIncorrect" in said
    assert "9753" not in said


def record_one(config: Path) -> str:
    """An event, signed; by which key."""
    with Trail.open(config) as trail:
        event_id = trail.record("invoice.refund")
        assert event_id is not None
        from indelible.integrity.acks import Ack

        trail.await_ack(event_id, Ack.CHECKPOINTED, timeout_s=30)
        return trail.verify().vkey

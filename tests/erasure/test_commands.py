"""Erasing and holding as people do it: one asks, two sign, one acts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from indelible import Target

from .searching import found_in
from .site import BEFORE, FIRST, SECOND, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.work()
    made.forget()
    return made


def run(shop: Shop, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("indelible")), *arguments],
        cwd=shop.directory,
        env={"PATH": "", "HOME": str(shop.directory.parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def signed(shop: Shop, file: str) -> None:
    for name in ("one", "three"):
        said = run(shop, "authorise", file, "--key", f"authorisers/{name}", "--yes")
        assert f"shop.example/{name}" in said


def test_from_the_request_to_what_verify_says(shop: Shop) -> None:
    """A hold first: it stops the erasure, which then does what was signed."""
    said = run(shop, "erase", "customer:1", "--request", "erase.act", "--reason", "request 4411")
    assert "2 of 3 authorisers" in said and "by its token alone" in said
    assert b"customer" not in (shop.directory / "erase.act").read_bytes()
    said = run(shop, "erase", "customer:1", "--authorisation", "erase.act", code=1)
    assert "nothing was done" in said
    said = run(shop, "authorise", "erase.act", "--key", "authorisers/one", "--yes")
    assert "subject.erase in the trail localhost/shop" in said
    assert "customer:1" in said and "request 4411" in said
    said = run(shop, "erase", "customer:1", "--authorisation", "erase.act", code=1)
    assert "expected 2 of 3 authorisers to have signed, 1 did" in said
    signed(shop, "erase.act")

    run(shop, "hold", "add", "customer:1", "--request", "hold.act", "--reason", "case 12")
    signed(shop, "hold.act")
    run(shop, "hold", "add", "customer:1", "--authorisation", "hold.act")
    (held,) = map(json.loads, run(shop, "hold", "list", "--json").splitlines())
    said = run(shop, "erase", "customer:1", "--authorisation", "erase.act", code=1)
    assert f"customer:1 is held by entry {held['index']}" in said
    run(shop, "hold", "release", "customer:1", "--request", "free.act", "--reason", "case closed")
    said = run(shop, "authorise", "free.act", "--key", "authorisers/two", "--yes")
    assert f"hold:    that of entry {held['index']}: case 12" in said
    signed(shop, "free.act")
    run(shop, "hold", "release", "customer:1", "--authorisation", "free.act")
    assert "nothing is held" in run(shop, "hold", "list")

    said = run(shop, "erase", "customer:1", "--authorisation", "erase.act")
    assert "can't be read here any more" in said
    assert "destroy every older copy of the master key" in said
    assert found_in(shop.directory, (BEFORE, FIRST, SECOND)) == []
    assert "(erased)" in run(shop, "changes", "--by", "staff:alice")
    assert "erased as authorised: 1" in run(shop, "verify")
    run(shop, "status")


def test_the_application_goes_on_meanwhile(shop: Shop) -> None:
    """It has the subject's key at hand, and doesn't seal with it any more once that is gone."""
    with shop.open() as (trail, connection):
        run(shop, "erase", "customer:1", "--request", "erase.act", "--reason", "request 4411")
        signed(shop, "erase.act")
        run(shop, "erase", "customer:1", "--authorisation", "erase.act")
        connection.execute("INSERT INTO customer VALUES (1, 'back@example.org', 'new')")
        connection.commit()
        trail.flush()
        (state,) = trail.state(Target("customer", "1"))
        assert state.state.columns["email"] == "back@example.org"
        assert trail.verify().acts.erased == 1
        assert trail.notices() == ()
    assert found_in(shop.directory, (BEFORE, FIRST, SECOND)) == []


def test_an_export_keeps_values_sealed(shop: Shop) -> None:
    """Whoever gets the file needs the keys, too, which are in no file."""
    run(shop, "export", "changes", "--by", "staff:alice", "--to", "evidence")
    found = found_in(shop.directory, (BEFORE, FIRST, SECOND))
    assert not [line for line in found if line.startswith("evidence")]
    key = (shop.directory / "trail.db.keys" / "trail.pub").read_text().strip()
    assert "(sealed)" in run(shop, "verify", "evidence", "--key", key)
    assert '\\"t\\":\\"sealed\\"' in (shop.directory / "evidence").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("erase", "customer:1"), "expected --request FILE --reason TEXT, or --authorisation"),
        (("erase", "customer:1", "--request", "f"), "expected --reason beside --request"),
        (("erase", "customer:1", "--authorisation", "none"), "expected a file at none"),
        (("authorise", "app.db", "--key", "authorisers/one"), "expected a request as text"),
        (("authorise", "indelible.toml", "--key", "authorisers/one"), "expected 8 lines"),
    ],
    ids=["nothing", "no reason", "no file", "no text", "no request"],
)
def test_what_is_typed_wrongly(shop: Shop, arguments: tuple[str, ...], said: str) -> None:
    code = 3 if said == "expected 8 lines" else 2
    assert said in run(shop, *arguments, code=code)


def test_install_warns_of_one_folder(shop: Shop) -> None:
    """Whoever copies keystore and master key together reads what is erased later."""
    assert "the keystore and its master key are in one folder" in run(shop, "install")
    (shop.directory / "trail.db.master.key").rename(shop.directory.parent / "master.key")
    text = shop.config.read_text()
    shop.config.write_text(text.replace("[retention]", '[retention]\nmaster_key = "../master.key"'))
    assert "in one folder" not in run(shop, "install")


def test_of_whom_nothing_is_known(shop: Shop) -> None:
    said = run(shop, "erase", "customer:77", "--request", "f", "--reason", "r", code=1)
    assert "nothing is sealed for customer:77" in said


def test_a_lost_keystore_is_said(shop: Shop) -> None:
    """What is captured waits: nothing is delivered in clear, and no other keystore is made."""
    (shop.directory / "trail.db.keystore").unlink()
    said = run(shop, "relay", "--once", code=2)
    assert "expected a keystore at" in said and "put it back" in said

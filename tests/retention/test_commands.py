"""Retention as people do it: one asks, another works it out again, two sign, one acts."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from indelible import Actor, Subject, Trail
from indelible.events.codec import parse_time
from indelible.events.model import Event, TargetRows
from indelible.integrity.keys import create_signing_key, load_signing_key
from tests.erasure.searching import found_in
from tests.integrity.trails import Maker

DAY = 86_400_000_000
POLICY = """
[trail]
url = "sqlite:///trail.db"
origin = "localhost/shop"
[relay]
poll_s = 0.01
[tiers]
lake = "lake"
iceberg = "shop.audit.entry"
[retention]
access_detail = "100 days"
accesses = "30 years"
authorisers = {k = 1, keys = ["%s"]}
verifiers = ["%s"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two years of reads, years ago."""
    directory = tmp_path / "shop"
    (tmp_path / ".pyiceberg.yaml").write_text(
        f"catalog:\n  shop:\n    uri: sqlite:///{tmp_path}/catalogue.db\n"
        f"    warehouse: file://{tmp_path}/warehouse\n"
    )
    directory.mkdir()
    keys = [create_signing_key(directory / name, f"shop.example/{name}") for name in ("a", "v")]
    (directory / "indelible.toml").write_text(POLICY % tuple(each.verifier_key for each in keys))
    with Trail.create(directory / "indelible.toml"):
        pass
    key = load_signing_key(directory / "trail.db.keys" / "trail.key")
    with contextlib.closing(Maker.going_on(directory / "trail.db", key, seq=0)) as maker:
        for day in range(60):
            maker.clock.now += DAY
            maker.sequencer.deliver(
                [
                    maker.delivery(read(f"s{n % 2}", f"secret-{day}-{n}-x"), time=maker.clock.now)
                    for n in range(12)
                ]
            )
        maker.store.release_lease(maker.lease)
    return directory


def read(actor: str, secret: str) -> Event:
    return Event(
        action="invoice.read",
        kind="access",
        actor=Actor("staff", actor),
        targets=(TargetRows("invoice", ((secret,),)),),
        subjects=(Subject("customer", "zara"),),
    )


def run(shop: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("indelible")), *arguments],
        cwd=shop,
        env={"PATH": "", "HOME": str(shop.parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows_in_iceberg(shop: Path) -> int:
    catalogue = SqlCatalog("shop", uri=f"sqlite:///{shop.parent}/catalogue.db")
    with contextlib.closing(catalogue):
        return int(catalogue.load_table("audit.entry").scan().count())


def test_from_what_is_due_to_what_verify_says(shop: Path) -> None:
    """Each step says what the next one is; what is too little is refused, and nothing is lost."""
    assert "due of what is sealed: 0 bodies" in run(shop, "retain")
    said = run(shop, "retain", "--request", "r.act", "--reason", "as every month")
    assert "sealed entries 0 to" in said
    assert "accesses, all but the day before 2026-" in said
    assert "by a verifier, then `indelible authorise r.act --key KEY` by 1 of 1" in said
    assert "due of what is sealed: " in run(shop, "retain")
    again = ("retain", "--request", "r.act", "--reason", "again")
    assert "can't write r.act: File exists" in run(shop, *again, code=2)
    run(shop, "retain", "--authorisation", "r.act", code=1)
    said = run(shop, "authorise", "r.act", "--key", "a", "--yes")
    assert "retention in the trail localhost/shop" in said and "signed by shop.example/a" in said
    assert "1 verifiers to attest" in run(shop, "retain", "--authorisation", "r.act", code=1)
    said = run(shop, "attest", "r.act", "--key", "v", "--yes")
    assert "worked out again" in said
    assert found_in(shop, ("secret-3-1-x",)) != []
    run(shop, "seal")
    rows = rows_in_iceberg(shop)
    said = run(shop, "retain", "--authorisation", "r.act")
    (dropped,) = re.findall(r"dropped: (\d+) bodies", said)
    assert rows_in_iceberg(shop) == rows - int(dropped) < rows
    assert "dropped: " in said and "to lake/" in said.replace(str(shop) + "/", "")
    assert found_in(shop, ("secret-3-1-x", "secret-20-7-x")) == []
    said = run(shop, "verify")
    assert "bodies that retention dropped, as authorised" in said
    assert "acts of retention: 1, all attested by a verifier" in said
    said = run(shop, "status")
    assert "to be dropped by now: access_detail before 2026-" in said
    assert "dropped: accesses are known by day only before 2026-" in said


def test_what_answers_say(shop: Path) -> None:
    """By day, until when, and by whom that is attested; in JSON, too."""
    run(shop, "retain", "--request", "r.act", "--reason", "as every month")
    run(shop, "attest", "r.act", "--key", "v", "--yes")
    run(shop, "authorise", "r.act", "--key", "a", "--yes")
    run(shop, "retain", "--authorisation", "r.act")
    window = ("--since", "2023", "--until", "2023")
    said = run(shop, "accessors", "--of", "customer:zara", *window)
    assert "staff:s0" in said and "(day)" in said
    assert "accesses are known by day only before 2026-" in said
    assert "attested by a verifier" in said
    lines = run(shop, "accessors", "--of", "customer:zara", *window, "--json").splitlines()
    found = list(map(json.loads, lines))
    assert {each["resolution"] for each in found[:-1]} == {"day"}
    assert found[-1]["retained"]["self_attested"] == []
    assert parse_time(found[-1]["retained"]["access_detail"])


def test_an_attestation_of_another_policy(shop: Path) -> None:
    """What was asked for isn't what these entries give: nothing is signed."""
    run(shop, "retain", "--request", "r.act", "--reason", "as every month")
    text = (shop / "r.act").read_text()
    (shop / "r.act").write_text(text.replace("held 0", "held 1"))
    assert "Ask for it anew" in run(shop, "attest", "r.act", "--key", "v", "--yes", code=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('accesses = "3 days"', "expected accesses longer than access_detail, which is 100 days"),
        ('changes = "soon"', "changes: expected a length of time"),
        ("events = 3", "expected events as str"),
        ('verifiers = "me"', "expected verifiers as a list"),
        ('baselines = "1 year"', "unknown key 'baselines'"),
    ],
)
def test_a_policy_that_can_t_be(shop: Path, line: str, says: str) -> None:
    config = shop / "indelible.toml"
    key = line.partition(" ")[0]
    kept = [each for each in config.read_text().splitlines() if not each.startswith(f"{key} ")]
    config.write_text("\n".join([*kept, line, ""]))
    assert says in run(shop, "retain", code=2)

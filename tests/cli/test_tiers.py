"""Sealing, and asking across tiers, as a person does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from indelible import Actor, Subject, Target, Trail, acting_as

TOML = """
[trail]
url = "sqlite:///trail.db"
[tiers]
sealed = "old"
lake = "lake"
hot_price = 0.1
sealed_price = 0.02
"""
FUTURE = "2100-01-01"
BY = ("--by", "staff:alice")


class Shell:
    """A folder with a trail, in which commands are run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "indelible.toml").write_text(TOML)
        with Trail.create(directory / "indelible.toml") as trail:
            self.record(trail, 700)

    def record(self, trail: Trail, count: int) -> None:
        with acting_as(Actor("staff", "alice")):
            for n in range(count):
                trail.record(
                    "invoice.refund",
                    kind="change",
                    target=Target("invoice", n),
                    subject=Subject("customer", "zara"),
                )

    def __call__(self, *arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from indelible.cli import main; main()", *arguments],
            cwd=self.directory,
            env={**os.environ, "XDG_STATE_HOME": str(self.directory / "state"), "TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path)


def test_seal_and_ask(shell: Shell) -> None:
    """What was sealed is in the answers, which name the tiers; `tier` and `status` say the rest."""
    before = shell("changes", *BY)
    assert "tiers:" not in before
    assert "nothing to seal" in shell("seal")  # none is 90 days old
    assert "nothing to seal" in shell("seal", "--before", FUTURE)  # nor fills a segment
    sealed = shell("seal", "--before", FUTURE, "--all")
    assert "sealed entries 0 to 511" in sealed
    assert "copied entries 0 to 511 to lake/month=" in sealed
    after = shell("changes", *BY)
    assert [line for line in after.splitlines() if "invoice:" in line] == [
        line for line in before.splitlines() if "invoice:" in line
    ]
    assert "tiers: sealed 20" in after and "(old) · hot from 20" in after
    (*_, told) = map(json.loads, shell("changes", *BY, "--json").splitlines())
    assert [tier["name"] for tier in told["tiers"]] == ["sealed", "hot"]
    table = shell("tier")
    assert "sealed" in table and "old" in table and "512" in table and "lake: 1 files" in table
    assert "sealed: 512 entries from" in shell("status")
    assert "whole: " in shell("verify")
    assert "nothing to seal" in shell("seal", "--before", FUTURE)


def test_a_report_goes_over_what_is_sealed(shell: Shell) -> None:
    """The person is told of both parts; where one can't be read there is no report."""
    of = ("accessors", "--of", "customer:zara", "--as-report")
    told = json.loads(shell("seal", "--before", FUTURE, "--all", "--json").splitlines()[0])
    shell(*of, "zara.html")
    page = (shell.directory / "zara.html").read_text()
    assert "Searched: an archived part of the trail, from 20" in page
    assert "Searched: the current part of the trail, from 20" in page
    assert '<td class="count">0</td><td class="count">700</td>' in page
    assert f"invoice (changed): {', '.join(map(str, range(700)))}<" in page
    (shell.directory / "old" / told["sealed"]["name"]).unlink()
    assert "there is none" in shell(*of, "again.html", exit_code=3)
    assert not (shell.directory / "again.html").exists()


def test_what_is_wrong_is_said_with_the_right_exit_code(shell: Shell) -> None:
    """Damaged or missing: 3, and named. Out of reach: 4. Back again: as before."""
    told = json.loads(shell("seal", "--before", FUTURE, "--all", "--json").splitlines()[0])
    name = told["sealed"]["name"]
    path = shell.directory / "old" / name
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:400] + b"\0" + whole[401:-1])
    (shell.directory / "old" / "stray.seg").write_bytes(b"")
    assert "it has " in (said := shell("tier", exit_code=3)) and name in said
    assert "left by a run that was stopped: old/stray.seg" in said
    for command in (("verify",), ("changes", *BY)):
        assert name in shell(*command, exit_code=3)
    path.unlink()
    assert "there is none" in shell("tier", exit_code=3)
    assert "there is none" in shell("accesses", *BY, exit_code=3)
    (shell.directory / "old").rename(shell.directory / "away")
    assert "is it mounted?" in shell("accesses", *BY, exit_code=4)
    (shell.directory / "away").rename(shell.directory / "old")
    path.write_bytes(whole)
    assert "whole: " in shell("verify")


def test_what_programs_read(shell: Shell) -> None:
    """A line of JSON each: tiers, segments, the lake."""
    sealed, copied = map(
        json.loads, shell("seal", "--before", FUTURE, "--all", "--json").splitlines()
    )
    told = list(map(json.loads, shell("tier", "--json").splitlines()))
    assert [each["name"] for each in told[:2]] == ["sealed", "hot"]
    assert told[2] == {"segment": sealed["sealed"]}
    assert told[3]["lake"] == {"path": "lake", "files": 1, "bytes": copied["lake"]["bytes"]}


def test_the_lake_is_a_table_of_iceberg(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """`seal` makes and fills it, `tier` names it; out of reach it holds up no sealing."""
    config = shell.directory / "indelible.toml"
    named = 'lake = "lake"\niceberg = "shop.audit.entry"'
    config.write_text(config.read_text().replace('lake = "lake"', named))
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", "sqlite:///away/catalogue.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", f"file://{shell.directory}/warehouse")
    said = shell("seal", "--before", FUTURE, "--all", exit_code=4)
    assert "copied entries 0 to 511 to lake/month=" in said
    assert "can't list lake as shop.audit.entry of Iceberg: OperationalError" in said
    monkeypatch.setenv("PYICEBERG_HOME", str(shell.directory))
    (shell.directory / ".pyiceberg.yaml").write_text("catalog: {shop: {uri: 'hunter2'}}")
    said = shell("seal", exit_code=2)
    assert "expected pyiceberg to take its configuration: FlowMappingDisallowed" in said
    assert "hunter2" not in said
    (shell.directory / ".pyiceberg.yaml").unlink()
    (shell.directory / "away").mkdir()
    shell("seal", "--before", FUTURE)
    assert ", for the table shop.audit.entry of Iceberg" in shell("tier")
    (*_, told) = map(json.loads, shell("tier", "--json").splitlines())
    assert told["lake"]["iceberg"] == "shop.audit.entry"
    catalogue = SqlCatalog("shop", uri=f"sqlite:///{shell.directory}/away/catalogue.db")
    assert catalogue.load_table("audit.entry").scan().count() == 512
    catalogue.close()


@pytest.mark.parametrize("place", ["gs://bucket/old", "file:///tmp/old"])
def test_an_address_is_no_folder(shell: Shell, place: str) -> None:
    """What we can't write to isn't taken for a name here."""
    said = shell("seal", "--before", FUTURE, "--all", "--to", place, exit_code=2)
    assert f"expected a folder or s3://bucket/prefix, got {place}" in said
    assert "sealed" not in shell("tier").partition("hot")[0]


def test_a_folder_locks_nothing(shell: Shell) -> None:
    """Where the configuration has segments locked, they aren't put where nothing is."""
    config = shell.directory / "indelible.toml"
    text = config.read_text()
    config.write_text(text.replace('"old"', '"s3://bucket/old"\nlock = "compliance"'))
    said = shell("seal", "--before", FUTURE, "--all", "--to", "old", exit_code=2)
    assert "expected lock only with s3://bucket/prefix, got old" in said


def test_a_place_that_can_t_be_written(shell: Shell) -> None:
    """Says so, and keeps what there is."""
    (shell.directory / "file").write_text("")
    said = shell("seal", "--before", FUTURE, "--all", "--to", "file", exit_code=4)
    assert "can't write to" in said and "nothing is lost" in said
    assert "whole: " in shell("verify")

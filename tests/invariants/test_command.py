"""`indelible reconcile`, as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .site import Site, without_triggers

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, card TEXT);
INSERT INTO customer VALUES (1, 'Zara', '4711'), (2, 'Yan', '4712');
CREATE TABLE cache (id INTEGER PRIMARY KEY);
"""
POLICY = '[tables.customer]\nmask = ["card"]\n[tables.cache]\nwrites = false\n'


def indelible(directory: Path, *arguments: str, code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from indelible.cli import main; main()", *arguments],
        cwd=directory,
        env={**os.environ, "NO_COLOR": "1", "XDG_STATE_HOME": str(directory / "state")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An application that isn't running, with a trail that was carried."""
    site = Site(tmp_path, SCHEMA, POLICY)
    site.run("UPDATE customer SET name = 'Zoe' WHERE id = 1")
    site.stop()
    return tmp_path


def test_what_a_person_sees(directory: Path) -> None:
    """Nothing: 0. Something: a line a column, what wasn't compared, 1; and `status` says it."""
    said = indelible(directory, "reconcile", code=0)
    assert "nothing was changed without the trail seeing it" in said
    assert "customer: 2 rows compared, as of outbox row 1; differences: none" in said
    assert "cache: not compared: writes = false in the policy" in said
    assert "masked, never captured: card" in said

    with without_triggers(directory / "app.db") as client:
        client.execute("UPDATE customer SET name = '\x1b[31mred', card = 'stolen' WHERE id = 1")
        client.execute("DELETE FROM customer WHERE id = 2")
    said = indelible(directory, "reconcile", "customer", code=1)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert any(line.startswith('customer:1 differs name "Zoe"') for line in lines)
    assert "[31mred" in said
    assert any(line.startswith("customer:2 missing id 2 -") for line in lines)
    assert "\x1b" not in said
    assert "stolen" not in said
    assert "4712" not in said
    assert "differences: 1 missing, 1 differs" in said

    said = indelible(directory, "status", code=1)
    assert "customer: changed without the trail seeing it: 1 missing, 1 differs" in " ".join(
        said.split()
    )


def test_as_json(directory: Path) -> None:
    """One object a difference, one a table, and one at the end."""
    with without_triggers(directory / "app.db") as client:
        client.execute("INSERT INTO customer VALUES (3, 'Mallory', 'stolen')")

    objects = [
        json.loads(line)
        for line in indelible(directory, "reconcile", "--json", "customer", code=1).splitlines()
    ]

    assert objects[0]["id"] == [3]
    assert objects[0]["what"] == "extra"
    assert objects[0]["columns"]["name"] == [{"t": "absent"}, "Mallory"]
    assert objects[1]["table"]["rows"] == 3
    assert objects[2]["summary"]["differences"]["extra"] == 1


def test_a_table_that_isnt_there(directory: Path) -> None:
    """That is the caller's mistake: 2, and what there is is said."""
    said = indelible(directory, "reconcile", "nobody", code=2)

    assert "expected tables of the database, got nobody; it has cache, customer" in said

"""What a check tries where the trail is at home, and what it must not do there."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible import Actor, Trail
from indelible.capture.sqlite_install import install
from indelible.invariants.home import Home, copy_database
from indelible.invariants.verdicts import Verdict
from indelible.policy import Policy, parse_policy
from tests.erasure.site import POLICY, YAN, ZARA, Shop
from tests.integrity.witnesses import until

from .site import Site

REVERSIBLE = '[[invariant]]\nkind = "reversible"\nwindow = "30 days"\n'
ROLLED_BACK = f'{REVERSIBLE}name = "rolled-back"\nrehearse = "rolled-back"\n'
SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO customer VALUES (1, 'Zara');
CREATE TABLE invoice (id INTEGER PRIMARY KEY, total INTEGER);
INSERT INTO invoice VALUES (1, 10);
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop", policy=POLICY)
    shop.config.write_text(shop.config.read_text() + REVERSIBLE + ROLLED_BACK)
    shop.work()
    return shop


def checked(shop: Shop) -> list[Verdict]:
    with Trail.open(shop.config) as trail:
        return list(trail.check())


# -- sealed values ---------------------------------------------------------------------------------


def test_what_is_sealed_is_reversed(shop: Shop) -> None:
    """Sealed values are opened for a rehearsal, also where a change of them waits in the outbox."""
    assert [each.verdict for each in checked(shop)] == ["holds so far"] * 2
    assert "rehearsed for 1 actors" in checked(shop)[0].words
    with contextlib.closing(sqlite3.connect(shop.database)) as connection:
        (waiting,) = connection.execute("SELECT count(*) FROM indelible_outbox").fetchone()
    assert waiting


def test_what_was_lawfully_erased_is_no_fault(shop: Shop) -> None:
    """It can't be restored, and mustn't be: that is no promise broken."""
    shop.forget()
    with Trail.open(shop.config) as trail:
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        trail.flush()
    for found in checked(shop):
        assert found.verdict == "holds so far", found.words
        assert "with values that were lawfully erased" in found.words


def test_an_outbox_that_was_cleared_holds_nothing_unreadable(shop: Shop) -> None:
    """What an erasure leaves behind in the trail's index isn't taken for damage."""
    shop.forget()
    with Trail.open(shop.config) as trail:
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        trail.erasures.erase(YAN, shop.authorise(trail, "subject.erase", YAN))
        actions = [each.event.action for each in trail.events(action="outbox.*", system=True)]
        assert "outbox.cleared" in actions
        (*_, summary) = trail.reconcile()
    assert "couldn't be read" not in str(summary)


def test_stuck_rows_are_told_without_their_keys(tmp_path: Path) -> None:
    """A key may be an address: the words of a check stand in the trail for all who read it."""
    schema = """
    CREATE TABLE person (email TEXT PRIMARY KEY, level INTEGER) WITHOUT ROWID;
    INSERT INTO person VALUES ('zara@secret.example', 1), ('yan@secret.example', 2);
    """
    site = Site(tmp_path, schema, f'{REVERSIBLE}brief = "5 minutes"\n')
    site.run("INSERT INTO person VALUES ('xaver@secret.example', 3)", actor=Actor("staff", "bob"))
    site.run("DELETE FROM person WHERE email = 'zara@secret.example'")
    site.direct("CREATE UNIQUE INDEX few ON person (level / 1000) WHERE level IN (1, 3)")
    install(site.database, site.trail.policy, journal=site.trail.journal)
    assert site.reconcile().differences == []
    (found,) = site.trail.check()
    site.stop()
    assert found.verdict == "falls short", found.words
    assert "1 rows can't be restored; the first: a row of person (" in found.words
    assert found.words.endswith("): the database refuses it")
    assert "secret.example" not in found.words


# -- a copy ----------------------------------------------------------------------------------------


class Busy(sqlite3.Connection):
    """Between two steps of a copy somebody commits, so often, and waits for nobody."""

    commits = 0
    most = 0

    def backup(self, target: sqlite3.Connection, **how: Any) -> None:
        progress = how.pop("progress")
        (_, _, path) = self.execute("PRAGMA database_list").fetchone()

        def look(status: int, remaining: int, total: int) -> None:
            progress(status, remaining, total)
            if self.commits < self.most:
                with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
                    other.execute("INSERT INTO filler VALUES (1)")
                    other.commit()
                self.commits += 1

        super().backup(target, progress=look, **how)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    """A database of 10 MB, without WAL: who reads all of it at once keeps others from writing."""
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db", factory=Busy)) as connection:
        connection.execute("CREATE TABLE filler (x)")
        connection.executemany("INSERT INTO filler VALUES (?)", [(b"x" * 100_000,)] * 100)
        connection.commit()
        yield connection


def test_a_copy_lets_others_write(busy: Busy, tmp_path: Path) -> None:
    """It is made in steps, and begun again where somebody wrote: it is whole in the end."""
    busy.most = 5
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        copy_database(busy, copy)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM filler").fetchone() == (105,)
    assert busy.commits == 5


def test_a_copy_gives_up_where_others_always_write(busy: Busy, tmp_path: Path) -> None:
    """A check doesn't stand in their way for it."""
    busy.most = 1_000
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy,
        pytest.raises(sqlite3.OperationalError, match="others write to the database all the time"),
    ):
        copy_database(busy, copy)


# -- a canary --------------------------------------------------------------------------------------


class Host:
    """Of a `CaptureHost` what a canary needs."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy


class Nothing:
    def flush(self, timeout_s: float = 30.0) -> None:
        pass


def home(directory: Path, policy: str = "", **options: Any) -> Home:
    text = f'[trail]\nurl = "sqlite:///trail.db"\n{policy}'
    host = Host(parse_policy(text, directory=directory))
    nothing: Any = Nothing()
    return Home(
        host,  # type: ignore[arg-type]
        nothing,
        nothing,
        open_outbox=nothing,
        witnesses=lambda: None,
        **options,
    )


def test_a_canary_gets_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What opens the trail's keys isn't handed to a program that needs it for nothing."""
    monkeypatch.setenv("WHAT_OPENS", "hunter2hunter2")
    monkeypatch.setenv("HSM_PIN", "271828")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///app.db")
    script = "import os; open('seen', 'w').write(repr(dict(os.environ)))"
    at_home = home(tmp_path, 'passphrase_env = "WHAT_OPENS"\n')
    actor, why = at_home.try_canary([sys.executable, "-c", script])
    assert actor is not None, why
    seen = (tmp_path / "seen").read_text()
    assert actor.id in seen
    assert "DATABASE_URL" in seen
    assert "hunter2" not in seen
    assert "271828" not in seen


def test_a_canary_that_hangs_leaves_nobody_behind(tmp_path: Path) -> None:
    """Its children are killed with it, also those that it doesn't wait for."""
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "os.rename('child', 'pid')\n"
        "time.sleep(600)\n"
    )
    at_home = home(tmp_path, canary_s=3.0)
    actor, why = at_home.try_canary([sys.executable, "-c", script])
    assert actor is None
    assert why.endswith("took longer than 3 s")
    child = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    """Whether it runs: nobody may have asked yet how it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


CANARY = """
import os
from indelible import Actor, Trail, acting_as
from indelible.capture.sqlite3 import connect
with Trail.open("indelible.toml") as trail:
    connection = connect("app.db", trail=trail)
    with acting_as(Actor("canary", os.environ["INDELIBLE_CANARY"])):
        connection.execute("SELECT * FROM customer").fetchall()
        connection.execute("UPDATE customer SET name = name || 'x'")
        connection.commit()
    connection.close()
"""


@pytest.mark.parametrize(
    ("table", "verdict", "words"),
    [
        ("customer", "holds so far", "the canary was found"),
        ("invoice", "falls short", "no accesses and no changes of invoice of it came to the trail"),
    ],
)
def test_a_canary_shows_its_own_tables(
    tmp_path: Path, table: str, verdict: str, words: str
) -> None:
    """What it did to others says nothing of those that are promised."""
    site = Site(
        tmp_path,
        SCHEMA,
        f'[[invariant]]\nkind = "enumerable"\nwindow = "1 day"\ntables = ["{table}"]\n'
        f'canary = ["{sys.executable}", "canary.py"]\n',
    )
    (tmp_path / "canary.py").write_text(CANARY)
    site.run("SELECT * FROM customer", "UPDATE invoice SET total = 11")
    (found,) = site.trail.check()
    assert (found.verdict, words in found.words) == (verdict, True), found.words
    site.stop()

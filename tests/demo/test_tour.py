"""The whole tour: it ends well, what it says is so, and the commands that it names work."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from indelible import Actor, Trail
from indelible.demo.shop.opening import CONFIG, DATABASE
from indelible.demo.showing import PLAIN_WIDTH
from indelible.demo.tour import run

MAX_S = 60


class Tour(NamedTuple):
    """A tour that was run into a kept directory."""

    directory: Path
    text: str
    took_s: float

    def chapter(self, title: str) -> str:
        """What stands between this heading and the next."""
        found = re.search(
            rf"^\d  {title} ─+$(.*?)(?=^\d  |\Z)", self.text, re.DOTALL | re.MULTILINE
        )
        assert found is not None, f"no chapter {title}"
        return found[1]

    def answers(self) -> list[tuple[list[str], str]]:
        """Each command line, as words, with what is shown below it."""
        pieces = re.split(r"^\$ (indelible .*)$", self.text, flags=re.MULTILINE)
        return [
            (shlex.split(words), answer)
            for words, answer in zip(pieces[1::2], pieces[2::2], strict=True)
        ]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    directory = tmp_path_factory.mktemp("tour")
    out = StringIO()
    began = time.monotonic()
    run(Console(file=out), directory)
    return Tour(directory, out.getvalue(), time.monotonic() - began)


def test_the_tour_ends_in_time(tour: Tour) -> None:
    """All chapters are there, within a minute."""
    assert re.findall(r"^(\d)  .*─$", tour.text, re.MULTILINE) == list("123456")
    assert tour.took_s < MAX_S


def test_without_a_terminal_it_is_plain_text(tour: Tour) -> None:
    """No escape sequence; no line but a command is longer than the width."""
    assert "\x1b" not in tour.text
    too_long = [line for line in tour.text.splitlines() if len(line) > PLAIN_WIDTH]
    assert [line for line in too_long if not line.startswith("$ ")] == []


def test_the_two_lines_are_those_that_run(tour: Tour) -> None:
    """The code shown is the application's own."""
    lines = [line.strip() for line in tour.chapter("Two lines of code").splitlines()]
    assert "trail = Trail.open(config)" in lines
    assert "capture(engine, trail)" in lines


def test_it_answers_the_questions(tour: Tour) -> None:
    """Alice's three changes, Trudy's reads without a change, and everybody who saw Zara's data."""
    answers = {tuple(words[1:4]): answer for words, answer in tour.answers()}
    alice = answers["changes", "--by", "staff:alice"]
    assert re.findall(r"\b\w+\.(?:insert|update|delete)\b", alice) == [
        "customer.update",
        "invoice.update",
        "note.insert",
    ]
    trudy = answers["accesses", "--by", "staff:trudy"]
    assert "customer:zara" in trudy and "invoice_line:[1002,1]" in trudy
    zara = answers["accessors", "--of", "customer:zara"]
    assert re.findall(r"^(?:staff:(\w+)|\((\w+)\)) ", zara, re.MULTILINE) == [
        ("alice", ""),
        ("trudy", ""),
        ("bob", ""),
        ("carol", ""),
        ("", "unattributed"),
    ]


def test_nothing_is_only_possible(tour: Tour) -> None:
    """Every answer of the tour is exact: nothing was left uncertain."""
    assert set(re.findall(r"possible: (\d+)", tour.text)) == {"0"}


def test_bob_is_reversed_but_for_carols_correction(tour: Tour) -> None:
    """The first time restores all but one column, the second nothing; the rows are back."""
    chapter = tour.chapter("Reversing Bob")
    assert "First time: 18 rows restored · 0 already so · 1 with a conflict" in chapter
    assert "Once more: 0 rows restored" in chapter
    with closing(sqlite3.connect(tour.directory / DATABASE)) as shop:
        one = lambda query: shop.execute(query).fetchone()  # noqa: E731
        assert one("SELECT email, address FROM customer WHERE id = 'zara'") == (
            "zara.quist@example.org",
            "Poplar Lane 4, Utrecht",
        )
        assert one("SELECT count(*) FROM customer WHERE id IN ('wim', 'bobs-friend')") == (1,)
        assert one("SELECT count(*) FROM invoice WHERE customer_id = 'wim'") == (2,)
        assert one("SELECT count(*) FROM invoice_line WHERE invoice_id IN (1031, 1032)") == (3,)
        assert one("SELECT count(*) FROM ticket WHERE status = 'open'") == (6,)
        assert one("SELECT count(*) FROM note") == (13,)
        assert one("SELECT total_cents FROM invoice WHERE id = 1002") == (1,)


def test_the_reversal_names_what_it_reverses(tour: Tour) -> None:
    """Each of Dana's changes names events of Bob's, and every change of Bob's is named."""
    with Trail.open(tour.directory / CONFIG, relay=False) as trail:
        of_bob = {finding.event.id for finding in trail.changes(by=Actor("staff", "bob"))}
        reversed_ = [
            set(found.event.reverses) for found in trail.changes(by=Actor("staff", "dana"))
        ]
    assert len(reversed_) == 18 and all(reversed_)
    assert set().union(*reversed_) == of_bob


def test_tampering_is_named_at_its_index(tour: Tour) -> None:
    """The trail verifies; the edited copy doesn't, and the entry that was edited is named."""
    chapter = tour.chapter("Is all of this true\\?")
    assert "assurance: unwitnessed, one trust domain" in chapter
    edited = re.search(r"in entry (\d+)", chapter)
    assert edited is not None
    assert f"index {edited[1]}: body, salt or head isn't what was committed to" in chapter


def test_no_secret_is_shown(tour: Tour) -> None:
    """No key and no password hash is in what the tour prints."""
    for key in ("trail.key", "context.key"):
        secret = (tour.directory / "trail.db.keys" / key).read_text().strip()
        assert secret not in tour.text
    with closing(sqlite3.connect(tour.directory / DATABASE)) as shop:
        hashes = [row[0] for row in shop.execute("SELECT password_hash FROM staff")]
    assert hashes and not any(each in tour.text for each in hashes)


def test_every_command_gives_the_answer_shown(tour: Tour, tmp_path: Path) -> None:
    """Typed in the tour's directory, each command ends as it says, with as many findings."""
    codes = {"status": 1, "reverse": 1, "verify": 0}
    seen = set()
    for words, answer in tour.answers():
        if words[1] in ("demo", "init") or "shop/indelible.toml" in words:
            continue
        seen.add(words[1])
        ran = subprocess.run(
            [sys.executable, "-c", "from indelible.cli import main; main()", *words[1:]],
            cwd=tour.directory,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        expected = 3 if "tampered.db" in words else codes.get(words[1], 0)
        assert ran.returncode == expected, (words, ran.stdout, ran.stderr)
        for counted in re.findall(r"certain: \d+ · possible: \d+", answer):
            assert counted in ran.stdout
        for named in re.findall(r"^index \d+: .*$", answer, re.MULTILINE):
            assert named in ran.stderr
    assert seen == {
        *("changes", "accesses", "events", "accessors"),
        *("status", "reverse", "verify", "check"),
    }

"""Promises of a real application: what is tried, not only read; the command and its files."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlite_install import install
from indelible.cli.init import command as init
from indelible.demo.shop.opening import POLICY
from indelible.errors import ConfigurationError
from indelible.invariants.reports import junit_of, prometheus_of
from indelible.invariants.verdicts import Verdict
from indelible.policy import parse_policy
from tests.end_to_end.chinook import SAMPLES
from tests.integrity.witnesses import until

from .site import ALICE, Site, without_triggers
from .test_command import indelible

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, card TEXT, notes TEXT);
INSERT INTO customer VALUES (1, 'Zara', '4711', 'n'), (2, 'Yan', '4712', 'm');
CREATE TABLE invoice (id INTEGER PRIMARY KEY, total INTEGER NOT NULL);
INSERT INTO invoice VALUES (1, 10);
CREATE TABLE cache (id INTEGER PRIMARY KEY);
"""
REVERSIBLE = '[[invariant]]\nkind = "reversible"\nwindow = "6 months"\n'
ENUMERABLE = '[[invariant]]\nkind = "enumerable"\nof = ["changes"]\nwindow = "3 years"\n'


def judged(site: Site) -> Verdict:
    (found,) = site.trail.check()
    return found


def test_a_reversal_is_rehearsed_and_leaves_nothing(tmp_path: Path) -> None:
    """On a copy: rows of the application, its outbox and the trail are what they were."""
    site = Site(tmp_path, SCHEMA, REVERSIBLE)
    site.run("UPDATE customer SET name = 'Zoe' WHERE id = 1", "DELETE FROM invoice WHERE id = 1")
    site.trail.flush()
    before = list(sqlite3.connect(site.database).iterdump())

    found = judged(site)

    assert found.verdict == "holds so far", found.words
    assert "rehearsed for 1 actors: 2 rows restored" in found.words
    assert list(sqlite3.connect(site.database).iterdump()) == before
    site.trail.flush()
    assert [each.event.actor for each in site.trail.changes(by=ALICE)] == [ALICE] * 2
    assert list(site.trail.changes(by=Actor("indelible", "rehearsal"))) == []
    assert site.trail.notices() == ()
    site.stop()


def test_what_others_built_on_is_no_fault(tmp_path: Path) -> None:
    """A conflict with a later change is what a reversal is to find, not a promise broken."""
    site = Site(tmp_path, SCHEMA, f'{REVERSIBLE}by = "staff:bob"\n')
    site.run("UPDATE customer SET name = 'Zoe' WHERE id = 1", actor=Actor("staff", "bob"))
    site.run("UPDATE customer SET name = 'Zed' WHERE id = 1")
    found = judged(site)
    assert found.verdict == "holds so far", found.words
    site.stop()


def test_a_masked_column_makes_a_reversal_impossible(tmp_path: Path) -> None:
    """The row that was deleted can't come back whole: its mask is why."""
    site = Site(tmp_path, SCHEMA, '[tables.customer]\nmask = ["card"]\n' + REVERSIBLE)
    site.run("UPDATE customer SET name = 'Zoe' WHERE id = 1")
    found = judged(site)
    assert found.verdict == "holds so far"
    assert "never captured, so never reversed: customer card" in found.words

    site.run("DELETE FROM customer WHERE id = 2")
    found = judged(site)
    assert (found.verdict, found.figure) == ("falls short", 1.0)
    assert "customer.delete: a column of the row was never captured (mask)" in found.words
    assert found.example is not None
    site.stop()


def test_a_reversal_that_the_database_refuses(tmp_path: Path) -> None:
    """A constraint that came later keeps the old row out: a rehearsal finds it, nothing else."""
    site = Site(tmp_path, SCHEMA, f'{REVERSIBLE}brief = "5 minutes"\n')
    site.run("INSERT INTO invoice VALUES (2, 20)", actor=Actor("staff", "bob"))
    site.run("DELETE FROM invoice WHERE id = 1")
    site.direct("CREATE UNIQUE INDEX one_a_thousand ON invoice (total / 1000)")
    install(site.database, site.trail.policy, journal=site.trail.journal)
    assert site.reconcile().differences == []
    found = judged(site)
    assert (found.verdict, found.figure) == ("falls short", 1.0), found.words
    assert "rehearsed for staff:alice: 1 rows can't be restored" in found.words
    assert "the first: a row of invoice (" in found.words
    assert found.words.endswith("): the database refuses it"), found.words
    site.stop()


def test_triggers_that_are_away_now(tmp_path: Path) -> None:
    """What the database shows counts before any entry says it; so does a table left out."""
    site = Site(tmp_path, SCHEMA, ENUMERABLE)
    site.run("UPDATE invoice SET total = 11")
    site.trail.flush()
    assert judged(site).verdict == "holds so far"
    with contextlib.closing(sqlite3.connect(site.database)) as client:
        triggers = client.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'invoice'"
        ).fetchall()
        for (name,) in triggers:
            client.execute(f'DROP TRIGGER "{name}"')
        client.commit()
    found = judged(site)
    assert found.verdict == "falls short"
    assert "invoice" in found.words
    assert "to now" in found.words
    site.stop()


def test_triggers_that_somebody_put_back(tmp_path: Path) -> None:
    """They were away for a moment: the hole ends when `install` finds nothing to do."""
    site = Site(tmp_path, SCHEMA, ENUMERABLE)
    site.run("UPDATE invoice SET total = 11")
    site.stop()
    with without_triggers(site.database):
        pass
    with Trail.open(site.configuration) as trail:
        trail.notice("capture.drift", "invoice: triggers missing", table="invoice")
        trail.flush()
        assert "to now)" in trail.check()[0].words
        indelible(tmp_path, "install", code=0)
        trail.flush()
        (found,) = trail.check()
    assert found.verdict == "falls short"
    assert "to now)" not in found.words


def test_a_table_that_was_dropped(tmp_path: Path) -> None:
    """The hole ends when `install` has forgotten it; a brief one may be let pass."""
    site = Site(tmp_path, SCHEMA, f'{ENUMERABLE}{ENUMERABLE}brief = "5 minutes"\n')
    site.run("UPDATE invoice SET total = 11")
    site.direct("DROP TABLE cache")
    until(lambda: "capture.drift" in {notice.action for notice in site.trail.notices()})
    open_hole, still = site.trail.check()
    assert (open_hole.verdict, still.verdict) == ("falls short", "falls short")
    assert "cache: dropped" in open_hole.words
    assert "to now)" in open_hole.words

    install(site.database, site.trail.policy, journal=site.trail.journal)
    assert site.reconcile().differences == []
    closed, passed = site.trail.check()
    assert closed.verdict == "falls short"
    assert "to now)" not in closed.words
    assert passed.verdict == "holds so far", passed.words
    site.stop()


def test_a_table_that_nobody_captures(tmp_path: Path) -> None:
    """Named, it can't be told; where any table is promised it is said to be left out."""
    promises = f'{ENUMERABLE}tables = ["cache"]\n{ENUMERABLE}'
    site = Site(tmp_path, SCHEMA, f"[tables.cache]\nwrites = false\n{promises}")
    named, any_table = site.trail.check()
    assert named.verdict == "can't tell"
    assert "since when changes of cache are captured" in named.words
    assert any_table.verdict == "holds so far", any_table.words
    assert "left out: cache: writes = false in the policy" in any_table.words
    site.stop()


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """What is captured now can't be told where the database can't be looked at."""
    site = Site(tmp_path, SCHEMA, ENUMERABLE)
    site.run("UPDATE invoice SET total = 11")
    site.trail.flush()
    site.stop()
    site.database.rename(tmp_path / "elsewhere.db")
    with Trail.open(site.configuration, relay=False) as trail:
        (found,) = trail.check()
    assert found.verdict == "can't tell"
    assert "the database can't be looked at" in found.words


def test_accesses_need_an_allow(tmp_path: Path) -> None:
    """What was read under a deny, or under nothing, is counted; under an allow it isn't."""
    site = Site(tmp_path, SCHEMA, '[[invariant]]\nkind = "authorised"\nby = "staff"\n')
    with acting_as(ALICE), site.engine.begin() as connection:
        with site.trail.decide("customer.view", allowed=True, target=Target("customer", 1)):
            connection.exec_driver_sql("SELECT * FROM customer WHERE id = 1").fetchall()
        with site.trail.decide("customer.view", allowed=False, target=Target("customer", 2)):
            connection.exec_driver_sql("SELECT * FROM customer WHERE id = 2").fetchall()
    found = judged(site)
    assert (found.verdict, found.figure) == ("falls short", 1.0), found.words
    assert "staff:alice, customer.select customer:2: deny" in found.words or (
        "customer:2: deny" in found.words
    )
    site.stop()


CANARY = """
import os, sqlite3, sys
from indelible import Actor, Trail, acting_as
from indelible.capture.sqlite3 import connect
with Trail.open("indelible.toml") as trail:
    connection = connect("app.db", trail=trail)
    with acting_as(Actor("canary", os.environ["INDELIBLE_CANARY"])):
        connection.execute("SELECT * FROM invoice").fetchall()
        if len(sys.argv) < 2:
            connection.execute("UPDATE invoice SET total = total")
        connection.commit()
    connection.close()
    sys.exit(len(sys.argv) > 2)
"""


@pytest.mark.parametrize(
    ("arguments", "verdict", "words"),
    [
        ([], "holds so far", "the canary was found"),
        (["read"], "falls short", "no changes of it came to the trail"),
        (["read", "fail"], "can't tell", "ended with 1"),
    ],
    ids=["whole", "half", "failing"],
)
def test_a_canary(tmp_path: Path, arguments: list[str], verdict: str, words: str) -> None:
    """The application does something as somebody new, and that is looked for in the trail."""
    command = json.dumps([sys.executable, "canary.py", *arguments])
    site = Site(
        tmp_path,
        SCHEMA,
        f'[[invariant]]\nkind = "enumerable"\nwindow = "1 day"\ncanary = {command}\n',
    )
    (tmp_path / "canary.py").write_text(CANARY)
    site.run("SELECT * FROM customer")
    found = judged(site)
    assert (found.verdict, words in found.words) == (verdict, True), found.words
    site.stop()


FIVE = """
[tables.Customer]
subject = "self"
[tables.Invoice]
subject = "CustomerId -> Customer"
[[invariant]]
promise = "we can enumerate the records any user accessed or modified during an arbitrary window, \
going back up to three years"
kind = "enumerable"
window = "3 years"
[[invariant]]
promise = "reverse any changes made by a user, up to six months"
kind = "reversible"
window = "6 months"
[[invariant]]
promise = "for any customer, enumerate all users who accessed their data for any window within the \
last 12 months, and with daily resolution within the last 2 years"
kind = "accessors"
of = "customer"
window = "12 months"
daily = "2 years"
[[invariant]]
promise = "someone reading our application logs can take over no account"
kind = "log_clean"
files = ["app.log"]
classes = ["takeover"]
[[invariant]]
promise = "a leak of the logs creates no reporting obligation"
kind = "log_clean"
files = ["app.log"]
classes = ["personal", "special"]
"""


def test_five_promises_of_a_shop(tmp_path: Path) -> None:
    """Chinook makes them word for word, works, and they hold so far; all is reversed on a copy."""
    source = sqlite3.connect(SAMPLES / "chinook" / "chinook.sqlite")
    site = Site(tmp_path, "\n".join(source.iterdump()), FIVE)
    source.close()
    (tmp_path / "app.log").write_text("started\n")
    site.run(
        "SELECT * FROM Customer WHERE CustomerId < 9",
        "SELECT Total FROM Invoice WHERE CustomerId = 5",
        "UPDATE Track SET UnitPrice = UnitPrice * 2 WHERE AlbumId < 40",
        "DELETE FROM InvoiceLine WHERE InvoiceId IN "
        "(SELECT InvoiceId FROM Invoice WHERE CustomerId = 2)",
        "DELETE FROM Invoice WHERE CustomerId = 2",
        "UPDATE Customer SET Company = upper(Company), Fax = NULL",
    )
    verdicts = site.trail.check()
    site.stop()
    assert [each.verdict for each in verdicts] == ["holds so far"] * 3 + ["holds"] * 2, [
        each.words for each in verdicts
    ]
    assert [each.promise.split()[0] for each in verdicts] == [
        "we",
        "reverse",
        "for",
        "someone",
        "a",
    ]


def test_the_demo_makes_the_same_promises() -> None:
    """Word for word, of logs of its own."""

    def made(text: str) -> list[tuple[str, dict[str, object]]]:
        found = parse_policy(text).invariants
        return [
            (each.kind, msgspec.structs.asdict(each) | {"name": "", "files": ()}) for each in found
        ]

    assert made(POLICY.format(number=1)) == made('[trail]\nurl = "sqlite:///t.db"\n' + FIVE)


# -- the command -----------------------------------------------------------------------------------


def test_what_a_person_sees(tmp_path: Path) -> None:
    """Words, figure and example; files for machines; 0 or 1."""
    site = Site(tmp_path, SCHEMA, '[[invariant]]\npromise = "all of it"\n' + ENUMERABLE[14:])
    site.run("UPDATE invoice SET total = 11")
    site.stop()
    said = indelible(tmp_path, "check", "--junit", "c.xml", "--prometheus", "c.prom", code=0)
    assert "holds so far: enumerable\n  “all of it”\n  changes of any table: without a hole" in said
    assert ET.parse(tmp_path / "c.xml").getroot().attrib["failures"] == "0"
    assert 'indelible_invariant_holds{invariant="enumerable"' in (tmp_path / "c.prom").read_text()

    with site.configuration.open("a") as file:
        file.write('[[invariant]]\nkind = "tamper_evident"\n')
    said = indelible(tmp_path, "check", "--json", code=1)
    first, second = map(json.loads, said.splitlines())
    assert (first["verdict"], second["verdict"]) == ("holds so far", "falls short")
    assert (second["figure"], second["required"], second["standing"]) == (0.0, 1.0, "enforced")
    assert "falls short: 1" in indelible(tmp_path, "check", code=1)
    assert "invariant.fell_short" in indelible(tmp_path, "status", code=1)


def test_nothing_promised_is_an_error(tmp_path: Path) -> None:
    """A check that checks nothing must not look like one that found nothing."""
    Site(tmp_path, SCHEMA).stop()
    said = indelible(tmp_path, "check", code=2)
    assert "expected [[invariant]] with what is promised, it has none" in said


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    site = Site(tmp_path, SCHEMA, ENUMERABLE)
    site.stop()
    said = indelible(tmp_path, "check", "--junit", "no/c.xml", code=2)
    assert "can't write no/c.xml: No such file or directory" in said


@pytest.mark.parametrize("company", ["small-team", "saas", "health", "payments"])
def test_init_writes_promises(tmp_path: Path, company: str) -> None:
    """What it writes can be read back, has every promise in words, and can be checked at once."""
    config = tmp_path / "indelible.toml"
    arguments = ["--for", company, "--config", str(config)]
    done = CliRunner().invoke(init, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with Trail.open(config) as trail:
        assert len(trail.policy.invariants) >= 6
        assert all(invariant.promise for invariant in trail.policy.invariants)
        verdicts = trail.check()
    assert {each.verdict for each in verdicts} <= {
        "can't tell",
        "falls short",
        "holds",
        "holds so far",
    }
    with pytest.raises(ConfigurationError, match=r"expected no .* beside --for"):
        CliRunner().invoke(init, arguments, catch_exceptions=False, standalone_mode=False)


# -- what programs read ----------------------------------------------------------------------------

HOSTILE = Verdict(
    name='a"b\\c',
    kind="forbids",
    promise="<never> & \x1b[31m\x00",
    verdict="falls short",
    words='1 time\n"x" \x07 ]]>',
    figure=1.0,
    required=0.0,
)


def test_prometheus_reads_it() -> None:
    """Its own parser does, whatever stands in names."""
    good = Verdict(name="good", kind="retained", verdict="holds", words="w", unit="seconds")
    text = prometheus_of([HOSTILE, good], at=1_700_000_000.5)
    families = {each.name: each for each in text_string_to_metric_families(text)}
    holds = {s.labels["invariant"]: s.value for s in families["indelible_invariant_holds"].samples}
    assert holds == {'a"b\\c': 0.0, "good": 1.0}
    assert [s.value for s in families["indelible_invariant_figure"].samples] == [1.0]
    assert families["indelible_checked_seconds"].samples[0].value == 1_700_000_000.5


def test_junit_is_xml() -> None:
    """Control characters don't break it; what is planned is skipped, what isn't known an error."""
    unknown = Verdict(name="u", kind="complete", verdict="can't tell", words="why")
    planned = Verdict(
        name="p", kind="complete", verdict="falls short", words="w", standing="planned"
    )
    suite = ET.fromstring(junit_of([HOSTILE, unknown, planned], took_s=1.5))
    assert {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == '1 time\n"x" \\x07 ]]>'


def test_it_watches_until_it_is_stopped(tmp_path: Path) -> None:
    """Each round is an entry and a whole file of metrics; what fell short in between shows."""
    site = Site(tmp_path, SCHEMA, '[[invariant]]\nkind = "log_clean"\nfiles = ["app.log"]\n')
    site.stop()
    (tmp_path / "app.log").write_text("started\n")
    watching = subprocess.Popen(
        [
            *(sys.executable, "-c", "from indelible.cli import main; main()"),
            *("check", "--watch", "1", "--prometheus", "c.prom"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        metrics = tmp_path / "c.prom"
        until(lambda: metrics.exists() and "log_clean" in metrics.read_text())
        (tmp_path / "app.log").write_text("Authorization: Bearer ghp_a1B2c3D4e5a1B2c3D4e5a1B2c3\n")
        until(lambda: 'unit="count"} 0.0' in metrics.read_text().split("# HELP")[1])
    finally:
        watching.send_signal(signal.SIGTERM)
        said, errors = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert said.index("holds: log_clean") < said.index("falls short: log_clean")
    assert "Traceback" not in errors
    with Trail.open(site.configuration) as trail:
        trail.flush()
        checks = list(trail.events(action="invariants.checked", system=True))
        assert len(checks) >= 2
        assert [each.action for each in trail.notices()] == ["invariant.fell_short"]

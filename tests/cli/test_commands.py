"""The commands, run as a person runs them, on a real application."""

from __future__ import annotations

import ast
import base64
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from indelible import cli
from indelible.testing import tamper

SCHEMA = """
CREATE TABLE customer (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer_id TEXT REFERENCES customer, total INTEGER);
INSERT INTO customer VALUES ('zara', 'Zara'), ('yan', 'Yan');
INSERT INTO invoice VALUES (93, 'zara', 120), (94, 'yan', 50);
"""
TABLES = """
[tables.customer]
subject = "self"

[tables.invoice]
subject = "customer_id -> customer"
"""
APPLICATION = """
from sqlalchemy import create_engine, text
from indelible import Actor, Subject, Trail, acting_as
from indelible.capture.sqlalchemy import capture

engine = create_engine("sqlite:///app.db")
trail = Trail.open("indelible.toml")
capture(engine, trail)
with acting_as(Actor("staff", "trudy"), ip="192.0.2.7"), engine.connect() as connection:
    connection.execute(text("SELECT total FROM invoice WHERE id = 93")).scalar()
with acting_as(Actor("staff", "bob"), reason="ticket 4411"), engine.begin() as connection:
    connection.execute(text("UPDATE invoice SET total = 1 WHERE id = 93"))
    connection.execute(text("UPDATE invoice SET total = 2 WHERE id = 94"))
    trail.record("user.logged_in", subject=Subject("customer", "zara"))
with acting_as(Actor("staff", "carol")), engine.begin() as connection:
    connection.execute(text("UPDATE invoice SET total = 7 WHERE id = 94"))
trail.close()
"""


def test_every_command_that_opens_a_trail_can_ask_for_the_passphrase() -> None:
    """None of them has `Trail.open` without who asks at the terminal."""
    opened = 0
    for module in Path(cli.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Trail.open", "telling"):
                opened += 1
                words = [ast.unparse(each.value) for each in call.keywords if each.arg == "ask"]
                words += [ast.unparse(each) for each in call.args[1:]]
                assert words == ["asker()"], f"{module.name}, line {call.lineno}"
    assert opened > 5


class Shell:
    """A folder in which commands are run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *command: str, exit_code: int = 0) -> str:
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(self.directory / "state"),
            "TZ": "UTC",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def indelible(self, *arguments: str, exit_code: int = 0) -> str:
        code = "from indelible.cli import main; main()"
        return self.run("-c", code, *arguments, exit_code=exit_code)

    def sql(self, script: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.directory / "app.db")
        try:
            if ";" in script:
                connection.executescript(script)
                return []
            rows = connection.execute(script).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An installed application."""
    return installed(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An installed application that no test changes."""
    return installed(tmp_path_factory.mktemp("unchanged"))


def installed(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    made.sql(SCHEMA)
    made.indelible("init")
    with (tmp_path / "indelible.toml").open("a") as file:
        file.write(TABLES)
    made.indelible("install")
    return made


def test_the_main_job_from_the_command_line(shell: Shell) -> None:
    """Install, work, ask the four questions, reverse, prove: as the tutorial says."""
    shell.run("-c", APPLICATION)
    changes = shell.indelible("changes", "--by", "staff:bob", "--since", "1 hour ago")
    assert "total: 120 → 1" in changes
    assert "ticket 4411" in changes
    accesses = shell.indelible("accesses", "--by", "staff:trudy")
    assert "invoice:93" in accesses
    assert "invoice:94" not in accesses
    accessors = shell.indelible("accessors", "--of", "customer:zara")
    assert "staff:trudy" in accessors
    assert "staff:bob" in accessors
    assert "staff:carol" not in accessors
    assert "invoice:93" in shell.indelible("accesses", "--by", "staff:trudy", "--events")
    assert "user.logged_in" in shell.indelible("events", "--action", "user.*")
    assert "staff:carol" in shell.indelible("history", "invoice:94")

    plan = shell.indelible("reverse", "--by", "staff:bob", exit_code=1)
    assert "restorable: 1" in plan
    assert "by staff:carol" in plan
    assert shell.sql("SELECT total FROM invoice ORDER BY id") == [(1,), (7,)]
    shell.indelible("reverse", "--by", "staff:bob", "--apply", "--as", "staff:carol", exit_code=1)
    assert shell.sql("SELECT total FROM invoice ORDER BY id") == [(120,), (7,)]
    again = shell.indelible("reverse", "--by", "staff:bob", "--apply", exit_code=1)
    assert "restored: 0 · already so: 1" in again
    shell.indelible("relay", "--once")
    assert "120" in shell.indelible("state", "invoice:93")
    assert "1" in shell.indelible("state", "invoice:93", "--at", "now")

    verified = shell.indelible("verify")
    assert "assurance: unwitnessed, one trust domain" in verified
    assert "grown from" in shell.indelible("verify", "--only-new")


def test_every_answer_is_also_json(shell: Shell) -> None:
    """One object a line, the last says what was searched."""
    shell.run("-c", APPLICATION)
    for command in (
        ["changes", "--by", "staff:bob"],
        ["accesses", "--by", "staff:trudy"],
        ["accessors", "--of", "customer:zara"],
        ["events"],
        ["history", "invoice:93"],
    ):
        objects = [json.loads(line) for line in shell.indelible(*command, "--json").splitlines()]
        assert len(objects) > 1
        assert objects[-1]["searched"] == {"since": None, "until": None}
    (state,) = shell.indelible("state", "invoice:93", "--json").splitlines()
    assert json.loads(state)["state"]["columns"]["total"] == 1


def test_tampering_exits_with_3_and_names_the_index(shell: Shell) -> None:
    """Evidence that doesn't verify has an exit code of its own."""
    shell.run("-c", APPLICATION)
    shell.indelible("verify")
    with sqlite3.connect(shell.directory / "trail.db") as connection:
        connection.execute("UPDATE block SET salts = zeroblob(length(salts))")
    connection.close()
    assert "index 0: body, salt or head" in shell.indelible("verify", exit_code=3)


def test_what_another_client_changed_is_noticed_until_acknowledged(shell: Shell) -> None:
    """`status` exits with 1 while somebody has to look, and says so until they did."""
    shell.indelible("relay", "--once")
    assert "nothing noticed is unacknowledged" in shell.indelible("status")
    shell.sql("UPDATE invoice SET total = 0 WHERE id = 93")
    shell.indelible("relay", "--once")
    noticed = shell.indelible("status", exit_code=1)
    assert "changes.unattributed" in noticed
    assert "(unattributed)" in shell.indelible("history", "invoice:93")
    lines = shell.indelible("status", "--json", exit_code=1).splitlines()
    index = next(json.loads(line)["index"] for line in lines if "changes.unattributed" in line)
    shell.indelible("ack", str(index), "--by", "staff:carol", "--reason", "a test")
    shell.indelible("relay", "--once")
    assert "nothing noticed is unacknowledged" in shell.indelible("status")


def test_a_dry_run_prints_the_sql_and_changes_nothing(tmp_path: Path) -> None:
    """Who is careful reads what would be done."""
    shell = Shell(tmp_path)
    shell.sql(SCHEMA)
    shell.indelible("init")
    before = shell.sql("SELECT name FROM sqlite_schema")
    assert "CREATE TRIGGER" in shell.indelible("install", "--dry-run")
    assert shell.sql("SELECT name FROM sqlite_schema") == before


def test_uninstall_leaves_the_database_as_it_was(shell: Shell, tmp_path: Path) -> None:
    """Nothing of ours stays in the application's schema."""
    shell.indelible("relay", "--once")
    assert "sqlite_sequence stays until VACUUM" in shell.indelible("uninstall")
    assert shell.sql("SELECT name FROM sqlite_schema WHERE name LIKE 'indelible%'") == []
    assert shell.sql("SELECT count(*) FROM invoice") == [(2,)]
    shell.indelible("relay", "--once")
    assert "capture.uninstalled" in shell.indelible("events", "--system")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["changes", "--by", "alice"], 2, "expected KIND:ID, as in staff:alice"),
        (["changes", "--by", "staff:alice", "--since", "soon"], 2, "can't read 'soon' as since"),
        (
            ["changes", "--by", "staff:alice", "--since", "2022", "--until", "2020"],
            2,
            "ends before it starts",
        ),
        (["changes", "--by", "staff:nobody"], 0, "the trail has never heard of staff:nobody"),
        (["accessors", "--of", "customer:nobody"], 0, "never heard of customer:nobody"),
        (["history", "invoice:[1,"], 2, "a composite id as JSON"),
        (["changes", "--by", "staff:a", "--config", "other.toml"], 2, "`indelible init` writes"),
        (["ack", "7"], 2, "expected the index of something noticed"),
        (["init"], 2, "expected no key at"),
        (["init", "--logs", "--database", "a.db"], 2, "expected either --logs or --database"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_what_is_wrong_is_said(
    unchanged: Shell, arguments: list[str], exit_code: int, message: str
) -> None:
    """Expected, came, what to do; never a traceback."""
    assert message in unchanged.indelible(*arguments, exit_code=exit_code)


def test_a_site_that_only_logs(tmp_path: Path) -> None:
    """`init --logs` names no database: nothing is said to be captured, or not to be, and all that
    was logged is in the trail."""
    shell = Shell(tmp_path)
    shell.indelible("init", "--logs")
    code = 'from indelible import logs; logs.configure(); logs.audit("user.logged_in")'
    shell.indelible("tee", "--", sys.executable, "-c", code)
    shell.indelible("relay", "--once")

    status = shell.indelible("status")
    assert "no database is watched" in status
    assert "nothing noticed is unacknowledged" in status
    assert "SQLite" not in status
    assert "drift" not in shell.indelible("status", "--json")
    assert "user.logged_in" in shell.indelible("events", "--action", "user.*")
    assert "expected [database] with url" in shell.indelible("install", exit_code=2)
    assert not (tmp_path / "app.db").exists()


def test_no_trail_and_an_unknown_key(tmp_path: Path) -> None:
    """Opening never creates; a mistyped key is named with its line."""
    shell = Shell(tmp_path)
    (tmp_path / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\n')
    assert "`indelible init` makes one" in shell.indelible("status", exit_code=2)
    assert not (tmp_path / "trail.db").exists()
    (tmp_path / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\nkeyz = 1\n')
    assert "line 3 [trail]: unknown key 'keyz'" in shell.indelible("status", exit_code=2)


def test_hostile_text_never_reaches_the_terminal(shell: Shell) -> None:
    """What a customer typed can't move a cursor, forge a line or hide."""
    shell.run(
        "-c",
        "from indelible import *\n"
        "t = Trail.open('indelible.toml')\n"
        "with acting_as(Actor('staff', 'e\\x1b[2Jve\\n\\u202e'), reason='[red]x[/red]\\r\\n'):\n"
        "    t.record('user.logged_in')\n"
        "t.close()\n",
    )
    shown = shell.indelible("events")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\r" not in shown
    assert "[red]x[/red]" in shown


def test_evidence_is_checked_where_there_is_no_trail(shell: Shell, tmp_path: Path) -> None:
    """Each question exports; another machine verifies; a verifier's signature makes it complete."""
    shell.run("-c", APPLICATION)
    trusted = (tmp_path / "trail.db.keys" / "trail.pub").read_text().strip()
    vkey = shell.indelible("key", "audit.example/verifier", "verifier.key").strip()
    assert (tmp_path / "verifier.key").stat().st_mode & 0o777 == 0o600
    elsewhere = Shell(tmp_path / "elsewhere")
    elsewhere.directory.mkdir()
    since = ("--since", "1 hour ago")
    for question, found in {
        ("changes", "--by", "staff:bob", *since): "total: 120 → 1",
        ("accesses", "--by", "staff:trudy"): "invoice:93",
        ("accessors", "--of", "customer:zara", "--also-as"): "staff:trudy",
        ("events", "--action", "user.*"): "user.logged_in",
        ("history", "invoice:94"): "staff:carol",
    }.items():
        name = f"elsewhere/{question[0]}.evidence"
        shell.indelible("export", *question, "--to", name, "--attest", "verifier.key")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        file = f"{question[0]}.evidence"
        believed = elsewhere.indelible("verify", file)
        assert found in believed
        assert "the file's own word" in believed
        assert "nobody you named says so" in believed
        said = elsewhere.indelible("verify", file, "--key", trusted, "--verifier", vkey)
        assert found in said
        assert f"complete: {vkey}" in said
        *entries, last = elsewhere.indelible("verify", file, "--json").splitlines()
        assert json.loads(last)["included"] == len(entries) > 0
    name = "elsewhere/changes.evidence"
    assert "found one" in shell.indelible(
        "export", "changes", "--by", "staff:bob", "--to", name, exit_code=2
    )
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw.replace(b"ticket 4411", b"ticket 4412"))
    assert "it was edited" in elsewhere.indelible("verify", "changes.evidence", exit_code=3)
    nothing = shell.indelible("export", "changes", "--by", "staff:nobody", "--to", "nothing")
    assert "0 entries" in nothing
    assert "no entries" in shell.indelible("verify", "nothing")
    full = shell.indelible(
        "export", "changes", "--by", "staff:bob", "--to", "/dev/full/file", exit_code=4
    )
    assert "nothing is there" in full


def test_whoever_asks_is_in_the_trail(shell: Shell) -> None:
    """What was typed, by which account; where that can't be written nothing is answered."""
    shell.run("-c", APPLICATION)
    shell.indelible("accessors", "--of", "customer:zara", "--since", "1 hour ago")
    shell.indelible("export", "changes", "--by", "staff:bob", "--to", "file")
    shell.indelible("reverse", "--by", "staff:bob", exit_code=1)
    shell.indelible("relay", "--once")
    said = shell.indelible("events", "--system", "--action", "trail.asked", "--json").splitlines()
    asked = [json.loads(line)["event"] for line in said if "trail.asked" in line]
    assert [event["details"]["question"] for event in asked] == [
        "accessors --of customer:zara --since '1 hour ago'",
        "export changes --by staff:bob --to file",
        "reverse --by staff:bob",
    ]
    assert {event["actor"]["kind"] for event in asked} == {"os"}
    assert "nothing noticed" in shell.indelible("status")
    shell.directory.joinpath("trail.db.journals").rename(shell.directory / "elsewhere")
    shell.directory.joinpath("trail.db.journals").mkdir(mode=0o700)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
    code = limited + "from indelible.cli import main; main()"
    said = shell.run("-c", code, "changes", "--by", "staff:bob", exit_code=4)
    assert "total: 120" not in said


def test_whoever_verifies_is_in_the_trail(shell: Shell) -> None:
    """With what came of it; a fault is noticed, and who may only read verifies all the same."""
    shell.run("-c", APPLICATION)
    whole = json.loads(shell.indelible("verify", "--json"))
    shell.indelible("verify", "--trail", "trail.db", "--key", whole["vkey"])  # as a stranger does
    shell.indelible("relay", "--once")
    said = shell.indelible("events", "--system", "--action", "trail.verified", "--json")
    (event,) = [json.loads(line)["event"] for line in said.splitlines() if "trail.ver" in line]
    assert event["actor"]["kind"] == "os"
    assert event["details"] == {
        "size": whole["size"],
        "root": base64.b64decode(whole["root"]).hex(),
        "since": 0,
        "assurance": "unwitnessed, one trust domain",
    }
    assert "nothing noticed" in shell.indelible("status")
    journals = shell.directory / "trail.db.journals"
    journals.rename(shell.directory / "elsewhere")
    journals.write_text("")
    assert "won't be in the trail: " in shell.indelible("verify")
    journals.unlink()
    (shell.directory / "elsewhere").rename(journals)
    tamper.edit_body(shell.directory / "trail.db", 3)
    assert "index 3: " in shell.indelible("verify", exit_code=3)
    shell.indelible("relay", "--once")
    status = shell.indelible("status", exit_code=1)
    assert "trail.not_verified" in status and "EntryMismatchError: index 3: " in status

"""Django's query API over the capturing backend: the same results, and every row accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from indelible import Actor, Subject, Trail
from indelible.events.values import ABSENT
from tests.django.crowd import ROUNDS, THREADS
from tests.django.expected import READS, WRITES
from tests.django.project import CAPTURED, PLAIN, POLICY

ROOT = Path(__file__).parents[2]


def run_module(module: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as Django is set up once in a process."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.django.{module}", str(directory), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def make_trail(directory: Path) -> Path:
    directory.mkdir()
    (directory / "indelible.toml").write_text(POLICY)
    Trail.create(directory / "indelible.toml").close()
    return directory


class Worked(NamedTuple):
    plain: dict[str, str]
    captured: dict[str, str]
    trail: Trail


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Worked:
    directory = tmp_path_factory.mktemp("django")
    (directory / "plain").mkdir()
    make_trail(directory / "captured")
    said = {}
    for name, engine in (("plain", PLAIN), ("captured", CAPTURED)):
        done = run_module("work", directory / name, engine)
        assert done.returncode == 0, done.stderr
        said[name] = json.loads(done.stdout)
    return Worked(**said, trail=Trail.open(directory / "captured" / "indelible.toml"))


def test_results_are_those_without_capture(worked: Worked) -> None:
    assert worked.captured == worked.plain


@pytest.mark.parametrize("shape", READS)
def test_a_read_is_an_access_to_the_rows_that_it_handed_out(worked: Worked, shape: str) -> None:
    by = Actor("staff", shape)
    found = {
        each.target_text if each.certain else f"{each.kind}~"
        for each in worked.trail.accesses(by=by)
    }
    assert found == READS[shape]
    assert list(worked.trail.access_events(by=by)), "not even a probe"


@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_the_changes_that_it_made(worked: Worked, write: str) -> None:
    found = [
        f"{each.event.action} {each.target_text.partition(':')[2]}"
        for each in worked.trail.changes(by=Actor("staff", write))
    ]
    assert sorted(found) == sorted(WRITES[write])


def test_the_trail_verifies(worked: Worked) -> None:
    worked.trail.flush()
    assert worked.trail.verify().size > 0


def test_no_thread_is_taken_for_another_and_a_kill_loses_nothing(tmp_path: Path) -> None:
    directory = make_trail(tmp_path / "crowd")
    done = run_module("crowd", directory)
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_crowd(directory)


def check_crowd(directory: Path) -> None:
    """The trail of `tests.django.crowd` knows who each was."""
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        for n in range(1, THREADS + 1):
            found = {
                each.target_text: (each.reads, each.changes)
                for each in trail.accesses(by=Actor("staff", f"number {n}"))
            }
            # The WHERE of an UPDATE reads nothing; `town` differs each time.
            assert found == {f"customer:{n}": (ROUNDS, ROUNDS // 5)}
        reads = {
            n: sum(
                each.reads
                for each in trail.accessors(of=Subject("label", str(n)))
                if each.certain  # rows that an INSERT hands back are told by statement
            )
            for n in range(1, 10)
        }
        assert reads == {n: int(n <= 7) for n in range(1, 10)}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "expected DATABASES['default']['OPTIONS']['trail'] to name an indelible.toml"),
        ("nowhere.toml", "nowhere.toml"),
        ("sqlite:///none.db", "`indelible init` makes one"),
    ],
)
def test_without_a_trail_it_says_what_to_do(tmp_path: Path, source: str, said: str) -> None:
    if source.startswith("sqlite"):
        source = f"sqlite:///{tmp_path}/none.db"
    done = run_module("once", tmp_path, source)
    assert done.returncode == 1
    assert "ImproperlyConfigured" in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "db.sqlite3").exists()


def test_a_database_in_memory_is_djangos_own(tmp_path: Path) -> None:
    done = run_module("once", tmp_path, "memory")
    assert (done.returncode, done.stdout) == (0, "(1,)\n"), done.stderr


def test_what_has_perm_answers_is_a_decision(tmp_path: Path) -> None:
    """By a permission, a superuser, nobody; for a model and for an object; sync and async."""
    directory = make_trail(tmp_path / "authorising")
    done = run_module("authorising", directory)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["recorded"] == said["plain"], "the answers are Django's own"
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        found = [
            (str(each.event.actor), each.event.action, each.target_text, each.decision_text)
            for each in trail.events()
            if each.event.kind == "decision"
        ]
        assert found == [
            ("user:1", "shop.view_customer", "customer:(any)", "allow by django permissions"),
            ("user:1", "shop.delete_customer", "customer:(any)", "deny by django permissions"),
            ("user:1", "shop.view_customer", "customer:(any)", "allow by django permissions"),
            ("user:1", "shop.view_customer", "customer:1", "deny by django permissions"),
            (
                "user:2",
                "shop.delete_customer",
                "customer:(any)",
                "allow by django permissions superuser",
            ),
            ("None", "shop.view_customer", "customer:(any)", "deny by django permissions"),
            ("user:1", "unnamed.unnamed", "", "deny by django permissions"),
        ]
        by = Actor("user", "1")
        lacking = [
            (each.event.action, each.target_text, each.lack_text)
            for each in trail.unauthorised(by=by)
            if each.targets and each.targets[0].kind == "customer"
        ]
        assert lacking == [
            ("customer.read", "customer:1", "deny by django permissions"),
        ]


def test_what_happens_to_users_is_an_event_each(tmp_path: Path) -> None:
    """By OWASP's names; nothing that was typed in, and nothing that was rolled back."""
    directory = make_trail(tmp_path / "logging_in")
    done = run_module("logging_in", directory)
    assert done.returncode == 0, done.stderr
    check_logins(directory)


def check_logins(directory: Path) -> None:
    """The trail of `tests.django.logging_in` has an event for each."""
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        events = [each.event for each in trail.events()]
        said = [
            " ".join([str(each.actor), each.action, each.outcome.value, *map(str, targets)])
            for each in events
            for targets in [[target.ids[0][0] for target in each.targets]]
        ]
        assert said == [
            "staff:admin user.created success 1",
            "staff:admin user.created success 2",
            "staff:admin user.deleted success 2",
            "staff:admin privilege.permissions_changed success 1",
            "staff:admin privilege.permissions_changed success 1",
            "staff:admin privilege.permissions_changed success 1",
            "staff:admin privilege.permissions_changed success 1",
            "staff:admin privilege.permissions_changed success 1",
            "staff:admin authn.password_change success 1",
            "None authn.login_fail failure 1",
            "None authn.login_fail failure",
            "None authn.login_fail failure 1",
            "user:1 authn.login_success success 1",
            "user:1 session.expired success 1",
        ]
        changed = [each for each in events if each.action == "privilege.permissions_changed"]
        assert [
            (each.targets[0].kind, (each.details or {})["change"], (each.details or {})["of"])
            for each in changed
        ] == [
            ("auth_user", "added", "group"),
            ("auth_user", "removed", "group"),
            ("auth_group", "added", "permission"),
            ("auth_user", "added", "permission"),
            ("auth_user", "cleared", "permission"),
        ]
        assert "secret" not in repr(events)


def test_capture_follows_a_migration(tmp_path: Path) -> None:
    """What the migration did to the rows while their table was new is in a baseline after it."""
    directory = make_trail(tmp_path / "moving")
    done = run_module("migrate", directory)
    assert done.returncode == 0, done.stderr
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        made = {
            name: [each.event.changes for each in trail.changes(by=Actor("staff", name))]
            for name in ("before", "after")
        }
        assert made["before"] == [
            {"id": (ABSENT, 1), "size": (ABSENT, "4")},
            {"id": (ABSENT, 2), "size": (ABSENT, "5")},
        ]
        assert made["after"] == [{"size": (10, 1)}, {"id": (1, ABSENT), "size": (8, ABSENT)}]
        noticed = [notice.message for notice in trail.notices() if "moving_box" in notice.message]
        assert noticed


def test_a_request_is_whose_it_is(tmp_path: Path) -> None:
    """Sync and async, streamed responses included, authenticated behind the middleware."""
    directory = make_trail(tmp_path / "served")
    done = run_module("serve", directory)
    assert done.returncode == 0, done.stderr
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        expected = {
            1: ["plain"],
            2: ["streamed"],
            3: ["task", "chunk"],
            4: ["task", "chunk"],
        }
        for n, towns in expected.items():
            found = [each.event for each in trail.changes(by=Actor("user", f"number {n}"))]
            assert [(event.changes or {})["town"][1] for event in found] == towns
        context = next(iter(trail.changes(by=Actor("user", "number 1")))).event.context or {}
        assert context["ip"] == "203.0.113.9"
        assert len(context["session"]) == 16

"""Django on MariaDB: the same results, every change whose it was, every read by row."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import Actor, Trail
from tests.django.expected import MARIADB_READS, WRITES
from tests.django.project import CAPTURED_MARIADB, PLAIN_MARIADB, POLICY
from tests.django.test_django import check_crowd, check_logins, run_module
from tests.django.test_django_postgresql import check_work
from tests.mariadb_server import MariadbDatabase, MariadbServer


@pytest.fixture
def databases(mariadb: MariadbServer, tmp_path: Path) -> Iterator[list[MariadbDatabase]]:
    """Two, each with a trail of its own."""
    made = [MariadbDatabase(mariadb, f"django{n}") for n in range(2)]
    for name, database in zip(("indelible", "archive"), made, strict=True):
        policy = POLICY.replace("trail.db", f"{name}.db")
        config = tmp_path / f"{name}.toml"
        config.write_text(f"{policy}[database]\nurl = '{database.url()}'\n")
        Trail.create(config).close()
    yield made
    for database in made:
        database.drop()


def urls(databases: list[MariadbDatabase]) -> str:
    return " ".join(database.url() for database in databases)


def test_everything_on_mariadb(
    mariadb: MariadbServer, databases: list[MariadbDatabase], tmp_path: Path
) -> None:
    plain = [MariadbDatabase(mariadb, f"plain{n}") for n in range(2)]
    said = []
    for engine, url in ((PLAIN_MARIADB, urls(plain)), (CAPTURED_MARIADB, urls(databases))):
        done = run_module("work", tmp_path, engine, url)
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    for database in plain:
        database.drop()
    assert said[0] == said[1]

    with Trail.open(tmp_path / "indelible.toml") as trail:
        check_work(trail, WRITES, MARIADB_READS | {"other_database": set()})
    with Trail.open(tmp_path / "archive.toml") as archive:
        check_work(archive, {}, {"list": set(), "other_database": MARIADB_READS["other_database"]})


def test_no_thread_is_taken_for_another_and_a_kill_loses_nothing(
    databases: list[MariadbDatabase], tmp_path: Path
) -> None:
    done = run_module("crowd", tmp_path, CAPTURED_MARIADB, databases[0].url())
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_crowd(tmp_path)


@pytest.mark.long
def test_what_happens_to_users_is_an_event_each(
    databases: list[MariadbDatabase], tmp_path: Path
) -> None:
    done = run_module("logging_in", tmp_path, CAPTURED_MARIADB, databases[0].url())
    assert done.returncode == 0, done.stderr
    check_logins(tmp_path)


def test_beneath_the_orm_and_cut_short(databases: list[MariadbDatabase], tmp_path: Path) -> None:
    """Procedures, streamed rows, tasks cancelled at any moment, a connection that was killed."""
    databases[0].execute(
        "CREATE PROCEDURE move_to_x(n INT) UPDATE shop_customer SET town = 'x' WHERE id = n"
    )
    done = run_module("mariadb", tmp_path, CAPTURED_MARIADB, databases[0].url())
    assert done.returncode == 0, done.stderr
    with Trail.open(tmp_path / "indelible.toml") as trail:
        trail.flush()

        def changed(name: str) -> list[str]:
            return [each.target_text for each in trail.changes(by=Actor("staff", name))]

        assert changed("caller") == ["customer:3"]
        assert changed("killed") == []
        assert changed("next") == [f"label:{n}" for n in range(100, 140)]
        assert {int(each.partition(":")[2]) // 100 for each in changed("cancelled")} <= {2}
        found = {each.target_text for each in trail.accesses(by=Actor("staff", "streaming"))}
        assert found == {"customer:1", "customer:2", "customer:3"}
        trail.verify()


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "indelible.toml").write_text(POLICY)
    Trail.create(tmp_path / "indelible.toml").close()
    done = run_module("crowd", tmp_path, CAPTURED_MARIADB, "mysql://u@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "expected [database] url to name the MariaDB or MySQL server" in done.stderr

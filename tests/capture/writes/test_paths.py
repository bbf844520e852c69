"""Each path by which rows are written, through each driver: an application sees nothing of capture,
and the trail has every change, whose it was, and folds to the table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytest
from tests.capture.mariadb.capturing import Captured as CapturedMariadb
from tests.capture.postgres.capturing import Captured as CapturedPostgres
from tests.django.project import (
    CAPTURED,
    CAPTURED_MARIADB,
    CAPTURED_SERVER,
    PLAIN,
    PLAIN_MARIADB,
    PLAIN_SERVER,
)
from tests.django.test_django import run_module
from tests.mariadb_server import MariadbDatabase, MariadbServer, mariadb
from tests.servers import Database, PostgresServer, postgres

from indelible import Actor, Trail, acting_as
from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_rows import OutboxDecoder
from indelible.capture.sqlite_install import install
from indelible.capture.sqlite_outbox import outbox_state, read_layouts, read_outbox
from indelible.events.model import Event
from indelible.events.values import TypedValue
from indelible.policy import parse_policy

from .capturing import KEY, MemoryHost
from .driving import MARIADB_DRIVERS, POSTGRES_DRIVERS, SQLITE_DRIVERS, Driver, Seen
from .folding import Rows, event_of, fold, live
from .paths import (
    MARIADB,
    MARIADB_RESET,
    MARIADB_SCHEMA,
    MARIADB_UNSEEN,
    POSTGRES,
    POSTGRES_RESET,
    POSTGRES_SCHEMA,
    POSTGRES_UNSEEN,
    RESET,
    SQLITE,
    SQLITE_SCHEMA,
    SQLITE_UNSEEN,
    Path,
    Unseen,
    takes,
)

__all__ = ["mariadb", "postgres"]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def run(
    driver: Driver, name: str, paths: Sequence[Path], reset: tuple[str, ...]
) -> dict[str, Seen]:
    """What is seen of each path that the driver has; each is its own actor's doing."""
    seen = {}
    for path in paths:
        if takes(name, path):
            driver.run(Path("reset", (), reset))
            with acting_as(Actor("path", path.name)):
                seen[path.name] = driver.run(path)
    driver.close()
    return seen


def check(
    name: str, paths: Sequence[Path], plain: dict[str, Seen], captured: dict[str, Seen], drafts: Any
) -> None:
    """Nothing else was seen, errors came where they belong, and each change is its path's."""
    found: dict[str, list[str]] = {path.name: [] for path in paths}
    for draft in drafts:
        event = event_of(draft)
        if event.actor is not None:
            found[event.actor.id].append(f"{event.action} {first_of(event)}")
    for path in paths:
        if takes(name, path):
            assert captured[path.name] == plain[path.name], path.name
            assert ("raised" in repr(plain[path.name])) is path.may_fail, plain[path.name]
            assert sorted(found[path.name]) == sorted(path.changes), path.name


def check_django(
    paths: Sequence[Path], plain: dict[str, str], captured: dict[str, str], config: FilePath
) -> None:
    """The same, of a process of Django's that has ended."""
    with Trail.open(config) as trail:
        trail.flush()
        for path in paths:
            if takes("Django", path):
                assert captured[path.name] == plain[path.name], path.name
                assert ("raised" in plain[path.name]) is path.may_fail, plain[path.name]
                found = [
                    f"{each.event.action} {first_of(each.event)}"
                    for each in trail.changes(by=Actor("path", path.name))
                ]
                assert sorted(found) == sorted(path.changes), path.name


def django_seen(directory: FilePath, engine: str, *place: str) -> dict[str, str]:
    done = run_module("paths", directory, engine, *place)
    assert done.returncode == 0, done.stderr
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


def first_of(event: Event) -> object:
    """The first value of the key of the row that was changed."""
    (row_id,) = event.targets[0].ids
    return row_id[0].v if isinstance(row_id[0], TypedValue) else row_id[0]


# -- SQLite --------------------------------------------------------------------------------------


def make_sqlite(path: FilePath) -> FilePath:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in SQLITE_SCHEMA:
            connection.execute(statement)
    return path


def sqlite_drafts(path: FilePath, host: MemoryHost) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        decoder = OutboxDecoder(
            outbox_state(reader).incarnation, read_layouts(reader), KEY, ContextLedger()
        )
        page = read_outbox(reader, 0, 1_000_000, max_bytes=2**40, max_s=60)
    return [*host.journal.drafts, *(each.draft for each in decoder.decode(page.rows).events)]


def sqlite_live(path: FilePath) -> Rows:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return live(connection)


@pytest.mark.parametrize("name", SQLITE_DRIVERS)
def test_on_sqlite(name: str, tmp_path: FilePath, loop: asyncio.Runner) -> None:
    plain, captured = (make_sqlite(tmp_path / each) for each in ("plain.db", "captured.db"))
    host = MemoryHost()
    install(captured, host.policy, journal=host.journal)
    make = SQLITE_DRIVERS[name]
    first = run(make(str(plain), None, loop), name, SQLITE, RESET)
    second = run(make(str(captured), MemoryHost(), loop), name, SQLITE, RESET)
    drafts = sqlite_drafts(captured, host)
    check(name, SQLITE, first, second, drafts)
    assert fold(drafts) == sqlite_live(captured) == sqlite_live(plain)


def test_on_sqlite_through_django(tmp_path: FilePath) -> None:
    plain, captured = (make_sqlite(tmp_path / each) for each in ("plain.db", "captured.db"))
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    Trail.create(config).close()
    first = django_seen(tmp_path, PLAIN, str(plain))
    check_django(SQLITE, first, django_seen(tmp_path, CAPTURED, str(captured)), config)
    assert sqlite_live(captured) == sqlite_live(plain)


@pytest.mark.parametrize("unseen", SQLITE_UNSEEN, ids=lambda it: it.name)
def test_what_sqlite_does_not_show(unseen: Unseen, tmp_path: FilePath) -> None:
    path, host = make_sqlite(tmp_path / "app.db"), MemoryHost()
    install(path, host.policy, journal=host.journal)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in RESET:
            connection.execute(statement)
        connection.commit()
        before = sqlite_drafts(path, host)
        for statement in unseen.statements:
            connection.execute(statement)
        if unseen.run is not None:
            unseen.run(connection)
        connection.commit()
    assert sqlite_drafts(path, host) == before


# -- PostgreSQL ----------------------------------------------------------------------------------


def server_policy(url: str) -> str:
    return f"[trail]\nurl = 'sqlite:///trail.db'\n[database]\nurl = '{url}'\n"


def server_host(url: str) -> MemoryHost:
    return MemoryHost(parse_policy(server_policy(url)))


@pytest.fixture(scope="module")
def postgres_plain(postgres: PostgresServer) -> Iterator[Database]:
    database = Database(postgres, "paths_plain")
    database.execute(*POSTGRES_SCHEMA)
    database.grant()
    yield database
    database.drop()


def _link(database: Database) -> None:
    """A foreign table, whose rows are in another database."""
    with database.server.connect("postgres", "postgres") as far:
        far.execute("CREATE TABLE IF NOT EXISTS far (id integer)")
    address = f"host '127.0.0.1', port '{database.server.port}', dbname 'postgres'"
    database.execute(
        "CREATE EXTENSION postgres_fdw",
        f"CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({address})",
        "CREATE USER MAPPING FOR owner SERVER far "
        "OPTIONS (user 'postgres', password_required 'false')",
        "CREATE FOREIGN TABLE far (id integer) SERVER far",
        "GRANT ALL ON far TO owner",
        role="postgres",
    )


@pytest.fixture(scope="module")
def postgres_captured(postgres: PostgresServer) -> Iterator[CapturedPostgres]:
    database = Database(postgres, "paths_captured")
    database.execute(*POSTGRES_SCHEMA)
    database.grant()
    _link(database)
    yield CapturedPostgres(database)
    database.drop()


@pytest.mark.parametrize("name", POSTGRES_DRIVERS)
def test_on_postgresql(
    name: str, postgres_plain: Database, postgres_captured: CapturedPostgres, loop: asyncio.Runner
) -> None:
    make, captured = POSTGRES_DRIVERS[name], postgres_captured
    before = captured.newest()
    first = run(make(postgres_plain.url("app"), None, loop), name, POSTGRES, POSTGRES_RESET)
    driver = make(captured.database.url("app"), server_host(captured.database.url()), loop)
    second = run(driver, name, POSTGRES, POSTGRES_RESET)
    check(name, POSTGRES, first, second, (e.draft for e in captured.decoded(before).events))
    assert fold(captured.drafts()) == captured.live()


def test_on_postgresql_through_django(
    postgres_plain: Database, postgres: PostgresServer, tmp_path: FilePath
) -> None:
    database = Database(postgres, "paths_django")
    database.execute(*POSTGRES_SCHEMA)
    config = tmp_path / "indelible.toml"
    config.write_text(server_policy(database.url()))
    Trail.create(config).close()
    place = ("127.0.0.1", str(postgres.port), "owner")
    first = django_seen(tmp_path, PLAIN_SERVER, postgres_plain.name, *place)
    second = django_seen(tmp_path, CAPTURED_SERVER, database.name, *place)
    check_django(POSTGRES, first, second, config)
    database.drop()


@pytest.mark.parametrize("unseen", POSTGRES_UNSEEN, ids=lambda it: it.name)
def test_what_postgresql_does_not_show(unseen: Unseen, postgres_captured: CapturedPostgres) -> None:
    """These change what the tests above have compared, and so come last."""
    before = postgres_captured.newest()
    postgres_captured.database.execute(*unseen.statements)
    assert postgres_captured.newest() == before


# -- MariaDB -------------------------------------------------------------------------------------


def _mariadb_database(server: MariadbServer, name: str) -> MariadbDatabase:
    database = MariadbDatabase(server, name)
    database.execute(*MARIADB_SCHEMA)
    server.execute(f"GRANT EXECUTE ON {name}.* TO app@'%'")
    return database


@pytest.fixture(scope="module")
def mariadb_plain(mariadb: MariadbServer) -> Iterator[MariadbDatabase]:
    database = _mariadb_database(mariadb, "paths_plain")
    yield database
    database.drop()


@pytest.fixture(scope="module")
def mariadb_captured(mariadb: MariadbServer) -> Iterator[CapturedMariadb]:
    database = _mariadb_database(mariadb, "paths_captured")
    yield CapturedMariadb(database)
    database.drop()


@pytest.mark.parametrize("name", MARIADB_DRIVERS)
def test_on_mariadb(
    name: str,
    mariadb_plain: MariadbDatabase,
    mariadb_captured: CapturedMariadb,
    loop: asyncio.Runner,
) -> None:
    make, captured = MARIADB_DRIVERS[name], mariadb_captured
    before = captured.newest()
    first = run(make(mariadb_plain.url("app"), None, loop), name, MARIADB, MARIADB_RESET)
    driver = make(captured.database.url("app"), server_host(captured.database.url()), loop)
    second = run(driver, name, MARIADB, MARIADB_RESET)
    second = {path: without(seen, "_captured") for path, seen in second.items()}
    first = {path: without(seen, "_plain") for path, seen in first.items()}
    check(name, MARIADB, first, second, (e.draft for e in captured.decoded(before).events))
    assert fold(captured.drafts()) == captured.live()


def test_on_mariadb_through_django(
    mariadb: MariadbServer, mariadb_plain: MariadbDatabase, tmp_path: FilePath
) -> None:
    database = _mariadb_database(mariadb, "paths_django")
    config = tmp_path / "indelible.toml"
    config.write_text(server_policy(database.url()))
    Trail.create(config).close()
    place = ("127.0.0.1", str(mariadb.port), "owner", "owner")
    first = django_seen(tmp_path, PLAIN_MARIADB, mariadb_plain.name, *place)
    second = django_seen(tmp_path, CAPTURED_MARIADB, database.name, *place)
    check_django(MARIADB, first, second, config)
    database.drop()


def without(seen: Seen, suffix: str) -> Seen:
    """What was seen without the database's own name, which errors of foreign keys tell."""
    return [repr(each).replace(f"paths{suffix}", "paths") for each in seen]


@pytest.mark.parametrize("unseen", MARIADB_UNSEEN, ids=lambda it: it.name)
def test_what_mariadb_does_not_show(unseen: Unseen, mariadb_captured: CapturedMariadb) -> None:
    before = mariadb_captured.newest()
    mariadb_captured.database.execute(*unseen.statements)
    assert mariadb_captured.newest() == before

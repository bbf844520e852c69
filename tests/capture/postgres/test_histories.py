"""Random schemas under random histories, held to what PostgreSQL itself ends up with."""

from __future__ import annotations

import contextlib
import os
import random

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from tests.capture.writes.folding import fold
from tests.servers import Database, PostgresServer

from .capturing import Captured
from .histories import chance, make_control, make_schema, make_statement, make_wild_trigger

_STATEMENTS = 20


def run(connection: psycopg.Connection, statement: str) -> object:
    """What came of it, as the application would see it."""
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchall() if cursor.description else None
        return repr(rows), cursor.rowcount, cursor.statusmessage, connection.info.transaction_status
    except psycopg.Error as error:
        return type(error), error.diag.message_primary, connection.info.transaction_status


def tables_of(connection: psycopg.Connection) -> object:
    """Every row of every table, bit by bit."""
    names = connection.execute(
        "SELECT relname FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace ORDER BY 1"
    ).fetchall()
    return {
        name: connection.execute(
            sql.SQL("SELECT ROW(x.*)::text FROM {} AS x ORDER BY 1").format(sql.Identifier(name))
        ).fetchall()
        for (name,) in names
    }


class Twins:
    """Two databases that are made empty again for each history: one is captured."""

    def __init__(self, server: PostgresServer) -> None:
        self.databases = [Database(server, f"twin{n}_{os.getpid()}") for n in range(2)]

    def check(self, rng: random.Random, wild_triggers: int = 0) -> None:
        tables, schema = make_schema(rng)
        for n in range(wild_triggers):
            schema += make_wild_trigger(rng, n, tables)
        before = [make_statement(rng, tables) for _ in range(rng.randrange(6))]
        after = [
            make_control(rng) if chance(rng, 15) else make_statement(rng, tables)
            for _ in range(rng.randrange(1, _STATEMENTS + 1))
        ]
        for database in self.databases:
            database.execute(
                "DROP SCHEMA IF EXISTS indelible CASCADE",
                "DROP SCHEMA public CASCADE",
                "CREATE SCHEMA public",
                *schema,
                role="owner",
            )
        with contextlib.ExitStack() as stack:
            twins = [
                stack.enter_context(contextlib.closing(one.connect())) for one in self.databases
            ]
            for twin in twins:
                for statement in before:
                    run(twin, statement)
            captured = Captured(self.databases[0])
            for statement in (*after, "COMMIT", "ROLLBACK"):
                one, other = (run(twin, statement) for twin in twins)
                assert one == other, statement
            assert tables_of(twins[0]) == tables_of(twins[1])
            try:
                folded = fold(captured.drafts())
            except AssertionError as error:
                raise AssertionError(
                    "\n".join([str(error), *schema, *before, "--", *after])
                ) from error
            assert folded == captured.live(), "\n".join([*schema, *before, "--", *after])


@pytest.fixture(scope="module")
def twins(postgres: PostgresServer) -> Twins:
    found = Twins(postgres)
    with postgres.connect("postgres", "postgres") as connection:
        for database in found.databases:
            connection.execute(f"ALTER DATABASE {database.name} SET client_min_messages = error")
    for database in found.databases:
        database.execute("ALTER SCHEMA public OWNER TO owner", role="postgres")
    return found


FEW = settings(
    max_examples=int(os.environ.get("INDELIBLE_EXAMPLES", "35")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@FEW
@given(st.integers(0, 1 << 32))
# Writes nested in each other, several levels deep; an upsert that frees a key and takes it.
@example(629)
@example(820)
@example(1566)
def test_folding_the_trail_gives_the_live_database(twins: Twins, seed: int) -> None:
    """Whatever a schema and a history are made of, baseline plus changes are the database, bit
    by bit, and no statement's result differs from what it is without capture."""
    twins.check(random.Random(seed))


@FEW
@given(st.integers(0, 1 << 32), st.integers(1, 3))
# A row that is the same again and again.
@example(140, 3)
def test_folding_what_wild_triggers_did(twins: Twins, seed: int, triggers: int) -> None:
    """The same where triggers of every kind write their own tables and each other's."""
    twins.check(random.Random(seed), triggers)


def check_many(twins: Twins, seeds: range, *, is_wild: bool = False) -> None:
    for seed in seeds:
        try:
            twins.check(random.Random(seed), 1 + seed % 3 if is_wild else 0)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 2_000, 250))
def test_folding_many_histories(twins: Twins, start: int) -> None:
    """The same over two thousand seeds."""
    check_many(twins, range(start, start + 250))


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 1_000, 250))
def test_folding_what_many_wild_triggers_did(twins: Twins, start: int) -> None:
    """The same over a thousand seeds of wild triggers."""
    check_many(twins, range(start, start + 250), is_wild=True)

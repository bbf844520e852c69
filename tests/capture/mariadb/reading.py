"""Reading from the sample database on MariaDB, with capture and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymysql.constants import CLIENT
from tests.capture.reads.host import SAMPLES, MemoryHost
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible.policy import parse_policy

from .shapes import SAMPLE_TABLES

DRIVERS = [("pymysql", False), ("aiomysql", True)]
POLICY = """
[trail]
url = "sqlite:///trail.db"
[database]
url = "{url}"
[tables.customer]
subject = "self"
mask = ["email"]
[tables.invoice]
subject = "CustomerId -> customer"
[tables.invoiceline]
subject = "InvoiceId -> invoice.CustomerId -> customer"
[tables.token]
subject = "owner -> customer"
[tables.unwatched]
reads = false
[tables.vault]
durability = "strict"
"""


def host_of(database: MariadbDatabase) -> MemoryHost:
    return MemoryHost(parse_policy(POLICY.format(url=database.url())))


def _fill(database: MariadbDatabase) -> None:
    script = (SAMPLES / "chinook_mysql.sql").read_text(encoding="utf-8")
    script = script[script.index("CREATE TABLE") :]
    connection = database.connect(client_flag=CLIENT.MULTI_STATEMENTS)
    with connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass
        for statement in SAMPLE_TABLES:
            cursor.execute(statement)
        tables = "Customer, Invoice, InvoiceLine, Track, Album, Artist, Employee, PlaylistTrack"
        cursor.execute(f"ANALYZE TABLE {tables}")
    connection.close()
    database.server.execute(f"GRANT EXECUTE, SHOW VIEW ON {database.name}.* TO app@'%'")


@pytest.fixture(scope="module")
def chinook(mariadb: MariadbServer) -> Iterator[MariadbDatabase]:
    database = MariadbDatabase(mariadb, "chinook")
    _fill(database)
    yield database
    database.drop()


def keys_of(database: MariadbDatabase, query: str) -> set[str]:
    """What an independent query finds."""
    if not query:
        return set()
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return {str(row[0]) for row in cursor.fetchall()}

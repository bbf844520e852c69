"""What all connections know of the schema: when it is looked at, and what becomes of a look that
never ends."""

from __future__ import annotations

import os
import threading
import time
import traceback
from typing import Any

import pytest
from tests.servers import Database

from indelible.capture import looks
from indelible.capture.postgres import server_reads
from indelible.capture.postgres.server_reads import ServerReads

from .reading import host_of

READ = "SELECT * FROM shown"


@pytest.fixture
def reads(database: Database) -> ServerReads:
    database.execute(
        "CREATE TABLE customer (id int PRIMARY KEY)",
        "CREATE TABLE vault (id int PRIMARY KEY)",
        "CREATE VIEW shown AS SELECT id FROM customer",
    )
    host = host_of(database)
    assert host.policy.server is not None
    return ServerReads(host, host.policy.server)


def tables(reads: ServerReads) -> tuple[str, ...]:
    """Those that are recorded of `READ` where no row of it is seen."""
    return reads.unasked_plans(READ).by_statement(READ).tables


def test_who_never_asks_a_session_sees_a_changed_schema(
    database: Database, reads: ServerReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_CHECK_S", 0.0)
    assert tables(reads) == ("customer",)
    database.execute("CREATE OR REPLACE VIEW shown AS SELECT id FROM vault")
    deadline = time.monotonic() + 30
    while tables(reads) != ("vault",):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_was_forked_during_a_look_looks_itself(
    reads: ServerReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that would have ended the look isn't there."""
    monkeypatch.setattr(looks, "_PATIENCE_S", 0.1)
    connect = server_reads.connect
    looking, goes_on = threading.Event(), threading.Event()

    def slow(*server: Any) -> Any:
        looking.set()
        assert goes_on.wait(30)
        return connect(*server)

    monkeypatch.setattr(server_reads, "connect", slow)
    other = threading.Thread(target=tables, args=(reads,))
    other.start()
    assert looking.wait(30)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            monkeypatch.setattr(server_reads, "connect", connect)
            assert tables(reads) == ("customer",)
            ended = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(ended)
    goes_on.set()
    other.join(30)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert tables(reads) == ("customer",)

"""Many writers, one relay: nothing is lost, nothing comes twice, each row's changes in order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.capture.writes.folding import fold
from tests.servers import Database, PostgresServer

from indelible import Trail
from indelible.capture.postgres.connecting import connect
from indelible.capture.postgres.installed import read_installed
from indelible.capture.postgres.schema import read_schema
from indelible.capture.postgres.triggers import baseline_sql
from indelible.capture.postgres.values import ROWS
from indelible.capture.text_rows import TableRows
from indelible.events.codec import decode_event, encode_draft
from indelible.policy import load_policy

from .busy import SCHEMA, Writer
from .test_trail import Site


def check_trail(site: Site, trail: Trail) -> int:
    """Fold everything in the trail, and compare with the tables; how many changes there were."""
    changes = []
    baselines = []
    seen: set[str] = set()
    for entry in trail.reader.entries(0, int(trail.reader.size) - 1):
        event = decode_event(entry.body)
        if event.action == "table.baseline":
            baselines.append(event)
        elif event.kind == "change":
            assert event.id not in seen
            seen.add(event.id)
            changes.append(event)
    changes.sort(key=lambda event: (event.producer.epoch, event.producer.seq))
    drafts = [encode_draft(event) for event in (*baselines, *changes)]
    folded = fold(drafts)
    live = {}
    policy = load_policy(site.config)
    with contextlib.closing(connect(site.server)) as ours:
        schema = read_schema(ours)
        for captured in read_installed(ours).captured.values():
            layout = read_installed(ours).layouts[captured.layout]
            rows = TableRows(layout, ROWS)
            relation = schema.relations[captured.relation]
            for _, text in ours.execute(baseline_sql(schema, relation, layout, policy)).fetchall():
                image = rows.read(text)
                live[layout.kind, image.id] = dict(zip(rows.columns, image.values, strict=True))
    assert folded == live
    return len(changes)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    database.execute(*SCHEMA)
    database.grant()
    return Site(database, tmp_path)


def test_eight_writers_and_a_long_transaction(site: Site) -> None:
    """The trail is what was committed, whatever order ids and commits came in."""
    site.run("install")
    with site.trail() as trail:
        writers = [Writer(n, site.database, site.sender(trail), n) for n in range(8)]
        for writer in writers:
            writer.start()
        with contextlib.closing(site.database.connect("app")) as long:
            long.execute("BEGIN")
            long.execute("INSERT INTO note (writer, n) VALUES ('long', 1)")
            time.sleep(2)
            long.execute("INSERT INTO note (writer, n) VALUES ('long', 2)")
            long.execute("COMMIT")
        time.sleep(1)
        for writer in writers:
            writer.stop.set()
        for writer in writers:
            writer.join(10)
            assert writer.error is None
        trail.flush(30)
        assert check_trail(site, trail) > 50
        assert {n.action for n in trail.notices()} == {"changes.unattributed"}
        for source in trail.reader.sources():
            assert not source.missing and not source.lost
        for writer in writers:
            assert len(list(trail.changes(by=writer.actor))) > writer.committed
        trail.verify()


def test_a_baseline_under_writers_is_exact(site: Site) -> None:
    """Installed while eight threads write, baseline and changes fold to the tables."""
    from indelible.capture.postgres.context import ContextSender

    writers = [Writer(n, site.database, ContextSender(b"k" * 32, "0"), n) for n in range(8)]
    for writer in writers:
        writer.start()
    time.sleep(0.3)
    site.run("install")
    time.sleep(0.5)
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(10)
        assert writer.error is None
    with site.trail() as trail:
        trail.flush(30)
        assert check_trail(site, trail) > 50


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=True)
    yield server
    server.remove()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(own_server: PostgresServer, tmp_path: Path, seed: int) -> None:
    """Relay and server are killed under load, again and again: the trail is what was committed."""
    kill_and_check(own_server, tmp_path, seed, times=10)


def test_killed_once(own_server: PostgresServer, tmp_path: Path) -> None:
    """The same, once each."""
    kill_and_check(own_server, tmp_path, 7, times=2)


def kill_and_check(server: PostgresServer, tmp_path: Path, seed: int, times: int) -> None:
    rng = random.Random(seed)
    database = Database(server, "app")
    database.execute(*SCHEMA)
    database.grant()
    site = Site(database, tmp_path)
    site.run("install")
    with site.trail() as trail:
        sender = site.sender(trail)

    def relay() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from indelible.cli import main; main()",
                "relay",
                "--config",
                str(site.config),
            ],
            env={**os.environ, "PYTHONPATH": "src"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    for n in range(times):
        writers = [Writer(w, database, sender, seed * 100 + n * 10 + w) for w in range(3)]
        process = relay()
        for writer in writers:
            writer.start()
        time.sleep(0.5 + rng.random())
        if n % 2:
            server.stop(signal.SIGQUIT)
            server.start()
        process.send_signal(signal.SIGKILL)
        process.wait()
        for writer in writers:
            writer.stop.set()
        for writer in writers:
            writer.join(10)
            assert writer.error is None
    with site.trail() as trail:
        trail.flush(60)
        assert check_trail(site, trail) > 0
        assert not {n.action for n in trail.notices()} & {"source.conflict", "source.gap"}
        trail.verify()

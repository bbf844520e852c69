"""Django on PostgreSQL: the same results, every change whose it was, every read by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indelible import Actor, Trail
from tests.django.expected import SERVER_READS, WRITES
from tests.django.project import CAPTURED_SERVER, PLAIN_SERVER, POLICY
from tests.django.test_django import run_module
from tests.servers import Database, PostgresServer


@pytest.mark.parametrize(
    "options", [{}, {"pool": {"min_size": 1}}, {"server_side_binding": True}], ids=str
)
def test_everything_on_postgresql(
    postgres: PostgresServer, database: Database, tmp_path: Path, options: dict[str, object]
) -> None:
    plain = Database(postgres, f"{database.name}_plain")
    config = tmp_path / "indelible.toml"
    config.write_text(f"{POLICY}[database]\nurl = '{database.url()}'\n")
    Trail.create(config).close()
    said = []
    for engine, url in ((PLAIN_SERVER, plain.url()), (CAPTURED_SERVER, database.url())):
        done = run_module("work", tmp_path, engine, url, json.dumps(options))
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    plain.drop()
    assert said[0] == said[1]

    with Trail.open(config) as trail:
        check_work(trail, WRITES, SERVER_READS)


def check_work(trail: Trail, writes: dict[str, list[str]], reads: dict[str, set[str]]) -> None:
    """Each of `tests.django.work` is in the trail, as whoever did it, and nothing else."""
    trail.flush()
    for write, expected in writes.items():
        found = [
            f"{each.event.action} {each.target_text.partition(':')[2]}"
            for each in trail.changes(by=Actor("staff", write))
        ]
        assert sorted(found) == sorted(expected), write
    for read, handed_out in reads.items():
        accessed = {
            each.target_text if each.certain else f"{each.kind}~"
            for each in trail.accesses(by=Actor("staff", read))
        }
        assert accessed == handed_out, read
    trail.verify()

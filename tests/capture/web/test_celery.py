"""Celery: a real worker, over a queue in files; what a task does is whose request published it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import Actor, Target, Trail
from indelible.policy import load_policy

TASKS = 20
PUBLISHED = 4 * TASKS + 6
SHOP = "tests.capture.web.celery_shop"
PUBLISH = f"""
from indelible import Actor, acting_as
from {SHOP} import fail, place, place_and_bill, place_at_last, trail

for n in range({TASKS}):
    with acting_as(Actor("user", f"number {{n}}"), reason=f"order {{n}}", request=f"request {{n}}"):
        place.delay(f"plain {{n}}")
        place_and_bill.delay(f"order {{n}}")
        place_at_last.delay(f"late {{n}}")
with acting_as(Actor("user", "clumsy")):
    fail.delay("failing")
place.delay("nobody's")
with acting_as(Actor("user", "mallory")):
    place.delay("mallory's own")
trail.close()
"""
FORGE = f"""
# Somebody who reaches the broker, reads what waits there, and has no key.
import json, sys
from pathlib import Path
from celery import Celery

queue = Path(sys.argv[1])
app = Celery(broker="filesystem://")
app.conf.broker_transport_options = {{
    "data_folder_in": str(queue), "data_folder_out": str(queue), "store_processed": False,
    "control_folder": str(queue.parent / "control"),
}}
headers = [json.loads(message.read_bytes())["headers"] for message in queue.iterdir()]
stolen = next(each["indelible_context"] for each in headers if "mallory" in each["argsrepr"])
made_up = "A" * 43 + '{{"nonce":"n","actor":{{"kind":"user","id":"trudy"}}}}'
for text, context in (("forged", made_up), ("odd", 7), ("stolen", stolen)):
    app.send_task("{SHOP}.place", (text,), headers={{"indelible_context": context}})
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    (tmp_path / "indelible.toml").write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    Trail.create(load_policy(tmp_path / "indelible.toml")).close()
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE placed (id INTEGER PRIMARY KEY, text TEXT)")
    connection.close()
    yield tmp_path


def placed(directory: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(directory / "shop.db", timeout=60)) as connection:
        return dict(connection.execute("SELECT text, id FROM placed"))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_a_task_does_is_whose_request_published_it(directory: Path, pool: str) -> None:
    environment = {**os.environ, "CELERY_SHOP": str(directory)}
    for script in (PUBLISH, FORGE):
        command = [sys.executable, "-c", script, str(directory / "queue")]
        subprocess.run(command, env=environment, check=True)
    command = [sys.executable, "-m", "celery", "-A", SHOP, "worker", "-P", pool, "-c", "4"]
    log = directory / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 120
            while len(placed(directory)) < PUBLISHED and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
    rows = placed(directory)
    assert len(rows) == PUBLISHED, log.read_text()
    with Trail.open(directory / "indelible.toml") as trail:
        trail.flush()
        for n in range(TASKS):
            mine = [each.event for each in trail.changes(by=Actor("user", f"number {n}"))]
            written = [event.changes["text"][1] for event in mine]
            assert sorted(map(str, written)) == sorted(
                [f"plain {n}", f"order {n}", f"bill of order {n}", f"late {n}"]
            )
            assert {event.reason for event in mine} == {f"order {n}"}
            assert {event.context["request"] for event in mine} == {f"request {n}"}
        assert len(list(trail.changes(by=Actor("user", "clumsy")))) == 1
        assert len(list(trail.changes(by=Actor("user", "mallory")))) == 1
        assert list(trail.changes(by=Actor("user", "trudy"))) == []
        for text, id_ in rows.items():
            if text in ("forged", "nobody's", "odd", "stolen"):
                (change,) = trail.history(Target("placed", id_))
                assert change.event.actor is None
        assert [each.action for each in trail.notices()].count("context.invalid") == 3

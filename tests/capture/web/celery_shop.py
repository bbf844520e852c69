"""A shop whose orders are written by workers: `celery -A tests.capture.web.celery_shop`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

from indelible import Trail
from indelible.capture.celery import carry_tasks
from indelible.capture.sqlite3 import connect

DIRECTORY = Path(os.environ["CELERY_SHOP"])

app: Any = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(DIRECTORY / "queue"),
        "data_folder_out": str(DIRECTORY / "queue"),
        "control_folder": str(DIRECTORY / "control"),
    },
    worker_hijack_root_logger=False,
)
trail = Trail.open(DIRECTORY / "indelible.toml")
carry_tasks(trail)
carry_tasks(trail)  # again is as good as once


def write(text: str) -> None:
    connection = connect(DIRECTORY / "shop.db", trail=trail, timeout=60)
    with connection:
        connection.execute("INSERT INTO placed (text) VALUES (?)", (text,))
    connection.close()


@app.task
def place(text: str) -> None:
    write(text)


@app.task
def place_and_bill(text: str) -> None:
    write(text)
    place.delay(f"bill of {text}")


@app.task(bind=True, max_retries=2)
def place_at_last(self: Any, text: str) -> None:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    write(text)


@app.task
def fail(text: str) -> None:
    write(text)
    raise RuntimeError("as it should")

"""Lists of 1,000 entities through SQLAlchemy, captured beside plain in one process.

Between processes such lists differ by more than capture costs: where their rows came to lie in
memory, and what the collector has to look through. So here both engines share all of that.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from tests.servers import Database

from bench.peers.processes import used_s
from bench.peers.sqlalchemy_worker import VARIANTS, ones, start
from bench.peers.stores import IN_FILE, IN_SERVER, FileStore, Journals, ServerStore, Store
from bench.peers.works import WORKS, run

BLOCKS = 40
NAMES = ("plain", "indelible")


def compare(title: str, item: type[Any], directory: Path, databases: dict[str, Database]) -> str:
    """One line of the median ratio; without databases each is a file in `directory`."""
    stores: list[Store] = []
    lists = []
    for name in NAMES:
        own = directory / name
        own.mkdir(mode=0o700, parents=True)
        database = databases.get(name)
        url = database.url() if database else ""
        is_captured = name == "indelible"
        if is_captured:
            Journals(own, url)
        engine = start(VARIANTS[name], own, url)
        stores.append(
            ServerStore(database, IN_SERVER if is_captured else None)
            if database
            else FileStore(own / "app.sqlite", IN_FILE if is_captured else None)
        )
        stores[-1].clean()
        lists.append(ones(engine, item)["R2"])
    taken: list[list[float]] = [[], []]
    for block in range(-1, BLOCKS):
        for place in (0, 1) if block % 2 else (1, 0):
            before = _used_s(stores[place])
            run(WORKS["R2"], lists[place], VARIANTS[NAMES[place]].request)
            if block >= 0:  # the first warms up
                taken[place].append(_used_s(stores[place]) - before)
    ratio = statistics.median(c / p for p, c in zip(*taken, strict=True))
    return f"{title}, 1,000 entities, {BLOCKS} alternating blocks in one process: {ratio:.3f}"


def _used_s(store: Store) -> float:
    return used_s() + sum(map(used_s, store.serving()))

"""`make bench-capture`: each library under the same works, in turn, on servers of their own.

Processor time of client and server, as ratios to the same without any library, medians over rounds
in which the order of the variants turns (A B C, C B A). What a library left is counted after each
work: where it recorded less than all, or can't say who it was, the table says so.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.servers import Database, PostgresServer

from bench.machine import describe_machine, describe_sync
from bench.peers.pair import NAMES, compare
from bench.peers.processes import Taken, Worker
from bench.peers.sqlalchemy_worker import make_item
from bench.peers.stores import (
    IN_FILE,
    IN_SERVER,
    RECORDINGS,
    FileStore,
    Journals,
    Kept,
    ServerStore,
    Store,
)
from bench.peers.works import WORKS, Work

ROUNDS = 5


class Section(NamedTuple):
    """One ORM on one database; the first variant is what the others are compared with."""

    title: str
    module: str
    is_server: bool
    variants: tuple[str, ...]


SECTIONS = (
    Section(
        f"Django {version('django')}, PostgreSQL",
        "django_worker",
        True,
        (
            "plain",
            "indelible",
            "keys_selected",
            "auditlog",
            "simple_history",
            "pghistory_row",
            "pghistory_statement",
        ),
    ),
    Section(
        f"SQLAlchemy {version('sqlalchemy')} on psycopg, PostgreSQL",
        "sqlalchemy_worker",
        True,
        ("plain", "indelible", "continuum", "postgresql_audit"),
    ),
    Section(
        f"Django {version('django')}, SQLite",
        "django_worker",
        False,
        ("plain", "indelible", "auditlog", "simple_history"),
    ),
    Section(
        f"SQLAlchemy {version('sqlalchemy')}, SQLite",
        "sqlalchemy_worker",
        False,
        ("plain", "indelible", "continuum"),
    ),
)
PEERS = (
    "django-auditlog",
    "django-simple-history",
    "django-pghistory",
    "django-pgtrigger",
    "sqlalchemy-continuum",
    "postgresql-audit",
)


class Site:
    """One variant: its process, its database, and what it took and kept so far."""

    def __init__(
        self, section: Section, variant: str, directory: Path, server: PostgresServer, number: int
    ) -> None:
        directory.mkdir(mode=0o700)
        self.variant = variant
        database = Database(server, f"{variant}_{number}") if section.is_server else None
        url = database.url() if database else ""
        self._journals: Journals | None = None
        recording = RECORDINGS.get(variant) or RECORDINGS.get(variant.partition("_")[0])
        if variant == "indelible":
            self._journals = Journals(directory, url)
            recording = IN_SERVER if section.is_server else IN_FILE
        self.worker = Worker(section.module, variant, directory, url)
        self._store: Store = (
            ServerStore(database, recording)
            if database
            else FileStore(directory / "app.sqlite", recording)
        )
        self.taken: dict[str, list[Taken]] = defaultdict(list)
        self.kept: dict[str, Kept] = {}

    def run(self, name: str, *, is_measured: bool) -> None:
        work = WORKS[name]
        if work.writes or name == "R1":
            self._store.clean()
        before = self._count(work)
        taken = self.worker.run(name, self._store)
        if is_measured:
            self.taken[name].append(taken)
        kept = self._count(work).since(before)
        if self._journals is not None and kept != (work.rows, work.rows):
            raise SystemExit(
                f"expected all {work.rows} rows of {name} to be recorded with their actor, "
                f"got {kept}: {self.worker.said()}"
            )
        self.kept[name] = min(kept, self.kept.get(name, kept))

    def _count(self, work: Work) -> Kept:
        if work.writes:
            return self._store.count()
        return self._journals.count() if self._journals else Kept(0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-capture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="sections with this in their title")
    options = parser.parse_args()
    # However it is ended, servers and workers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("expected to reach the end, got SIGTERM"))
    print(describe_machine())
    print(describe_sync())
    print(", ".join(f"{name} {version(name)}" for name in PEERS))
    chosen = [section for section in SECTIONS if options.only in section.title]
    with ExitStack() as stack:
        server = PostgresServer(shared_buffers="512MB")
        stack.callback(server.remove)
        with server.connect("postgres", "postgres") as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="indelible-bench-")))
        groups = []
        for number, section in enumerate(chosen):
            sites = []
            for variant in section.variants:
                directory = folder / f"{number}_{variant}"
                sites.append(Site(section, variant, directory, server, number))
                stack.callback(sites[-1].worker.stop)
            groups.append(sites)
        for round_ in range(-1, options.rounds):
            print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
            for sites in groups:
                for work in sites[0].worker.works:
                    for site in sites if round_ % 2 else reversed(sites):
                        site.run(work, is_measured=round_ >= 0)  # the first warms up
        for section, sites in zip(chosen, groups, strict=True):
            print()
            for line in table(section, sites):
                print(line)
        print()
        item = make_item()
        databases = {name: Database(server, f"pair_{name}") for name in NAMES}
        print(compare("SQLAlchemy, PostgreSQL", item, folder / "pair", databases))
        print(compare("SQLAlchemy, SQLite", item, folder / "pair_sqlite", {}))
    print(f"\n{describe_machine()}")


def table(section: Section, sites: Sequence[Site]) -> Iterator[str]:
    plain, *others = sites
    rounds = len(plain.taken["W1"])
    yield f"{section.title}: processor time (wall time in brackets), {rounds} rounds"
    yield f"{'':45}{'plain, us':>12}" + "".join(f"{site.variant:>22}" for site in others)
    for name in plain.worker.works:
        work = WORKS[name]
        base = _median(t.client + t.server for t in plain.taken[name]) / work.units * 1e6
        cells = "".join(f"{_cell(plain, site, name):>22}" for site in others)
        yield f"{name:4}{work.label:41}{base:>12.1f}{cells}"
    yield ""
    yield f"{'indelible apart, us':45}{'client':>12}{'added':>9}{'server':>9}{'added':>9}"
    captured = others[0]
    for name in plain.worker.works:
        each = WORKS[name].units / 1e6
        client = _median(t.client for t in plain.taken[name]) / each
        server = _median(t.server for t in plain.taken[name]) / each
        pairs = list(zip(plain.taken[name], captured.taken[name], strict=True))
        more = _median(c.client - p.client for p, c in pairs) / each
        served = _median(c.server - p.server for p, c in pairs) / each
        yield (
            f"{name:4}{WORKS[name].label:41}{client:>12.1f}{more:>+9.1f}{server:>9.1f}{served:>+9.1f}"
        )


def _cell(plain: Site, site: Site, name: str) -> str:
    pairs = list(zip(plain.taken[name], site.taken[name], strict=True))
    cpu = _median((t.client + t.server) / (p.client + p.server) for p, t in pairs)
    wall = _median(t.wall / p.wall for p, t in pairs)
    rows, attributed = site.kept[name]
    wanted = WORKS[name].rows
    if rows == 0:
        said = "nothing "
    elif rows < wanted:
        said = f"{rows / wanted:.0%} "
    else:
        said = "" if attributed >= wanted else "nobody's "
    return f"{said}{cpu:.2f} ({wall:.2f})"


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()

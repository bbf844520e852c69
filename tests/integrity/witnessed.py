"""A trail whose checkpoints real witnesses cosign, in a folder, as an operator sets it up."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from indelible import Trail
from indelible.tlog import VerifierKey
from tests.integrity.witnesses import WitnessProcess, until

ORIGIN = "example.com/trail"


class Operated:
    """The folder of a trail. `lines` are those of its trust policy, the quorum last."""

    def __init__(self, directory: Path, lines: Sequence[str], *, deadline_s: float = 2.0) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.path = directory / "trail.db"
        self.config = directory / "indelible.toml"
        self.deadline_s = deadline_s
        self.configure("trail.db", ORIGIN)
        self.trust(lines)
        Trail.create(self.config).close()
        self.key = VerifierKey.parse(
            (directory / "trail.db.keys" / "trail.pub").read_text().strip()
        )

    def configure(self, file: str, origin: str) -> None:
        self.config.write_text(
            f'[trail]\nurl = "sqlite:///{file}"\norigin = "{origin}"\n'
            'journals = "trail.db.journals"\n'
            f'[witness]\npolicy = "trust.policy"\ndeadline_s = {self.deadline_s}\n'
            "refresh_s = 1.0\n"
        )

    def trust(self, lines: Sequence[str]) -> None:
        (self.directory / "trust.policy").write_text("\n".join(lines) + "\n")

    def open(self) -> Trail:
        return Trail.open(self.config)

    def backup(self, name: str) -> Path:
        """A consistent copy of the trail's file, as SQLite makes one."""
        copy = self.directory / name
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return copy

    def restore(self, backup: Path) -> None:
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        backup.replace(self.path)

    def edit(self, sql: str, *arguments: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(sql, arguments)


def policy_of(witnesses: Sequence[WitnessProcess], threshold: int | str) -> list[str]:
    """Those lines of a trust policy that ask for so many of them."""
    names = [each.policy_line.split()[1] for each in witnesses]
    return [
        *(each.policy_line for each in witnesses),
        f"group all-of-them {threshold} {' '.join(names)}",
        "quorum all-of-them",
    ]


def record(trail: Trail, count: int = 3) -> None:
    """So many events, carried into the trail."""
    for _ in range(count):
        trail.record("invoice.refund", details={"at": str(time.time_ns())})
    trail.flush()


def wait_until_witnessed(trail: Trail) -> None:
    """Until a quorum vouches for all that is there."""

    def is_so() -> bool:
        witnessed = trail.witnessed()
        return witnessed is not None and witnessed.quorum and witnessed.size == trail.reader.size

    until(is_so)

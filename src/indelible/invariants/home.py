"""What only the trail's own machine can try: a reversal, its witnesses' cosignatures, a canary."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from indelible.capture.host import CaptureHost
from indelible.errors import DeliveryError, IndelibleError, ReversalError
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.integrity.assurance import Tree, check_cosignatures
from indelible.invariants.facts import Rehearsed
from indelible.questions.restores import TAKEN_BACK
from indelible.questions.window import Window
from indelible.reversal.decide import LAWFULLY_ERASED
from indelible.reversal.gather import select_changes
from indelible.reversal.reversal import Reversal, SqliteDatabase
from indelible.reversal.steps import Plan, Step
from indelible.store.protocol import TrailReader, WitnessRow
from indelible.tlog import TrustPolicy
from indelible.transport.outbox import OutboxReader

CANARY: Final = "INDELIBLE_CANARY"
"""The variable in which the canary's command finds the id to act as: `Actor("canary", …)`."""
_REHEARSAL: Final = Actor("indelible", "rehearsal")
_CANARY_S: Final = 60.0
_SECRETS: Final = ("PIN", "PASSPHRASE")
"""What the names of variables end with that open keys (pin-source=env:…)."""
_PAGES_A_STEP: Final = 256
_BEGINNINGS: Final = 20


class TrailAtHome(Protocol):
    """What is needed of a `Trail`."""

    def plan_reversal(self, *, by: Actor, since: str | None, until: str | None) -> Reversal: ...

    def flush(self, timeout_s: float = 30.0) -> None: ...


class Home:
    """`facts.Site`, of the trail that is `host`."""

    def __init__(
        self,
        host: CaptureHost,
        trail: TrailAtHome,
        reader: TrailReader,
        *,
        open_outbox: Callable[[Path], OutboxReader],
        witnesses: Callable[[], tuple[Sequence[WitnessRow], TrustPolicy, Tree] | None],
        canary_s: float = _CANARY_S,
    ) -> None:
        self._host = host
        self._trail = trail
        self._reader = reader
        self._open_outbox = open_outbox
        self._witnesses = witnesses
        self._canary_s = canary_s

    def rehearse(self, by: Actor, window: Window, *, rolled_back: bool) -> Rehearsed | str:
        """See `Site.rehearse`. Others wait for the locks of a rehearsal that is rolled back."""
        policy = self._host.policy
        try:
            if not rolled_back:
                if policy.database is None:
                    return (
                        'a server isn\'t copied: with rehearse = "rolled-back" it is tried in a '
                        "transaction that is rolled back"
                    )
                return self._on_copy(policy.database, by, window)
            reversal = self._trail.plan_reversal(by=by, since=window.since, until=window.until)
            with acting_as(_REHEARSAL, reason="indelible check"):
                return _rehearsed(reversal.apply(keep=False))
        except (ReversalError, DeliveryError, sqlite3.Error, OSError) as error:
            return _without_values(str(error))

    def _on_copy(self, database: Path, by: Actor, window: Window) -> Rehearsed | str:
        if not database.is_file():
            return f"expected the application's database at {database}, none there"
        with tempfile.TemporaryDirectory(prefix="indelible-") as directory:
            copy = Path(directory) / database.name
            with (
                contextlib.closing(sqlite3.connect(database)) as source,
                contextlib.closing(sqlite3.connect(copy)) as to,
            ):
                copy_database(source, to)
            selection = select_changes(self._reader, by=by, window=window)

            def reversal() -> Reversal:
                return Reversal(
                    selection,
                    SqliteDatabase(copy, self._host),
                    reader=self._reader,
                    outbox=self._open_outbox(copy),
                )

            with acting_as(_REHEARSAL, reason="indelible check"):
                plan = reversal().apply()
            done, known = _rehearsed(plan), {step.target_text for step in plan.conflicts}
            again = [
                f"{_row(step)}: it isn't what it was after it was restored"
                for step in reversal().restorable
                if step.target_text not in known
            ]
            return done._replace(stuck=(*done.stuck, *again))

    def cosigned(self) -> dict[str, tuple[int, int]] | None:
        """See `Site.cosigned`; checks every cosignature."""
        found = self._witnesses()
        if found is None:
            return None
        cosigned = check_cosignatures(*found)
        return {key.name: (int(size), time) for key, (size, time) in cosigned.items()}

    def try_canary(self, command: Sequence[str]) -> tuple[Actor | None, str]:
        """See `Site.try_canary`. What the command prints is shown to nobody, and it isn't handed
        what opens the trail's keys. It may take a minute; then it and its children are killed."""
        actor = Actor("canary", secrets.token_hex(8))
        try:
            process = subprocess.Popen(  # noqa: S603 - the owner's own command, without a shell
                list(command),
                cwd=self._host.policy.directory,
                env={**self._environment(), CANARY: actor.id},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return None, f"{command[0]} can't be run: {error.strerror}"
        try:
            code = process.wait(self._canary_s)
        except subprocess.TimeoutExpired:
            return None, f"{command[0]} took longer than {self._canary_s:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            return None, f"{command[0]} ended with {code}"
        try:
            self._trail.flush()
        except IndelibleError as error:
            return None, str(error)
        return actor, ""

    def _environment(self) -> dict[str, str]:
        """This process's, without the passphrase and PINs."""
        secret = self._host.policy.passphrase_env
        return {
            name: value
            for name, value in os.environ.items()
            if name != secret and not name.upper().endswith(_SECRETS)
        }


def copy_database(source: sqlite3.Connection, to: sqlite3.Connection) -> None:
    """Copy the database; nobody who writes to it waits longer than for some pages.

    Raises `sqlite3.Error` where others write all the time.
    """
    (mode,) = source.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        source.backup(to)  # one snapshot, beside which others write
        return
    left = beginnings = 0

    def look(status: int, remaining: int, total: int) -> None:
        nonlocal left, beginnings
        if remaining >= left > 0:
            beginnings += 1  # somebody wrote: SQLite begins again
        left = remaining
        if beginnings > _BEGINNINGS:
            raise sqlite3.OperationalError(
                "others write to the database all the time, and aren't held up for a copy: with "
                'rehearse = "rolled-back" it is tried in the database itself'
            )

    source.backup(to, pages=_PAGES_A_STEP, progress=look)


def _rehearsed(plan: Plan) -> Rehearsed:
    stuck = [
        f"{each.action} ({each.event}): {each.why}"
        for each in plan.unplanned
        if each.why != TAKEN_BACK
    ]
    conflicts = erased = 0
    for step in plan.conflicts:
        faults = _own_faults(step)
        unlawful = [why for why in faults if not why.endswith(LAWFULLY_ERASED)]
        if unlawful:
            stuck.append(f"{_row(step)}: {_without_values(unlawful[0])}")
        elif faults:
            erased += 1
        else:
            conflicts += 1
    return Rehearsed(len(plan.restorable), conflicts, tuple(stuck), erased)


def _row(step: Step) -> str:
    """Which row, without its key: that may be a person's name, and this is told to anybody."""
    return f"a row of {step.kind} ({', '.join(step.events[-1:])})"


def _without_values(why: str) -> str:
    """A server's own words may quote what is in a row; `indelible reverse` shows them."""
    said, colon, _ = why.partition("the database refuse")
    verb = "refused the reversal" if "the database refused" in why else "refuses it"
    return f"{said}the database {verb}" if colon else why


def _own_faults(step: Step) -> list[str]:
    """Why this can't be restored, as far as nobody's later change keeps it from being."""
    if step.decision == "conflict" and step.why is not None:
        return [] if step.by is not None else [step.why]
    return [
        f"{column.column}: {column.why}"
        for column in step.columns
        if column.decision == "conflict" and column.by is None
    ]

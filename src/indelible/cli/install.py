"""`indelible install`: capture every write to the application's database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import click

from indelible.capture.installing import draft_installed
from indelible.capture.schema import Unseen
from indelible.capture.servers import backend_of
from indelible.capture.sqlite_install import install, suspend
from indelible.cli.opening import database_of, open_trail, policy_of
from indelible.cli.options import CONFIG
from indelible.cli.output import console, progress_bar
from indelible.erasure import make_keystore
from indelible.policy import RetentionSettings, Server
from indelible.trail import Trail

_SUSPENDED: Final = "suspended: NOTHING is captured until `indelible install` runs again"


class Report(Protocol):
    """What both kinds of `install` report."""

    @property
    def incarnation(self) -> str: ...
    @property
    def tables(self) -> Sequence[str]: ...
    @property
    def is_first(self) -> bool: ...
    @property
    def drifts(self) -> Sequence[object]: ...
    @property
    def unseen(self) -> Sequence[Unseen]: ...
    @property
    def baseline_tables(self) -> Sequence[str]: ...
    @property
    def changed(self) -> bool: ...
    @property
    def baseline_rows(self) -> int: ...
    @property
    def statements(self) -> Sequence[str]: ...


@click.command("install")
@click.option("--dry-run", is_flag=True, help="Print the SQL and change nothing.")
@click.option(
    "--suspend",
    "is_suspending",
    is_flag=True,
    help="Take the triggers away for a migration; nothing is captured until install runs again.",
)
@CONFIG
def command(dry_run: bool, is_suspending: bool, config: Path) -> None:
    """Capture every write to the application's database, and write down what is there.

    May be run again at any time: after a migration it says what changed and captures that too.
    Interrupted, it goes on where it was.
    """
    policy = policy_of(config)
    if policy.has_keystore and not dry_run:
        make_keystore(policy)
        _warn_of_one_folder(policy.kept())
    with open_trail(config) as trail:
        if trail.policy.server is not None:
            if is_suspending:
                backend_of(trail.policy.server).suspend(trail.policy.server, journal=trail.journal)
                click.echo(_SUSPENDED)
                return
            _install_server(trail, trail.policy.server, dry_run=dry_run)
            return
        database = database_of(trail.policy)
        if is_suspending:
            suspend(database, journal=trail.journal)
            click.echo(_SUSPENDED)
            return
        with progress_bar("baseline") as progress:
            report = install(
                database,
                trail.policy,
                journal=trail.journal,
                dry_run=dry_run,
                progress=lambda table, done, of: progress(done, of),
            )
        if dry_run:
            for statement in report.statements:
                click.echo(f"{statement};")
            return
        _say_unchanged(trail, report)
        trail.watch_database(database)
    _print(report, str(database))


def _warn_of_one_folder(kept: RetentionSettings) -> None:
    folder = kept.master_key.resolve().parent
    if kept.keystore.resolve().parent == folder:
        click.echo(
            f"the keystore and its master key are in one folder, {folder}: whoever copies it, or "
            "has a backup of it, reads also what is erased later. Name another place for "
            "master_key under [retention], and back the two up apart",
            err=True,
        )


def _install_server(trail: Trail, server: Server, *, dry_run: bool) -> None:
    backend = backend_of(server)
    with progress_bar("baseline") as progress:
        report = backend.install(
            server,
            trail.policy,
            journal=trail.journal,
            dry_run=dry_run,
            progress=lambda table, done, of: progress(done, of),
        )
    if dry_run:
        for statement in report.statements:
            click.echo(f"{statement};")
        click.echo("-- A relay whose role isn't the owner's needs no more than:")
        for statement in backend.relay_rights(server):
            click.echo(f"-- {statement};")
        return
    _say_unchanged(trail, report)
    trail.watch_server()
    _print(report, str(server))
    for role in report.masters:
        click.echo(
            f"role {role} could take the triggers away: that is noticed, not prevented; "
            "let the application connect as a role that doesn't own the tables"
        )


def _say_unchanged(trail: Trail, report: Report) -> None:
    """That all is as it should be ends a drift that somebody mended by hand."""
    if not report.changed:
        draft = draft_installed(report.incarnation, report.tables, trail.policy)
        trail.journal.append(draft)


def _print(report: Report, database: str) -> None:
    out = console()
    out.print(f"captured: every write to {len(report.tables)} tables of {database}")
    for drift in report.drifts:
        if not report.is_first:
            out.print(f"changed since the last time: {drift}")
    for unseen in report.unseen:
        out.print(f"not seen: {unseen.name}: {unseen.why}")
    if report.baseline_tables:
        out.print(
            f"written down: {report.baseline_rows} rows of {len(report.baseline_tables)} tables "
            "that were there"
        )
    if not report.statements:
        out.print("nothing had to be changed")

"""`indelible install`: capture every write to the application's database."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.capture.sqlite_install import install, suspend
from indelible.cli.opening import database_of, open_trail
from indelible.cli.options import CONFIG
from indelible.cli.output import console, progress_bar


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
    with open_trail(config) as trail:
        database = database_of(trail.policy)
        if is_suspending:
            suspend(database, journal=trail.journal)
            click.echo("suspended: NOTHING is captured until `indelible install` runs again")
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
        trail.watch_database(database)
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

"""`indelible accessors`: everybody who accessed somebody's data."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import CONFIG, JSON, SUBJECT, window
from indelible.cli.questions import show_answer, time_text
from indelible.cli.report import write_report
from indelible.events.model import Subject
from indelible.questions.findings import AccessorFinding

COLUMNS = ("actor", "first (UTC)", "last (UTC)", "reads", "changes")


@click.command("accessors")
@click.option("--of", type=SUBJECT, required=True, help="Whose data.", metavar="KIND:ID")
@click.option("--also-as", is_flag=True, help="Also those on whose behalf somebody acted.")
@window
@click.option(
    "--as-report",
    "report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="For the person whose data it is: a page to read, FILE.html or FILE.pdf, instead.",
)
@JSON
@CONFIG
def command(
    of: Subject,
    also_as: bool,
    since: str | None,
    until: str | None,
    report: Path | None,
    as_json: bool,
    config: Path,
) -> None:
    """Everybody who read or changed a subject's data in a window.

    Beside them other clients of the server that were connected, whose reads aren't seen by row.

    With --as-report it is told to that person, in a file: nobody is named, and no reason shown, but
    as [reports] says.

    For example: indelible accessors --of customer:zara --since 2016-03-02 --until 2017-06-22
    """
    if report is not None:
        if as_json:
            raise click.UsageError("expected --as-report or --json, came both")
        write_report(report, of, since=since, until=until, config=config)
        return
    with ask_trail(config) as trail:
        show_answer(
            trail.accessors(of=of, since=since, until=until, also_as=also_as),
            COLUMNS,
            row,
            as_json=as_json,
            unknown=f"nobody: the trail has never heard of {of}",
        )


def row(finding: AccessorFinding) -> list[str]:
    """One actor as a table shows it."""
    who = str(finding.actor) if finding.actor is not None else "(unattributed)"
    if finding.actor is None and finding.database_role is not None:
        who += f" as {finding.database_role}"
    if finding.actor is not None and finding.actor.on_behalf_of is not None:
        who += f" on behalf of {finding.actor.on_behalf_of}"
    if finding.through is not None:
        who += f" through {finding.through}"
    return [
        who,
        time_text(finding.first, finding.resolution),
        time_text(finding.last, finding.resolution),
        str(finding.reads or ""),
        str(finding.changes or ""),
    ]

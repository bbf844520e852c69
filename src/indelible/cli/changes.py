"""`indelible changes`: the full set of changes that somebody made."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import ACTOR, CONFIG, JSON, window
from indelible.cli.output import changes_text, local
from indelible.cli.questions import show_answer
from indelible.events.model import Actor
from indelible.questions.findings import Finding

COLUMNS = ("index", "time (UTC)", "action", "target", "changes", "subject", "reason")


@click.command("changes")
@click.option("--by", type=ACTOR, required=True, help="The actor.", metavar="KIND:ID")
@click.option("--also-as", is_flag=True, help="Also what others did on their behalf.")
@window
@JSON
@CONFIG
def command(
    by: Actor, also_as: bool, since: str | None, until: str | None, as_json: bool, config: Path
) -> None:
    """All changes that an actor made in a window.

    For example: indelible changes --by staff:alice --since 2021-04-29 --until 2022-01-29
    """
    with ask_trail(config) as trail:
        show_answer(
            trail.changes(by=by, since=since, until=until, also_as=also_as),
            COLUMNS,
            row,
            as_json=as_json,
            unknown=f"nothing: the trail has never heard of {by}",
        )


def row(finding: Finding) -> list[str]:
    """One change as a table shows it."""
    event = finding.event
    return [
        str(finding.index),
        local(finding.time),
        event.action,
        finding.target_text,
        changes_text(event),
        finding.subject_text,
        event.reason or "",
    ]

"""`indelible history`: everything that was done to one record."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import CONFIG, JSON, TARGET, window
from indelible.cli.output import changes_text, local
from indelible.cli.questions import show_answer
from indelible.events.model import Target
from indelible.events.values import format_id
from indelible.questions.findings import Finding
from indelible.questions.restores import TAKEN_BACK, restore_of

COLUMNS = ("index", "time (UTC)", "actor", "action", "changes", "reason")


@click.command("history")
@click.argument("target", type=TARGET, metavar="KIND:ID")
@window
@JSON
@CONFIG
def command(
    target: Target, since: str | None, until: str | None, as_json: bool, config: Path
) -> None:
    """Everything that was done to one record, reads included.

    For example: indelible history invoice:42
    """
    name = f"{target.kind}:{format_id(target.row_id)}"
    with ask_trail(config) as trail:
        show_answer(
            trail.history(target, since=since, until=until),
            COLUMNS,
            row,
            as_json=as_json,
            unknown=f"nothing: the trail has never heard of {name}",
        )


def row(finding: Finding) -> list[str]:
    """One event of a record's history as a table shows it."""
    event = finding.event
    return [
        str(finding.index),
        local(finding.time),
        "(unattributed)" if event.actor is None else str(event.actor),
        event.action,
        changes_text(event) if restore_of(event) is None else TAKEN_BACK,
        event.reason or "",
    ]

"""`indelible events`: what the application said in its own words."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import ACTOR, CONFIG, JSON, window
from indelible.cli.output import context_text, local
from indelible.cli.questions import show_answer
from indelible.events.model import Actor
from indelible.questions.findings import Finding

COLUMNS = ("index", "time (UTC)", "actor", "action", "outcome", "target", "from", "reason")


@click.command("events")
@click.option("--by", type=ACTOR, help="The actor.", metavar="KIND:ID")
@click.option("--action", help='One action, or all of a noun: "user.*".')
@click.option("--system", is_flag=True, help="The trail's own entries too.")
@click.option("--also-as", is_flag=True, help="Also what others did on their behalf.")
@window
@JSON
@CONFIG
def command(
    by: Actor | None,
    action: str | None,
    system: bool,
    also_as: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path,
) -> None:
    """Explicit events of a window, of any outcome.

    For example: indelible events --by staff:alice --action "user.*" --since 2022-11 --until 2022-11
    """
    with ask_trail(config) as trail:
        show_answer(
            trail.events(
                by=by, action=action, since=since, until=until, also_as=also_as, system=system
            ),
            COLUMNS,
            row,
            as_json=as_json,
            unknown="nothing: the trail has never heard of that",
        )


def row(finding: Finding) -> list[str]:
    """One event as a table shows it."""
    event = finding.event
    outcome = finding.decision_text if event.kind == "decision" else event.outcome.value
    committed = {None: "", True: " (committed)", False: " (not known to have committed)"}
    return [
        str(finding.index),
        local(finding.time),
        "(unattributed)" if event.actor is None else str(event.actor),
        event.action,
        outcome + committed[finding.committed],
        finding.target_text,
        context_text(event, "ip"),
        event.reason or "",
    ]

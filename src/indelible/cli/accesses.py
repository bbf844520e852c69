"""`indelible accesses`: the full set of records that somebody accessed."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import ACTOR, CONFIG, JSON, window
from indelible.cli.output import local
from indelible.cli.questions import show_answer, time_text
from indelible.events.model import Actor
from indelible.questions.findings import AccessFinding, Finding
from indelible.questions.unauthorised import UnauthorisedFinding

RECORDS = ("record", "first (UTC)", "last (UTC)", "reads", "changes")
EVENTS = ("index", "time (UTC)", "action", "target", "subject", "decision", "reason")
UNAUTHORISED = ("index", "time (UTC)", "actor", "action", "target", "under", "reason")


@click.command("accesses")
@click.option("--by", type=ACTOR, help="The actor.", metavar="KIND:ID")
@click.option("--also-as", is_flag=True, help="Also what others did on their behalf.")
@click.option("--events", "each", is_flag=True, help="One line an event instead of a record.")
@click.option(
    "--unauthorised",
    "only_unauthorised",
    is_flag=True,
    help="What was under no decision or a deny, by anybody or by --by; one line an event.",
)
@window
@JSON
@CONFIG
def command(
    by: Actor | None,
    also_as: bool,
    each: bool,
    only_unauthorised: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path,
) -> None:
    """All records that an actor read or changed in a window.

    Beside them other clients of the server that were connected, whose reads aren't seen by row.

    For example: indelible accesses --by staff:trudy --since "yesterday 02:30"
    """
    if only_unauthorised:
        _show_unauthorised(by, also_as, since, until, as_json, config)
        return
    if by is None:
        raise click.UsageError("expected --by KIND:ID: whose accesses? (or --unauthorised)")
    unknown = f"nothing: the trail has never heard of {by}"
    with ask_trail(config) as trail:
        if each:
            show_answer(
                trail.access_events(by=by, since=since, until=until, also_as=also_as),
                EVENTS,
                event_row,
                as_json=as_json,
                unknown=unknown,
            )
        else:
            show_answer(
                trail.accesses(by=by, since=since, until=until, also_as=also_as),
                RECORDS,
                record_row,
                as_json=as_json,
                unknown=unknown,
            )


def _show_unauthorised(
    by: Actor | None,
    also_as: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path,
) -> None:
    with ask_trail(config) as trail:
        show_answer(
            trail.unauthorised(by=by, since=since, until=until, also_as=also_as),
            UNAUTHORISED,
            unauthorised_row,
            as_json=as_json,
            unknown=f"nothing: the trail has never heard of {by}",
        )


def unauthorised_row(finding: UnauthorisedFinding) -> list[str]:
    """What wasn't allowed of one event as a table shows it."""
    event = finding.event
    return [
        str(finding.index),
        local(finding.time),
        "(unattributed)" if event.actor is None else str(event.actor),
        event.action,
        finding.target_text,
        finding.lack_text,
        event.reason or "",
    ]


def record_row(finding: AccessFinding) -> list[str]:
    """One record as a table shows it."""
    return [
        finding.target_text,
        time_text(finding.first, finding.resolution),
        time_text(finding.last, finding.resolution),
        str(finding.reads or ""),
        str(finding.changes or ""),
    ]


def event_row(finding: Finding) -> list[str]:
    """One access as a table shows it."""
    return [
        str(finding.index),
        local(finding.time),
        finding.event.action,
        finding.target_text,
        finding.subject_text,
        finding.decision_text,
        finding.event.reason or "",
    ]

"""`indelible hold`: what was sealed for a subject isn't erased as long as it is held."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from indelible.cli.acting import Step, authorised
from indelible.cli.opening import ask_trail
from indelible.cli.options import CONFIG, JSON, SUBJECT
from indelible.cli.output import console, print_json, print_table
from indelible.erasure import Erasures
from indelible.events.model import Subject


@click.group("hold")
def command() -> None:
    """Keep what was sealed for a subject from being erased, while a court or a law wants it.

    Adding and releasing need the authorisers of [retention], like erasing.
    """


@command.command("add")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@authorised
@CONFIG
def add(subject: Subject, step: Step, config: Path) -> None:
    """Hold what was sealed for a subject: first --request, then --authorisation."""
    step.take(config, "hold.add", subject, partial(_add, subject))


def _add(subject: Subject, erasures: Erasures, signed: bytes) -> str:
    erasures.add_hold(subject, signed)
    return f"held: {subject} isn't erased until that is released"


@command.command("release")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@click.option(
    "--hold", type=int, metavar="INDEX", help="The entry of the hold, where there are several."
)
@authorised
@CONFIG
def release(subject: Subject, hold: int | None, step: Step, config: Path) -> None:
    """End a hold: first --request, then --authorisation."""
    step.take(config, "hold.release", subject, partial(_release, subject), hold=hold)


def _release(subject: Subject, erasures: Erasures, signed: bytes) -> str:
    erasures.release_hold(subject, signed)
    return f"released: {subject} is no longer held by that"


@command.command("list")
@JSON
@CONFIG
def show(as_json: bool, config: Path) -> None:
    """Every hold in force."""
    with ask_trail(config) as trail:
        holds = trail.erasures.holds()
    if as_json:
        print_json(list(holds))
        return
    print_table(
        console(),
        ("entry", "subject", "token", "reason"),
        (
            [str(hold.index), str(hold.subject or "(unknown)"), hold.token, hold.reason]
            for hold in holds
        ),
        empty="nothing is held",
    )

"""`indelible hold`: what was sealed for a subject isn't erased as long as it is held."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.acting import authorised, is_request, open_to_act, read_file, write_request
from indelible.cli.opening import ask_trail
from indelible.cli.options import CONFIG, JSON, SUBJECT
from indelible.cli.output import console, print_json, print_table
from indelible.events.model import Actor, Subject


@click.group("hold")
def command() -> None:
    """Keep what was sealed for a subject from being erased, while a court or a law wants it.

    Adding and releasing need the authorisers of [retention], like erasing.
    """


@command.command("add")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@authorised
@CONFIG
def add(
    subject: Subject,
    request: Path | None,
    authorisation: Path | None,
    reason: str | None,
    acting: Actor | None,
    config: Path,
) -> None:
    """Hold what was sealed for a subject: first --request, then --authorisation."""
    asks = is_request(request, authorisation, reason)
    with open_to_act(config, acting) as trail:
        if asks and request is not None:
            write_request(trail, "hold.add", subject, request, reason or "")
        elif authorisation is not None:
            trail.erasures.add_hold(subject, read_file(authorisation))
            click.echo(f"held: {subject} isn't erased until that is released")


@command.command("release")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@click.option(
    "--hold", type=int, metavar="INDEX", help="The entry of the hold, where there are several."
)
@authorised
@CONFIG
def release(
    subject: Subject,
    hold: int | None,
    request: Path | None,
    authorisation: Path | None,
    reason: str | None,
    acting: Actor | None,
    config: Path,
) -> None:
    """End a hold: first --request, then --authorisation."""
    asks = is_request(request, authorisation, reason)
    with open_to_act(config, acting) as trail:
        if asks and request is not None:
            write_request(trail, "hold.release", subject, request, reason or "", hold)
        elif authorisation is not None:
            trail.erasures.release_hold(subject, read_file(authorisation))
            click.echo(f"released: {subject} is no longer held by that")


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
        ("entry", "subject", "token"),
        ([str(hold.index), str(hold.subject or "(unknown)"), hold.token] for hold in holds),
        empty="nothing is held",
    )

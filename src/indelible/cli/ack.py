"""`indelible ack`: say that a notice was seen."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.account import account
from indelible.cli.opening import open_trail
from indelible.cli.options import ACTOR, CONFIG
from indelible.errors import QueryError
from indelible.events.context import acting_as
from indelible.events.model import Actor


@click.command("ack")
@click.argument("indexes", type=int, nargs=-1, required=True, metavar="INDEX...")
@click.option("--by", type=ACTOR, metavar="KIND:ID", help="Who has seen it. [default: os:<you>]")
@click.option("--reason", help="What it was, or what was done about it.")
@CONFIG
def command(indexes: tuple[int, ...], by: Actor | None, reason: str | None, config: Path) -> None:
    """Acknowledge what `indelible status` shows as noticed; an entry itself."""
    with open_trail(config) as trail:
        noticed = {int(notice.index) for notice in trail.notices()}
        for index in indexes:
            if index not in noticed:
                raise QueryError(
                    f"expected the index of something noticed and not acknowledged, got {index}"
                )
        with acting_as(by or account(), reason=reason):
            for index in indexes:
                trail.acknowledge(index)
    click.echo("recorded; it takes effect when it is in the trail")

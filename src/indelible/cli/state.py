"""`indelible state`: what a record was at a moment."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.cli.options import CONFIG, JSON, TARGET
from indelible.cli.output import console, local, print_json, print_table, value_text
from indelible.events.model import Target
from indelible.events.values import format_id


@click.command("state")
@click.argument("target", type=TARGET, metavar="KIND:ID")
@click.option("--at", metavar="TIME", help="The moment; a date means its end. [default: now]")
@JSON
@CONFIG
def command(target: Target, at: str | None, as_json: bool, config: Path) -> None:
    """What a record was at a moment, from baseline and changes.

    For example: indelible state invoice:42 --at 2026-03-01
    """
    name = f"{target.kind}:{format_id(target.row_id)}"
    with ask_trail(config) as trail:
        answer = trail.state(target, at)
        if as_json:
            print_json(answer)
            return
        out = console()
        count = 0
        for finding in answer:
            count += 1
            row = finding.state
            said = "is there" if row.present else "was deleted; it last was"
            if row.restored:
                taken = "was taken back by the restore of a backup"
                said = f"{taken} to this" if row.present else f"{taken}; it had been"
            out.print(
                f"{row.kind}:{format_id(row.id)} {said}"
                + ("" if row.complete else ", as far as the trail knows its columns")
                + ("" if finding.certain else f" (possible, not certain: {finding.why})")
            )
            print_table(
                out,
                ("column", "value"),
                ([column, value_text(value)] for column, value in row.columns.items()),
                empty="no columns",
            )
        if not count:
            out.print(
                f"nothing is known of {name} at that time"
                if answer.known
                else f"nothing: the trail has never heard of {name}"
            )
        until = answer.searched.until
        out.print(f"as of: {local(until) if until else 'now'} (UTC)", style="dim")

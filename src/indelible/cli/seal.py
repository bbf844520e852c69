"""`indelible seal`: move what is old to segments, out of the trail's own file."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.opening import open_trail
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, local, print_json
from indelible.cli.tier import segment_object, size_text
from indelible.store.segment import Segment


@click.command("seal")
@click.option(
    "--before",
    metavar="TIME",
    help='Seal what came before it: "90 days ago", 2026-08. [default: hot_days of the '
    "configuration ago]",
)
@click.option(
    "--to",
    metavar="PLACE",
    help="A folder, or s3://bucket/prefix. [default: that of the configuration]",
)
@click.option(
    "--all", "everything", is_flag=True, help="Also what doesn't fill a segment (65,536 entries)."
)
@JSON
@CONFIG
def command(
    before: str | None, to: str | None, everything: bool, as_json: bool, config: Path
) -> None:
    """Move what is old from the trail's file to segments; answers stay what they are.

    Each segment is written once, read back and held against the signed tree before its entries
    leave the file. The application goes on meanwhile. Stopped at any moment, and run again, it
    goes on; nothing is lost or there twice. What isn't signed yet stays, and, where witnesses are
    configured, what they haven't cosigned.

    With a lake in the configuration, what is sealed is copied there as Parquet, for analysis, and
    listed in the table of Iceberg's that the configuration names.
    """
    with open_trail(config) as trail:
        out = console()
        count = 0
        for segment in trail.seal(before=before, to=to, only_full=not everything):
            count += 1
            if as_json:
                print_json([{"sealed": segment_object(segment)}])
            else:
                out.print(sealed_text(segment))
        for file in trail.fill_lake():
            if as_json:
                print_json(
                    [
                        {
                            "lake": {
                                "first": file.first,
                                "last": file.last,
                                "path": str(file.path),
                                "rows": file.rows,
                                "bytes": file.length,
                            }
                        }
                    ]
                )
            else:
                out.print(f"copied entries {file.first} to {file.last} to {file.path}")
        if not count and not as_json:
            out.print("nothing to seal: what is that old and signed doesn't fill a segment")


def sealed_text(segment: Segment) -> str:
    """One segment that was made, as a person reads it."""
    return (
        f"sealed entries {segment.first} to {segment.last} ({local(segment.since)} to "
        f"{local(segment.until)}) in {size_text(segment.length)}: {segment.place}/{segment.name}"
    )

"""`indelible export`: a trail, written out for others to read and check."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, print_json, progress_bar
from indelible.integrity.published import PublishedTrail
from indelible.integrity.static_export import export_tree
from indelible.store.sqlite_reader import SqliteReader


@click.command("export")
@click.option(
    "--log",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="The trail as a transparency log, for any web server: checkpoint, tiles, heads (C2SP "
    "tlog-tiles).",
)
@JSON
@CONFIG
def command(folder: Path | None, as_json: bool, config: Path) -> None:
    """Write the trail out, for others to read and check. What happened (bodies) isn't in it.

    Goes on from what an earlier export left in the folder. Refuses the folder of another trail, and
    exits with 3 where what was exported before isn't the beginning of the trail.
    """
    if folder is None:
        raise click.UsageError("expected what to export: --log FOLDER")
    with (
        contextlib.closing(SqliteReader(policy_of(config).trail)) as reader,
        progress_bar("exporting") as progress,
    ):
        done = export_tree(PublishedTrail(reader), folder, progress=progress)
    if as_json:
        print_json([done])
        return
    console().print(
        f"{folder} has {done.size} entries of {done.origin}, {done.size - done.since} more than "
        f"before; {done.files} files written"
    )

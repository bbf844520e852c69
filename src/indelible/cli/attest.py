"""`indelible attest`: sign what retention is to drop, after working it out again."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.authorise import note_in, retention_text, sign_into
from indelible.cli.opening import open_trail
from indelible.cli.options import CONFIG, PASSPHRASE_FILE
from indelible.cli.passphrases import unlock_from
from indelible.integrity.keys import load_signing_key
from indelible.integrity.retention import parse_retention


@click.command("attest")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="The key of a verifier of [retention], as `indelible key` makes it.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@PASSPHRASE_FILE
@CONFIG
def command(file: Path, key: Path, yes: bool, passphrase_file: Path | None, config: Path) -> None:
    """Work out again what the request in FILE drops, and what it leaves; sign it if that is so.

    For somebody who doesn't run the trail, with a copy of it that `indelible verify` accepts, while
    the bodies are there. What is said of each day is then known to be what the entries said. Exits
    with 1 where it isn't the same.
    """
    note = note_in(file)
    act = parse_retention(note.text)
    click.echo(retention_text(act))
    signing = load_signing_key(key, unlock_from(passphrase_file))
    with open_trail(config) as trail:
        trail.retention.attest(act)
    click.echo(
        f"worked out again from the bodies: the same {act.dropped} go, {act.said} entries say so"
    )
    sign_into(file, note, signing, ask=not yes)

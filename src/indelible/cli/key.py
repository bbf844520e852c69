"""`indelible key`: a key of one's own, to sign what one has verified."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.options import PASSPHRASE, PASSPHRASE_FILE
from indelible.cli.passphrases import new_passphrase
from indelible.integrity.keys import create_signing_key


@click.command("key")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@PASSPHRASE
@PASSPHRASE_FILE
def command(name: str, file: Path, is_encrypted: bool, passphrase_file: Path | None) -> None:
    """Make a signing key called NAME in FILE, and print its public half.

    Whoever is to believe what it signs needs that line, from its owner's own hands. NAME is an
    address without a scheme by custom: audit.example.com/2026.
    """
    passphrase = None
    if is_encrypted or passphrase_file is not None:
        passphrase = new_passphrase(passphrase_file, None)
    click.echo(create_signing_key(file, name, passphrase=passphrase).verifier_key)

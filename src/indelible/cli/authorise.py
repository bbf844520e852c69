"""`indelible authorise`: sign what somebody asks to be erased, held or released."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from indelible.cli.acting import read_file
from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG, PASSPHRASE_FILE
from indelible.cli.output import printable
from indelible.cli.passphrases import unlock_from
from indelible.durable import replace_whole
from indelible.erasure import open_keystore
from indelible.errors import ConfigurationError, IndelibleError
from indelible.integrity.authorisations import parse_act
from indelible.integrity.keys import load_signing_key
from indelible.tlog import MalformedNoteError, add_signatures, format_note, parse_note, sign_note
from indelible.tlog.note import Note


@click.command("authorise")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="An authoriser's key, as `indelible key` makes it.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@PASSPHRASE_FILE
@CONFIG
def command(file: Path, key: Path, yes: bool, passphrase_file: Path | None, config: Path) -> None:
    """Sign the request in FILE, after showing what it asks for; the signature is added to it.

    It names its subject by a token. Whose that is is shown where the configuration's keystore is
    at hand; elsewhere be told by somebody whom you trust.
    """
    note = _note_in(file)
    act = parse_act(note.text)
    click.echo(
        f"{act.act} in the trail {printable(act.origin)}\n"
        f"  subject: {_name_of(act.token, config)}\n"
        f"  reason:  {printable(act.reason)}\n  asked:   {printable(act.time)}"
    )
    signing = load_signing_key(key, unlock_from(passphrase_file))
    if not yes:
        click.confirm(f"sign as {signing.name}?", abort=True)
    signed = add_signatures(note, [sign_note(note.text, signing)])
    try:
        replace_whole(file, format_note(signed))
    except OSError as error:
        raise ConfigurationError(f"can't write {file}: {error.strerror}") from None
    click.echo(f"{file}: signed by {', '.join(each.name for each in signed.signatures)}")


def _note_in(file: Path) -> Note:
    """The note, which has no signature at first."""
    raw = read_file(file)
    with contextlib.suppress(MalformedNoteError):
        return parse_note(raw)
    try:
        return Note(raw.decode(), ())
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: expected a request as text, came other bytes") from None


def _name_of(token: str, config: Path) -> str:
    try:
        keystore = open_keystore(policy_of(config))
        subject = None if keystore is None else keystore.subject_of(token)
    except IndelibleError:
        subject = None
    if subject is None:
        return f"{token} (whose that is isn't known here)"
    return f"{printable(str(subject))} ({token})"

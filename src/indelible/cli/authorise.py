"""`indelible authorise`: sign what somebody asks to be erased, held, released or dropped."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from indelible.cli.acting import read_file
from indelible.cli.opening import open_trail, policy_of
from indelible.cli.options import CONFIG, PASSPHRASE_FILE
from indelible.cli.output import printable
from indelible.cli.passphrases import unlock_from
from indelible.durable import replace_whole
from indelible.erasure import open_keystore
from indelible.errors import ConfigurationError, IndelibleError
from indelible.integrity.authorisations import NOTHING, parse_act
from indelible.integrity.keys import load_signing_key
from indelible.integrity.retention import RetentionAct, is_retention, parse_retention
from indelible.tlog import (
    MalformedNoteError,
    SigningKey,
    add_signatures,
    format_note,
    parse_note,
    sign_note,
)
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
    at hand; elsewhere be told by somebody whom you trust. What `indelible retain` asks for names
    nobody.
    """
    note = note_in(file)
    if is_retention(note.text):
        click.echo(retention_text(parse_retention(note.text)))
    else:
        act = parse_act(note.text)
        released = f"  hold:    {_hold_of(act.about, config)}\n" if act.about != NOTHING else ""
        click.echo(
            f"{act.act} in the trail {printable(act.origin)}\n"
            f"  subject: {_name_of(act.token, config)}\n{released}"
            f"  reason:  {printable(act.reason)}\n  asked:   {printable(act.time)}"
        )
    sign_into(file, note, load_signing_key(key, unlock_from(passphrase_file)), ask=not yes)


def retention_text(act: RetentionAct) -> str:
    """What is to be dropped, as a person reads it."""
    rules = act.rules
    gone = [
        ("accesses, all but the day", rules.access_detail),
        ("accesses", rules.accesses),
        ("changes", rules.changes),
        ("events", rules.events),
    ]
    limits = "".join(f"  {what} before {at}\n" for what, at in gone if at is not None)
    return (
        f"retention in the trail {printable(act.origin)}: {act.dropped} bodies of entries up to "
        f"{act.through} go, {act.held} stay because somebody is held\n{limits}"
        f"  reason:  {printable(act.reason)}\n  asked:   {printable(act.time)}"
    )


def sign_into(file: Path, note: Note, key: SigningKey, *, ask: bool) -> None:
    """Add the key's signature to the note in `file`. Raises `ConfigurationError`."""
    if ask:
        click.confirm(f"sign as {key.name}?", abort=True)
    signed = add_signatures(note, [sign_note(note.text, key)])
    try:
        replace_whole(file, format_note(signed))
    except OSError as error:
        raise ConfigurationError(f"can't write {file}: {error.strerror}") from None
    click.echo(f"{file}: signed by {', '.join(each.name for each in signed.signatures)}")


def note_in(file: Path) -> Note:
    """The note, which has no signature at first. Raises `ConfigurationError`."""
    raw = read_file(file)
    with contextlib.suppress(MalformedNoteError):
        return parse_note(raw)
    try:
        return Note(raw.decode(), ())
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: expected a request as text, came other bytes") from None


def _hold_of(nonce: str, config: Path) -> str:
    """Which hold would be released, where the trail is at hand."""
    try:
        with open_trail(config) as trail:
            found = [hold for hold in trail.erasures.holds() if hold.nonce == nonce]
    except IndelibleError:
        return f"{nonce} (which that is isn't known here)"
    if not found:
        return f"{nonce} (none that is in force)"
    return f"that of entry {found[0].index}: {printable(found[0].reason)}"


def _name_of(token: str, config: Path) -> str:
    try:
        keystore = open_keystore(policy_of(config))
        subject = None if keystore is None else keystore.subject_of(token)
    except IndelibleError:
        subject = None
    if subject is None:
        return f"{token} (whose that is isn't known here)"
    return f"{printable(str(subject))} ({token})"

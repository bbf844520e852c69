"""`indelible signer`: have the trail's key in a process, and best an account, of its own."""

from __future__ import annotations

import contextlib
import logging
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from indelible.cli.options import PASSPHRASE, PASSPHRASE_FILE, PKCS11
from indelible.cli.passphrases import new_passphrase, unlock_from
from indelible.cli.stopping import serve_until_stopped
from indelible.errors import ConfigurationError
from indelible.integrity.key_ring import key_text, load_ring
from indelible.integrity.passphrases import Passphrase, Unlock
from indelible.integrity.pkcs11_key import Pkcs11Key
from indelible.integrity.private_files import read_private
from indelible.integrity.signer import CheckpointGuard, hold
from indelible.integrity.signer_server import SignerServer
from indelible.tlog import MalformedKeyError, Signer, SigningKey

DIRECTORY: Final = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("signer"),
    show_default=True,
    help="Where its key and its state are.",
)


@click.group("signer")
def command() -> None:
    """Sign a trail's checkpoints, and of that trail one history only.

    Applications and the relay ask it over a socket ([trail] signer) and need no key file. Its
    folder is never to be restored from a backup: go on with a new trail instead.
    """


@command.command("init")
@click.argument("origin")
@click.option(
    "--key",
    "existing",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take the key of a trail that there is (trail.key), and take the file away then.",
)
@PKCS11
@PASSPHRASE
@PASSPHRASE_FILE
@DIRECTORY
def init(
    origin: str,
    existing: Path | None,
    pkcs11: str | None,
    is_encrypted: bool,
    passphrase_file: Path | None,
    directory: Path,
) -> None:
    """Make a signer for the trail ORIGIN, and its key.

    ORIGIN is a URL without scheme that is yours: example.com/trail. The first checkpoint that it is
    asked to sign is believed; what comes after must continue it.
    """
    if sum((existing is not None, pkcs11 is not None, is_encrypted)) > 1:
        raise click.UsageError("expected one of --key, --pkcs11 and --passphrase")
    if existing is not None:
        ring = load_ring(existing, unlock_from(passphrase_file))
        key, text, rotations = ring.signers[0], read_private(existing) + "\n", ring.rotations
        if len(ring.signers) > 1 or key.verifier_key.name != origin:
            raise ConfigurationError(
                f"{existing}: expected one key of {origin}, came {len(ring.signers)} of "
                f"{key.verifier_key.name}: finish its rotation first"
            )
    else:
        passphrase = new_passphrase(passphrase_file, None) if is_encrypted else None
        key, text = new_key(origin, pkcs11, passphrase)
        rotations = ()
    CheckpointGuard.create(directory, key, text, rotations).close()
    click.echo(f"made the signer {directory}")
    click.echo(f"public key (give it to whoever verifies): {key.verifier_key}")


@command.command("serve")
@click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Where it listens, in a folder that only its account can write to.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="NAME",
    help="An account, besides its own, whose processes may have checkpoints signed.",
)
@PASSPHRASE_FILE
@DIRECTORY
def serve(
    path: Path, accounts: tuple[str, ...], passphrase_file: Path | None, directory: Path
) -> None:
    """Sign what continues what was signed last, until stopped."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    with opened(directory, unlock_from(passphrase_file)) as guard:
        server = SignerServer(guard, path, accounts=[_user_id(name) for name in accounts])
        serve_until_stopped(server, f"signing {guard.ring.verifier_key.name} at {path}")


@contextlib.contextmanager
def opened(directory: Path, unlock: Unlock) -> Iterator[CheckpointGuard]:
    """The signer in the folder, for this process alone."""
    with hold(directory), contextlib.closing(CheckpointGuard.open(directory, unlock)) as guard:
        yield guard


def new_key(name: str, pkcs11: str | None, passphrase: Passphrase | None) -> tuple[Signer, str]:
    """A new key, or that of the token, and how it stands in a file."""
    try:
        if pkcs11 is not None:
            held = Pkcs11Key.find(pkcs11, name)
            return held, f"{held.verifier_key}\n{pkcs11}\n"
        key = SigningKey.generate(name)
    except MalformedKeyError as error:
        raise ConfigurationError(str(error)) from None
    return key, key_text(key, passphrase)


def _user_id(name: str) -> int:
    try:
        return int(name) if name.isascii() and name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigurationError(f"expected --account with an account, came {name!r}") from None

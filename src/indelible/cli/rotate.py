"""`indelible rotate`: have a new key take over from the one that signs checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

from indelible.cli.options import CONFIG, PASSPHRASE_FILE, PKCS11
from indelible.cli.passphrases import asker, unlock_from
from indelible.cli.signer import new_key, opened
from indelible.errors import ConfigurationError, StoreBusyError
from indelible.events.codec import format_time
from indelible.integrity.key_ring import (
    KEY_FILE,
    ROTATIONS,
    KeyRing,
    load_ring,
    retire_old,
    rotate_ring,
)
from indelible.integrity.keys import load_public_key
from indelible.integrity.leader import LEASE_S
from indelible.integrity.passphrases import PEM_BEGIN, Unlock, unlock_with
from indelible.integrity.private_files import read_private
from indelible.integrity.rotations import keys_of, open_by
from indelible.integrity.sequencer import Sequencer
from indelible.policy import load_policy
from indelible.store.protocol import Lease
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import Checkpoint, Rotation, SigningKey, open_rotation

BOTH_DAYS: Final = 30
_DAY_US: Final = 86_400_000_000


@click.command("rotate")
@click.option(
    "--signer",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="A signer's key, in its folder, instead of one beside the trail.",
)
@click.option(
    "--finish", is_flag=True, help="End the time of both: take the old key out of the file."
)
@click.option(
    "--both-for",
    "both_days",
    type=click.IntRange(min=0),
    default=BOTH_DAYS,
    show_default=True,
    metavar="DAYS",
    help="How long, at least, both keys sign.",
)
@click.option("--early", is_flag=True, help="With --finish: though that long isn't over.")
@PKCS11
@PASSPHRASE_FILE
@CONFIG
def command(
    directory: Path | None,
    finish: bool,
    both_days: int,
    early: bool,
    pkcs11: str | None,
    passphrase_file: Path | None,
    config: Path,
) -> None:
    """Have a new key take over from the one that signs checkpoints.

    Both keys sign that, and it is an entry of the trail: whoever has the old public key accepts the
    new one. Then both sign each checkpoint, until --finish, so that there is time to give the new
    public key to witnesses, trust policies and whoever verifies. Stop what uses the key first: the
    application and the relay, or the signer.
    """
    if finish and pkcs11 is not None:
        raise click.UsageError("expected --pkcs11 without --finish: it names the new key")
    change = _Change(finish=finish, early=early, both_days=both_days, pkcs11=pkcs11)
    if directory is not None:
        unlock = unlock_from(passphrase_file)
        with opened(directory, unlock) as guard:
            last = guard.last
            known = Checkpoint(origin=last.origin, size=last.size, root=last.root)
            guard.replace_key(change.make(directory / KEY_FILE, guard.ring, known, unlock))
        click.echo("start the signer again: the next checkpoint says so")
        return
    policy = load_policy(config)
    if policy.signer is not None:
        raise ConfigurationError(
            f"{policy.source}: expected --signer FOLDER: the signer has the key, no file here"
        )
    file = passphrase_file or policy.passphrase_file
    unlock = unlock_with(file, policy.passphrase_env, os.environ, asker())
    path = policy.keys / KEY_FILE
    ring = load_ring(path, unlock)
    ring.check_follows(load_public_key(policy.keys))
    with contextlib.closing(SqliteTrail(policy.trail)) as store, _leading(store) as lease:
        Sequencer(store, lease, ring)  # signs what a crash left pending
        note = store.state().checkpoint or b""
        known = open_by(note, store.origin, keys_of(ring)).checkpoint
        Sequencer(store, lease, change.make(path, ring, known, unlock))


class _Change(NamedTuple):
    """What is to be done to a key file."""

    finish: bool
    early: bool
    both_days: int
    pkcs11: str | None

    def make(self, path: Path, ring: KeyRing, known: Checkpoint, unlock: Unlock) -> KeyRing:
        """Do it, and say so; the ring from now on. `known` was signed last."""
        if self.finish:
            self._finish(path, ring)
        else:
            self._rotate(path, ring, known, unlock)
        return load_ring(path, unlock)

    def _rotate(self, path: Path, ring: KeyRing, known: Checkpoint, unlock: Unlock) -> None:
        if len(ring.signers) > 1:
            raise ConfigurationError(
                f"{path}: expected one key, two sign now: first `indelible rotate --finish`"
            )
        if self.pkcs11 is None and not isinstance(ring.signers[0], SigningKey):
            raise ConfigurationError(
                f"expected --pkcs11 URI with the new key: the one in {path} is in a token, and its "
                "successor would stand in that file"
            )
        # What was under a passphrase stays under it.
        is_encrypted = PEM_BEGIN in read_private(path)
        new, text = new_key(known.origin, self.pkcs11, unlock(path) if is_encrypted else None)
        now = time.time_ns() // 1_000
        rotation = Rotation(
            origin=known.origin,
            size=known.size,
            root=known.root,
            old=ring.verifier_key,
            new=new.verifier_key,
            time=format_time(now),
            until=format_time(now + self.both_days * _DAY_US),
        )
        rotate_ring(path, rotation, ring, new, text)
        click.echo(f"rotated {known.origin} from {rotation.old}")
        click.echo(f"new public key (give it to whoever verifies): {rotation.new}")
        click.echo(f"both sign until at least {rotation.until}; for witnesses: {_notes(path)}")

    def _finish(self, path: Path, ring: KeyRing) -> None:
        if len(ring.signers) < 2:
            raise ConfigurationError(f"{path}: expected two keys that sign, there is one")
        if not ring.rotations and not self.early:
            raise ConfigurationError(
                f"expected the rotation in {_notes(path)}, it is lost: write what the trail serves "
                "or exports as `rotations` there, or end the time of both keys now with --early"
            )
        until = open_rotation(ring.rotations[-1]).until if ring.rotations else ""
        if format_time(time.time_ns() // 1_000) < until and not self.early:
            raise ConfigurationError(
                f"expected the time of both keys to be over, it lasts until {until}: --early ends "
                "it now"
            )
        kept = retire_old(path, ring)
        click.echo(f"from now on only {ring.verifier_key} signs")
        click.echo(f"the old key is in {kept}: destroy it, it can still sign another history")


def _notes(path: Path) -> Path:
    return path.with_name(ROTATIONS)


@contextlib.contextmanager
def _leading(store: SqliteTrail) -> Iterator[Lease]:
    lease = store.acquire_lease("rotate", now=time.time_ns() // 1_000, lease_s=LEASE_S)
    if lease is None:
        raise StoreBusyError(
            "expected nobody to sign meanwhile, a process has the trail open: stop the application "
            "and the relay first"
        )
    try:
        yield lease
    finally:
        store.release_lease(lease)

"""The signer: has a trail's key, and signs of that trail one history only.

It is a witness of its own trail: for each checkpoint it wants the proof that this continues the
last one that it signed, and what it signed is on disk before anybody has the signature. So whoever
takes over the application, or the trail's store, can't sign another history with its help.

Whoever can write its folder can. An older copy of it, put back, would make it sign a second one:
never restore it from a backup, but go on with a new trail.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from indelible.durable import replace_whole, sync_directory, take_lock, write_new
from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.integrity.key_ring import KEY_FILE, ROTATIONS, KeyRing, load_ring
from indelible.integrity.passphrases import Unlock, no_passphrase
from indelible.integrity.witness import TEXT, Answer, fault_of, refusal
from indelible.integrity.witness_file import WitnessedTlog, WitnessFile
from indelible.tlog import (
    SIZE_CONTENT_TYPE,
    Signer,
    format_checkpoint,
    format_known_size,
    format_rotations,
    format_signatures,
    parse_add_checkpoint,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
)

_STATE_FILE: Final = "signer.db"


class CheckpointGuard:
    """A folder with a trail's keys, and what was signed with them last.

    Safe for threads. One process has it at a time: `hold` says so.
    """

    def __init__(self, directory: Path, ring: KeyRing, file: WitnessFile) -> None:
        """Use `create` or `open`."""
        self.directory = directory
        self.ring = ring
        self._file = file
        self._clock: Callable[[], int] = lambda: int(time.time())

    @classmethod
    def create(
        cls, directory: Path, key: Signer, text: str, rotations: Sequence[bytes] = ()
    ) -> CheckpointGuard:
        """Make the folder for `key`, which stands as `text` in a file, and `rotations` led to.

        The first checkpoint is believed. Raises `ConfigurationError` where there is one.
        """
        public = key.verifier_key
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_new(directory / KEY_FILE, text.encode())
            if rotations:
                replace_whole(directory / ROTATIONS, format_rotations(rotations))
            sync_directory(directory)
        except OSError as error:
            raise ConfigurationError(
                f"can't make a signer in {directory}: {error.strerror}"
            ) from None
        try:
            file = WitnessFile.create(directory / _STATE_FILE, str(public))
        except BaseException:
            (directory / KEY_FILE).unlink()
            (directory / ROTATIONS).unlink(missing_ok=True)
            raise
        file.add_tlog(public.name, public, int(time.time()))
        return cls(directory, KeyRing([key], rotations), file)

    @classmethod
    def open(cls, directory: Path, unlock: Unlock = no_passphrase) -> CheckpointGuard:
        """The signer in `directory`; raises `ConfigurationError`, also where its key isn't the one
        that signed before, or rotated from it.
        """
        path = directory / _STATE_FILE
        if not path.is_file():
            raise ConfigurationError(
                f"expected a signer in {directory}, there is none: `indelible signer init` makes "
                "one. If its state was lost, its key may sign nothing any more"
            )
        ring = load_ring(directory / KEY_FILE, unlock)
        file = WitnessFile(path)
        try:
            guard = cls(directory, ring, file)
            known = guard.last
            ring.check_follows(known.key)
            if known.key != ring.verifier_key:
                # A rotation that was cut short behind the key file.
                file.rekey_tlog(known.origin, ring.verifier_key)
        except BaseException:
            file.close()
            raise
        return guard

    @property
    def last(self) -> WitnessedTlog:
        """What was signed last."""
        found = self._file.tlog(self.ring.verifier_key.name)
        if found is None:
            raise ConfigurationError(
                f"expected {self._file.path} to be of {self.ring.verifier_key.name}, it is of "
                "another trail"
            )
        return found

    def sign(self, body: bytes) -> Answer:
        """Sign the checkpoint in a request, or say why not.

        The request is that of c2sp.org/tlog-witness with an unsigned checkpoint: a line with the
        old size, the consistency proof, a blank line, the checkpoint's text. 200 with the signature
        lines: on disk stands, before this returns, that it is the last one. 400: no request. 404:
        another trail's. 409: another size was signed last; the body says which. 422: not proven to
        continue what was signed last.

        Raises `DeliveryError` when it can't be written, or the key's token doesn't answer; nothing
        is signed then.
        """
        try:
            request = parse_add_checkpoint(body)
            text = request.signed_checkpoint.decode()
            checkpoint = parse_checkpoint(text)
        except (VerificationError, UnicodeDecodeError) as error:
            return refusal(400, str(error))
        if checkpoint.extensions or format_checkpoint(checkpoint) != text:
            return refusal(400, "expected a checkpoint of three lines")
        if checkpoint.origin != self.ring.verifier_key.name:
            return refusal(404, "no such trail is signed here")
        with self._file.transaction() as connection:
            known = self._file.read_tlog(connection, checkpoint.origin)
            if known is None:
                return refusal(404, "no such trail is signed here")
            if request.old != known.size or checkpoint.size < known.size:
                return Answer(409, SIZE_CONTENT_TYPE, format_known_size(known.size))
            if (fault := fault_of(known, request, checkpoint)) is not None:
                return refusal(422, fault)
            note = sign_checkpoint(checkpoint, *self.ring.signers)
            self._file.replace(
                connection, known, checkpoint.size, checkpoint.root, note, self._clock()
            )
        return Answer(200, TEXT, format_signatures(parse_note(note).signatures))

    def replace_key(self, ring: KeyRing) -> None:
        """Go on with this ring, whose key file and rotations are in place."""
        self.ring = ring
        self._file.rekey_tlog(ring.verifier_key.name, ring.verifier_key)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Have the folder for this process alone. Raises `DeliveryError` where another has it."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"expected a signer in {directory}: {error.strerror}") from None
    try:
        if not take_lock(fd):
            raise DeliveryError(
                f"expected {directory} to be free, another process signs there: stop it first"
            )
        yield
    finally:
        os.close(fd)


def described(guard: CheckpointGuard, path: str) -> Answer:
    """What the signer shows: its newest key, the rotations to it, the last signed checkpoint."""
    if path == "/key":
        return Answer(200, TEXT, f"{guard.ring.verifier_key}\n".encode())
    if path == "/rotations":
        return Answer(200, TEXT, format_rotations(guard.ring.rotations))
    if path == "/checkpoint" and (note := guard.last.checkpoint) is not None:
        return Answer(200, TEXT, note)
    return refusal(404, "expected key, rotations or checkpoint")

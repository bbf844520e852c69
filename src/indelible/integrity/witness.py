"""A witness: cosigns the checkpoints of tlogs that it knows, and of each tlog one history only.

What it decides is c2sp.org/tlog-witness. It needs no trail and no configuration of ours: a folder
with its file and its key, and for each tlog the origin and the public key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigurationError, VerificationError
from indelible.integrity.keys import create_signing_key, load_signing_key
from indelible.integrity.witness_file import Refused, WitnessedTlog, WitnessFile
from indelible.tlog import (
    SIZE_CONTENT_TYPE,
    AddCheckpoint,
    Algorithm,
    Checkpoint,
    InvalidSignatureError,
    Note,
    SigningKey,
    UnknownKeyError,
    VerifierKey,
    add_signatures,
    cosign_note,
    format_known_size,
    format_note,
    format_signatures,
    open_checkpoint,
    parse_add_checkpoint,
    parse_checkpoint,
    parse_note,
    verify_consistency,
    witnessed_checkpoint_path,
)

TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An HTTP answer; `status` is one that c2sp.org/tlog-witness names."""

    status: int
    content_type: str
    body: bytes


class Witness:
    """One witness. Safe for threads; several processes may serve one folder.

    `clock` gives POSIX seconds.
    """

    def __init__(
        self, file: WitnessFile, key: SigningKey, *, clock: Callable[[], int] | None = None
    ) -> None:
        """Raises `ConfigurationError` unless the file is that of the key: with another file the
        same key would cosign a second history.
        """
        if file.vkey != str(key.verifier_key):
            raise ConfigurationError(
                f"expected the key of {file.path}, {file.vkey}, came {key.verifier_key}"
            )
        self.file = file
        self._key = key
        self._clock = clock or (lambda: int(time.time()))

    @classmethod
    def create(cls, directory: Path, name: str) -> Witness:
        """Make a key and a file in `directory`; raises `ConfigurationError` where one is."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"can't make {directory}: {error.strerror}") from None
        key = create_signing_key(directory / "witness.key", name, Algorithm.COSIGNATURE_V1)
        return cls(WitnessFile.create(directory / "witness.db", str(key.verifier_key)), key)

    @classmethod
    def open(cls, directory: Path) -> Witness:
        """The witness in `directory`; raises `ConfigurationError`."""
        file = WitnessFile(directory / "witness.db")
        try:
            return cls(file, load_signing_key(directory / "witness.key"))
        except BaseException:
            file.close()
            raise

    @property
    def verifier_key(self) -> VerifierKey:
        return self._key.verifier_key

    def add_checkpoint(self, body: bytes) -> Answer:
        """Cosign, or say why not.

        200 with the cosignature: on disk stands, before this returns, that this checkpoint is the
        tlog's latest. 400: no request, or the old size is above the new one. 403: not signed by the
        tlog's key. 404: no such tlog. 409: another old size is the last one cosigned; the body says
        which. 422: not proven to be a continuation of that. A refused checkpoint that the tlog's
        key signed is kept where it is, or may be, of another tree.

        Raises `DeliveryError` when the file can't be written; nothing is cosigned then.
        """
        try:
            request = parse_add_checkpoint(body)
            note = parse_note(request.signed_checkpoint)
            checkpoint = parse_checkpoint(note.text)
        except VerificationError as error:
            return refusal(400, str(error))
        tlog = self.file.tlog(checkpoint.origin)
        if tlog is None or tlog.retired is not None:
            return refusal(404, "no such tlog is witnessed here")
        try:
            open_checkpoint(request.signed_checkpoint, origin=tlog.origin, log_key=tlog.key)
        except (UnknownKeyError, InvalidSignatureError) as error:
            return refusal(403, str(error))
        if request.old > checkpoint.size:
            return refusal(400, "expected an old size of at most the checkpoint's")
        signed = Note(
            note.text,
            tuple(
                each
                for each in note.signatures
                if (each.name, each.key_id) == (tlog.key.name, tlog.key.key_id)
            ),
        )
        return self._decide(tlog.origin, request, checkpoint, signed)

    def latest(self, path: str) -> bytes | None:
        """The last cosigned checkpoint of the tlog of which `path` is the place; None for none."""
        for tlog in self.file.tlogs():
            if witnessed_checkpoint_path(tlog.origin) == path:
                return tlog.checkpoint
        return None

    def close(self) -> None:
        self.file.close()

    def _decide(
        self, origin: str, request: AddCheckpoint, checkpoint: Checkpoint, signed: Note
    ) -> Answer:
        """Compare with what was cosigned last and replace it, in one transaction."""
        now = self._clock()
        with self.file.transaction() as connection:
            tlog = self.file.read_tlog(connection, origin)
            if tlog is None or tlog.retired is not None:
                return refusal(404, "no such tlog is witnessed here")
            is_other = checkpoint.size == tlog.size and checkpoint.root != tlog.root
            fault = fault_of(tlog, request, checkpoint)
            if tlog.checkpoint is not None and (is_other or fault is not None):
                self.file.refuse(
                    connection,
                    Refused(
                        origin,
                        checkpoint.size,
                        checkpoint.root,
                        format_note(signed),
                        tlog.checkpoint,
                        is_other,
                        now,
                    ),
                )
            if request.old != tlog.size:
                return Answer(409, SIZE_CONTENT_TYPE, format_known_size(tlog.size))
            if fault is not None:
                return refusal(422, fault)
            cosignature = cosign_note(signed.text, self._key, time=now)
            cosigned = format_note(add_signatures(signed, [cosignature]))
            self.file.replace(connection, tlog, checkpoint.size, checkpoint.root, cosigned, now)
        return Answer(200, TEXT, format_signatures([cosignature]))


def fault_of(tlog: WitnessedTlog, request: AddCheckpoint, checkpoint: Checkpoint) -> str | None:
    """What keeps it from being a continuation of what was cosigned; None: nothing, or its old size
    is another, so that its proof is none to look at.
    """
    if request.old != tlog.size:
        return None
    try:
        verify_consistency(
            old=tlog.size,
            old_root=tlog.root,
            new=checkpoint.size,
            new_root=checkpoint.root,
            proof=request.proof,
        )
    except VerificationError as error:
        return str(error)
    return None


def refusal(status: int, why: str) -> Answer:
    return Answer(status, TEXT, f"{why}\n".encode(errors="backslashreplace"))

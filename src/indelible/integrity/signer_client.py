"""Has checkpoints signed by a signer process, and checks what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.integrity.faults import SignerAwayError, SignerRefusedError
from indelible.integrity.http_exchange import Exchanged, exchange
from indelible.integrity.witness_client import known_size
from indelible.tlog import (
    ADD_CHECKPOINT_PATH,
    MAX_ANSWER_BYTES,
    MAX_ROTATIONS_BYTES,
    AddCheckpoint,
    Checkpoint,
    Note,
    Size,
    TileReader,
    VerifierKey,
    consistency_proof,
    format_add_checkpoint,
    format_checkpoint,
    format_note,
    open_checkpoint,
    parse_note,
    parse_rotations,
    parse_signatures,
    successors,
    verify_beginning,
)

DEADLINE_S: Final = 2.0
"""Less than a lease lasts."""
_MAX_TRIES: Final = 4


class SignerClient:
    """A `CheckpointSigner` that asks the process at the socket `path`. For one thread at a time.

    `key` is a key of the trail: what the signer has must be that one, or come from it by
    `rotations`, those that are known here or those that the signer has.
    """

    def __init__(
        self,
        path: Path,
        key: VerifierKey,
        rotations: Sequence[bytes] = (),
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._known = Size(0)
        self._first = self._newest = key
        self._rotations: tuple[bytes, ...] = ()
        self._follow(rotations)

    @property
    def verifier_key(self) -> VerifierKey:
        return self._newest

    @property
    def rotations(self) -> Sequence[bytes]:
        return self._rotations

    def sign(self, checkpoint: Checkpoint, tiles: TileReader) -> bytes:
        try:
            return self._sign(checkpoint, tiles)
        except DeliveryError as error:
            raise SignerAwayError(str(error)) from None

    def _sign(self, checkpoint: Checkpoint, tiles: TileReader) -> bytes:
        size = checkpoint.size
        text = format_checkpoint(checkpoint)
        ends = time.monotonic() + self._deadline_s
        old = min(self._known, size)
        for _ in range(_MAX_TRIES):
            request = AddCheckpoint(
                old=old,
                proof=consistency_proof(tiles, old, size),
                signed_checkpoint=text.encode(),
            )
            body = format_add_checkpoint(request)
            answer = self._ask("POST", ADD_CHECKPOINT_PATH, ends, body=body)
            if answer.status == 200:
                self._known = size
                return self._checked(text, answer.body, ends)
            known = known_size(answer)
            if answer.status == 422 or (known is not None and known > size):
                # Whoever is at the socket can say so: it is believed by what the key signed.
                self._check_last(lambda: checkpoint, tiles, ends)
                raise DeliveryError(
                    f"expected a signature of {self._path}: it refuses, and shows no checkpoint "
                    "that it signed which ours doesn't continue"
                )
            if known is None:
                raise DeliveryError(
                    f"expected a signature of {self._path}: came status {answer.status}"
                )
            old = known
        raise DeliveryError(f"expected a signature of {self._path}: it says another size each time")

    def check(self, read: Callable[[], Checkpoint], tiles: TileReader) -> None:
        """Return if what the signer signed last is the beginning of the tree that `read` gives.

        That is called behind the signer's answer, so that a trail that goes on doesn't seem to be
        behind. Raises what `sign` does. Nothing is signed.
        """
        self._check_last(read, tiles, time.monotonic() + self._deadline_s)

    def _check_last(self, read: Callable[[], Checkpoint], tiles: TileReader, ends: float) -> None:
        answer = self._ask("GET", "checkpoint", ends)
        now = read()
        if answer.status == 404:
            return  # it has signed nothing yet
        try:
            last = self._opened(answer.body, now.origin, ends)
        except VerificationError as error:
            raise DeliveryError(f"expected a checkpoint of {self._path}: {error}") from None
        if last.size > now.size:
            raise SignerRefusedError(f"it signed a tree of size {last.size}, ours has {now.size}")
        try:
            verify_beginning(
                tiles, old=last.size, old_root=last.root, new=now.size, new_root=now.root
            )
        except VerificationError:
            raise SignerRefusedError(
                f"it signed another tree than ours of size {last.size}"
            ) from None

    def _checked(self, text: str, signatures: bytes, ends: float) -> bytes:
        try:
            note = format_note(Note(text, parse_signatures(signatures)))
            self._opened(note, text.partition("\n")[0], ends)
        except VerificationError as error:
            raise DeliveryError(
                f"expected the signature of {self.verifier_key} from {self._path}: {error}"
            ) from None
        return note

    def _opened(self, note: bytes, origin: str, ends: float) -> Checkpoint:
        # The newest key signs first: another than the one that we know comes after it.
        if parse_note(note).signatures[0].key_id != self.verifier_key.key_id:
            # Behind ours: of what was before the signer had the key it need not know.
            self._follow([*self._rotations, *self._fetch_rotations(ends)])
        return open_checkpoint(note, origin=origin, log_key=self.verifier_key).checkpoint

    def _follow(self, rotations: Sequence[bytes]) -> None:
        found = successors(self._first, rotations, origin=self._first.name)
        self._rotations = tuple(note for note, _ in found)
        self._newest = found[-1][1].new if found else self._first

    def _fetch_rotations(self, ends: float) -> list[bytes]:
        answer = self._ask("GET", "rotations", ends, max_bytes=MAX_ROTATIONS_BYTES)
        try:
            return parse_rotations(answer.body) if answer.status == 200 else []
        except VerificationError as error:
            raise DeliveryError(f"expected rotations of {self._path}: {error}") from None

    def _ask(
        self,
        method: str,
        path: str,
        ends: float,
        *,
        body: bytes | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Exchanged:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise DeliveryError(
                f"expected an answer of {self._path}: none within {self._deadline_s:g} s"
            )
        return exchange(
            method,
            f"http://signer/{path}",
            deadline_s=left_s,
            max_bytes=max_bytes,
            body=body,
            via=self._path,
        )


def fetch_signer_key(path: Path) -> VerifierKey:
    """The newest key of the signer at this socket, as it says. Raises `DeliveryError`."""
    answer = exchange(
        "GET",
        "http://signer/key",
        deadline_s=DEADLINE_S,
        max_bytes=MAX_ANSWER_BYTES,
        via=path,
    )
    try:
        return VerifierKey.parse(answer.body.decode().strip())
    except (VerificationError, UnicodeDecodeError):
        raise ConfigurationError(f"expected a signer at {path}, something else answers") from None

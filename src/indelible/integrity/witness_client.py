"""Asks one witness to cosign, over c2sp.org/tlog-witness, and checks what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from indelible.errors import DeliveryError, VerificationError
from indelible.integrity.faults import ContradictedError
from indelible.integrity.http_exchange import Exchanged, check_url, exchange
from indelible.integrity.rotations import open_by
from indelible.tlog import (
    ADD_CHECKPOINT_PATH,
    MAX_ANSWER_BYTES,
    SIZE_CONTENT_TYPE,
    AddCheckpoint,
    Checkpoint,
    Size,
    TileReader,
    TrustedWitness,
    VerifierKey,
    add_signatures,
    consistency_proof,
    format_add_checkpoint,
    format_note,
    open_cosignature,
    parse_known_size,
    parse_note,
    verify_beginning,
    witnessed_checkpoint_path,
)

_MAX_TRIES: Final = 4


class SignedCheckpoint(NamedTuple):
    """A checkpoint of ours, and the signed note that it stands in."""

    checkpoint: Checkpoint
    note: bytes


class Cosigned(NamedTuple):
    """The same note with the witness's cosignature, which says the POSIX second `time`."""

    note: bytes
    time: int


class WitnessClient:
    """One witness, asked for one trail, which `log_keys` are of: the newest, and those before it,
    at each time that they are asked for. For one thread at a time.

    `known` is the size that it is believed to have cosigned last; it corrects a wrong one. `tiles`
    are read to build proofs.
    """

    def __init__(
        self,
        witness: TrustedWitness,
        log_keys: Callable[[], Sequence[VerifierKey]],
        tiles: TileReader,
        *,
        deadline_s: float,
        known: Size = Size(0),  # noqa: B008 - a NewType returns its argument
    ) -> None:
        """Raises `ConfigurationError` for a URL that can't be asked."""
        self.witness = witness
        self.known = known
        self._url = (witness.url or "").rstrip("/")
        check_url(self._url)
        self._log_keys = log_keys
        self._tiles = tiles
        self._deadline_s = deadline_s

    def cosign(self, signed: SignedCheckpoint) -> Cosigned:
        """Have the checkpoint cosigned, by a proof from whatever the witness knows.

        Raises `DeliveryError` where it doesn't answer, or answers with anything but its own
        cosignature; `ContradictedError` where it knows a larger tree than this, or refuses the
        right proof.
        """
        size = signed.checkpoint.size
        ends = time.monotonic() + self._deadline_s
        old = min(self.known, size)
        for _ in range(_MAX_TRIES):
            answer = self._ask(
                "POST",
                ADD_CHECKPOINT_PATH,
                ends,
                format_add_checkpoint(
                    AddCheckpoint(
                        old=old,
                        proof=consistency_proof(self._tiles, old, size),
                        signed_checkpoint=signed.note,
                    )
                ),
            )
            if answer.status == 200:
                return self._take(answer, signed)
            known = known_size(answer)
            is_refused = answer.status == 422 or (
                # Of a tree as large as what it knows, some say 409.
                answer.status == 409 and old == size and known in (None, old)
            )
            if is_refused and old > 0:
                why = f"it knows another tree than ours of size {old}"
                raise self._contradicted(why, signed, ends)
            if known is None:
                raise self._fault(f"came status {answer.status}")
            if known > size:
                why = f"it cosigned a tree of size {known}, ours has {size}"
                raise self._contradicted(why, signed, ends)
            old = known
        raise self._fault("it says another size each time")

    def fetch_latest(self, origin: str) -> bytes:
        """The last checkpoint of `origin` that the witness cosigned.

        Signed by the trail's key and cosigned by this witness, or a `VerificationError`. Raises
        `DeliveryError` where it doesn't answer or has none; some witnesses show none ever.
        """
        ends = time.monotonic() + self._deadline_s
        answer = self._ask("GET", witnessed_checkpoint_path(origin), ends)
        if answer.status != 200:
            raise self._fault(f"came status {answer.status}")
        opened = open_by(answer.body, origin, self._log_keys(), [self.witness.key])
        if not opened.cosignatures:
            raise self._fault("it shows a checkpoint that it didn't cosign")
        return answer.body

    def _take(self, answer: Exchanged, signed: SignedCheckpoint) -> Cosigned:
        try:
            signature, at = open_cosignature(answer.body, signed.note, self.witness.key)
        except VerificationError as error:
            raise self._fault(f"its answer isn't its cosignature: {error}") from None
        self.known = signed.checkpoint.size
        return Cosigned(format_note(add_signatures(parse_note(signed.note), [signature])), at)

    def _contradicted(self, why: str, signed: SignedCheckpoint, ends: float) -> ContradictedError:
        return ContradictedError(
            self.witness.name, why, is_proven=self._proves_another_tree(signed, ends)
        )

    def _proves_another_tree(self, signed: SignedCheckpoint, ends: float) -> bool:
        """Whether it shows a checkpoint by our own key that isn't of our tree."""
        ours = signed.checkpoint
        try:
            answer = self._ask("GET", witnessed_checkpoint_path(ours.origin), ends)
            shown = open_by(answer.body, ours.origin, self._log_keys()).checkpoint
        except (DeliveryError, VerificationError):
            return False
        if shown.size > ours.size:
            return True
        try:
            verify_beginning(
                self._tiles,
                old=shown.size,
                old_root=shown.root,
                new=ours.size,
                new_root=ours.root,
            )
        except VerificationError:
            return True
        return False

    def _ask(self, method: str, path: str, ends: float, body: bytes | None = None) -> Exchanged:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise self._fault(f"no answer within {self._deadline_s:g} s")
        return exchange(
            method,
            f"{self._url}/{path}",
            deadline_s=left_s,
            max_bytes=MAX_ANSWER_BYTES,
            body=body,
        )

    def _fault(self, why: str) -> DeliveryError:
        return DeliveryError(f"expected a cosignature: {why}")


def known_size(answer: Exchanged) -> Size | None:
    """The size that a 409 says was cosigned last; None for any other answer."""
    if answer.status != 409 or answer.content_type != SIZE_CONTENT_TYPE:
        return None
    try:
        return parse_known_size(answer.body)
    except VerificationError:
        return None

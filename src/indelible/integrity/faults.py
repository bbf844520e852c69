"""What `verify` can find: one error for each, naming the first index that is wrong.

::

    VerificationError
    ├── ContradictedError       a witness knows a larger, or another, tree of this trail
    │   └── SignerRefusedError      the signer has signed a larger, or another, tree of it
    ├── AnchorMismatchError     an anchor no longer has what it took, or its answer doesn't hold
    └── TrailFaultError         has `index`
        ├── CheckpointError         missing, not by the trail's key, or of another size or root
        ├── UncheckpointedError     entries under no signed checkpoint
        ├── RollbackError           smaller than what was verified before, cosigned or anchored
        ├── ForkError               not a continuation of what was verified, cosigned or anchored
        ├── CosignatureError        a cosignature that its witness didn't make
        ├── UnwitnessedError        no quorum cosigned this, or none lately
        ├── TileMismatchError       a tile doesn't lead to the signed root
        ├── MissingEntryError       no such entry, though the checkpoint covers it
        ├── StrayEntryError         more than the checkpoint covers
        ├── EntryMismatchError      body, salt or head isn't what was committed to
        ├── HeadMismatchError       head and body tell of different events
        ├── ProducerSignatureError  a process's events aren't those that it signed
        ├── UnauthorisedActError    an erasure or a hold that nobody may have done so
        ├── NumberingError          positions, batches or their index don't agree with the entries
        └── IndexMismatchError      the index leaves an entry out, or finds one wrongly

And a `DeliveryError`: `SignerAwayError`, which ends by itself.
"""

from __future__ import annotations

from typing import Final

from indelible.errors import DeliveryError, VerificationError

CONTRADICTED: Final = "trail.contradicted"
"""What was said to it is an entry of whatever trail goes on."""


class ContradictedError(VerificationError):
    """A witness knows a larger or another tree: the trail was rolled back, or forked.

    `is_proven` where it shows a checkpoint signed by the trail's own key; else it only says so.
    """

    def __init__(self, witness: str, why: str, *, is_proven: bool) -> None:
        super().__init__(
            f"witness {witness}: {why}. Nothing is signed until that is settled; what is captured "
            "waits. Was the trail restored from a backup? Then go on as a new one: `indelible init "
            "--continue`. If the witness is wrong, take it out of the trust policy"
        )
        self.witness = witness
        self.why = why
        self.is_proven = is_proven


class AnchorMismatchError(VerificationError):
    """What an anchor answered doesn't hold, or it no longer has what it took.

    Nothing more is given to it under its name: that would cover it up.
    """

    def __init__(self, anchor: str, why: str) -> None:
        super().__init__(f"anchor {anchor}: {why}")
        self.anchor = anchor
        self.why = why


class SignerAwayError(DeliveryError):
    """The signer, or the token with the key, doesn't answer: what is pending is signed later."""


class SignerRefusedError(ContradictedError):
    """The signer has signed a larger or another tree: the trail was rolled back, or forked."""

    def __init__(self, why: str) -> None:
        VerificationError.__init__(
            self,
            f"the signer refuses: {why}. Nothing is signed until that is settled; what is captured "
            "waits. Was the trail restored from a backup, or is another sequencer at work on a "
            "copy? Then go on as a new one: `indelible init --continue` (docs/runbook.md)",
        )
        self.witness = "signer"
        self.why = why
        self.is_proven = True


class TrailFaultError(VerificationError):
    """Something is wrong from `index` on."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"index {index}: {message}")
        self.index = index


class CheckpointError(TrailFaultError):
    """The signed checkpoint isn't there, isn't the trail's, or covers another tree."""


class UncheckpointedError(TrailFaultError):
    """Entries from `index` on are under no signed checkpoint."""


class RollbackError(TrailFaultError):
    """The trail is smaller than it was when it was verified before."""

    def __init__(self, *, last_seen: int, offered: int, by: str = "") -> None:
        seen = f"last seen size {last_seen}{f' ({by})' if by else ''}"
        super().__init__(offered, f"the trail went backwards: {seen}, offered {offered}")
        self.last_seen = last_seen
        self.offered = offered


class ForkError(TrailFaultError):
    """The trail doesn't begin with what was verified before: its history was rewritten."""


class CosignatureError(TrailFaultError):
    """A cosignature that is kept with the trail isn't by the witness that it claims."""


class UnwitnessedError(TrailFaultError):
    """The trust policy asks for a quorum, which cosigned nothing from `index` on, or not lately."""


class TileMismatchError(TrailFaultError):
    """A tile doesn't lead to the signed root."""


class MissingEntryError(TrailFaultError):
    """The checkpoint covers an entry that isn't there."""


class StrayEntryError(TrailFaultError):
    """There is more than the checkpoint covers."""


class EntryMismatchError(TrailFaultError):
    """Body, salt or head isn't what was committed to."""


class HeadMismatchError(TrailFaultError):
    """Head and body tell of different events; or the body is no event."""


class ProducerSignatureError(TrailFaultError):
    """A process's events aren't those that it signed, or it was enrolled by nobody known."""


class UnauthorisedActError(TrailFaultError):
    """An erasure or a hold without its authorisation, or a key that is gone, or left, without."""


class NumberingError(TrailFaultError):
    """Positions, batches or what is derived from them don't agree with the entries."""


class IndexMismatchError(TrailFaultError):
    """The index leaves an entry out, or finds one wrongly: answers may be incomplete."""

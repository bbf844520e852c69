"""What can be wrong with a trail's file, beyond what every store raises."""

from __future__ import annotations

from indelible.errors import DeliveryError, QueryError, VerificationError


class StoreReadOnlyError(DeliveryError):
    """The trail's file can't be written: its permissions, or a read-only disk."""


class StoreConflictError(DeliveryError):
    """The trail doesn't end where the batch was to begin: read its state again."""


class NoSuchEntryError(QueryError):
    """The trail has no entry at that index."""


class BodyDroppedError(NoSuchEntryError):
    """The entry is there, its body isn't any more: retention took it."""


class MalformedBlockError(VerificationError):
    """Stored bytes that can't be what was stored."""


class SegmentUnreachableError(DeliveryError):
    """Where sealed entries are kept doesn't answer, or can't be written: retry."""


class SegmentDamagedError(MalformedBlockError):
    """A segment isn't what was sealed: put a whole copy of it in its place."""


class SegmentMissingError(SegmentDamagedError):
    """There is no such segment where it was sealed to."""

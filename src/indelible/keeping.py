"""Where a trail's entries are kept as they grow older: sealed segments, and a lake of copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from indelible.events.model import Timestamp
from indelible.integrity.rotations import keys_of
from indelible.integrity.sealing import seal_trail
from indelible.policy.load_keeping import tiers_of
from indelible.questions.asking import When
from indelible.store.lake import LakeFile, write_lake
from indelible.store.places import Lock, name_of_place, open_place
from indelible.store.segment import Segment
from indelible.trusting import Trusting


class Keeping(Trusting):
    """The part of a `Trail` that moves what is old to where it costs less."""

    def seal(
        self, *, before: When = None, to: Path | str | None = None, only_full: bool = True
    ) -> Iterator[Segment]:
        """Move what came before that time to segments; gives each once it is done.

        Without `before` what is older than the policy's `hot_days`, without `to` where it says: a
        folder, or `s3://bucket/prefix`. What is under no signed checkpoint stays, and, with
        `[witness]`, what no quorum has cosigned; with `only_full` also what doesn't fill a segment.
        Questions are answered as before. Raises `StoreBusyError` while another process seals,
        `StoreFullError`, `SegmentUnreachableError` and `VerificationError`: nothing is lost then.
        """
        tiers = self._policy.tiers or tiers_of(self._policy.trail)
        place = name_of_place(to if to is not None else tiers.sealed, self._policy.trail)
        lock = Lock(tiers.lock, tiers.lock_days) if tiers.lock is not None else None
        witnessed_size = None
        if self._trust is not None:
            witnessed = self.witnessed()
            witnessed_size = witnessed.size if witnessed is not None and witnessed.quorum else 0
        # As `since` means it: the first instant of a day, where one is named.
        window = self.window(before if before is not None else f"{tiers.hot_days} days ago", None)
        return seal_trail(
            self._store,
            keys_of(self._signer),
            open_place(place, self._policy.trail, lock),
            place,
            before=window.since or Timestamp("~"),
            witnessed_size=witnessed_size,
            only_full=only_full,
        )

    def fill_lake(self, folder: Path | None = None) -> Iterator[LakeFile]:
        """Copy what is sealed, and isn't there yet, as Parquet; gives each file that was written.

        Without `folder` to where the policy says, or nowhere; then also the table of Iceberg's that
        the policy names is brought to it. Raises `ConfigurationError` without pyarrow or pyiceberg,
        `StoreBusyError`, `StoreFullError`, `SegmentUnreachableError` and `VerificationError`.
        """
        iceberg = None
        if folder is None and self._policy.tiers is not None:
            folder, iceberg = self._policy.tiers.lake, self._policy.tiers.iceberg
        if folder is not None:
            yield from write_lake(self._store, self.segments(), folder, iceberg)

    def segments(self) -> Sequence[Segment]:
        """What was sealed, oldest first."""
        return self._store.segments()

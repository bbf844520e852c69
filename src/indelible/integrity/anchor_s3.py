"""An anchor that is a bucket of S3 with Object Lock: an object a checkpoint, which nobody deletes.

A store counts as write-once only when it was seen to refuse (`store.object_lock`).
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchors import Held, ReadBack, Receipt, parse_answer
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import S3Settings
from indelible.store.object_lock import LockedObjects, Refused, SelfTest, Verdict, moment
from indelible.store.protocol import AnchorRow
from indelible.tlog import Checkpoint

_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999."""
_GONE: Final = 404


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of which object, and until which POSIX second it is locked.

    `where` is bucket and endpoint, and `tested` what the self-test there found.
    """

    key: str
    version: str
    until: Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]
    where: str
    tested: Verdict


_answers: Final = msgspec.json.Decoder(_Answer)


class S3Anchor:
    """Implements `indelible.integrity.anchors.Anchor`. Credentials are boto3's own affair."""

    kind = "s3"
    is_outside = True

    def __init__(self, settings: S3Settings, origin: str) -> None:
        """Raises `ConfigurationError` where boto3 isn't installed."""
        if importlib.util.find_spec("boto3") is None:
            raise ConfigurationError(
                "an anchor of kind s3 needs boto3: pip install 'indelible[boto3]'"
            )
        self.name = settings.name
        self._settings = settings
        self._folder = f"{settings.prefix}{origin}/"
        self._found: SelfTest | None = None
        store = urlsplit(settings.endpoint).netloc if settings.endpoint else "AWS"
        self._where = f"{settings.bucket} at {store}"
        self._named = re.compile(re.escape(self._folder) + r"(\d{20})-([0-9a-f]{64})")

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        found = self._found or self._found_before(last) or self.self_test()
        if found.verdict == "deletes":
            self._found = None
            raise DeliveryError(f"it isn't write-once: {found.why}. Nothing is anchored there")
        tested = found.verdict
        now = int(time.time())
        until = now + self._settings.retention_days * 86_400
        key = f"{self._folder}{checkpoint.size:020d}-{checkpoint.root.hex()}"
        try:
            version = self._objects.put(key, note, until)
        except Refused as error:
            raise DeliveryError(f"it doesn't take an object under Object Lock: {error}") from None
        answer = _Answer(key=key, version=version, until=until, where=self._where, tested=tested)
        return Receipt(now, msgspec.json.encode(answer), outside=tested == "write-once")

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        try:
            held = [
                Held(int(named[1]), bytes.fromhex(named[2]), self._fetcher(key, version))
                for key, version in self._versions(None if whole else last)
                if (named := self._named.fullmatch(key))
            ]
        except Refused as error:
            raise DeliveryError(f"can't list bucket {self._settings.bucket}: {error}") from None
        shown = f"{len(held)} {'object' if len(held) == 1 else 'objects'} in {self._where}"
        if last is None:
            return ReadBack(held, shown)
        found, since, tested = self._check(last)
        return ReadBack(held, f"{shown}, {found}, {_TESTED[tested]}", since)

    def self_test(self) -> SelfTest:
        """Whether it refuses to delete what is locked: see `LockedObjects.self_test`."""
        self._found = self._objects.self_test(self._folder)
        return self._found

    def _found_before(self, last: AnchorRow | None) -> SelfTest | None:
        """What was found when this bucket was tested; None: it wasn't yet."""
        if last is None:
            return None
        answer = parse_answer(_answers, last)
        return SelfTest(answer.tested, "before") if answer.where == self._where else None

    def _check(self, last: AnchorRow) -> tuple[str, int | None, Verdict]:
        """What it has of what it took last, in words, and since when by its own clock."""
        answer = parse_answer(_answers, last)
        what = f"object {answer.key}, version {answer.version}, of {last.size} entries"
        try:
            found = self._objects.get(answer.key, answer.version)
        except Refused as error:
            if error.status != _GONE:
                raise DeliveryError(f"can't read {what}: {error}") from None
            if time.time() > answer.until:
                return "the newest gone behind its retention", None, answer.tested
            raise AnchorMismatchError(self.name, f"{what} is gone: {error}") from None
        if found.body != last.note:
            raise AnchorMismatchError(self.name, f"{what} has other bytes than it took")
        try:
            mode, until = self._objects.lock_of(found, answer.key, answer.version)
        except Refused as error:
            mode, until = f"none ({error})", 0
        if mode != "COMPLIANCE" or until < answer.until:
            raise AnchorMismatchError(
                self.name,
                f"expected {what} to be locked in mode COMPLIANCE until {moment(answer.until)}, "
                f"it is in mode {mode} until {moment(until)}",
            )
        return f"the newest locked until {moment(until):%Y-%m-%d}", found.modified, answer.tested

    def _fetcher(self, key: str, version: str) -> Callable[[], bytes]:
        def fetch() -> bytes:
            try:
                return self._objects.get(key, version).body
            except Refused as error:
                raise DeliveryError(f"can't read object {key}: {error}") from None

        return fetch

    # -- requests -------------------------------------------------------------------------------

    @cached_property
    def _objects(self) -> LockedObjects:
        return LockedObjects(self._client, self._settings.bucket)

    @cached_property
    def _client(self) -> Any:
        import boto3.session
        from botocore.config import Config

        settings = self._settings
        session = boto3.session.Session()
        region = settings.region or session.region_name
        # Retrying is for who asks: on another day, with a fresh deadline.
        config = Config(
            connect_timeout=settings.deadline_s,
            read_timeout=settings.deadline_s,
            retries={"total_max_attempts": 1},
            # Stores that aren't AWS's have no names of hosts for buckets.
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
        )
        return session.client(
            "s3",
            region_name=region or ("us-east-1" if settings.endpoint else None),
            endpoint_url=settings.endpoint,
            config=config,
        )

    def _versions(self, since: AnchorRow | None) -> Iterator[tuple[str, str]]:
        """(key, version) of all that is there, also behind a delete marker; or of what is larger
        than what it took last, by its key."""
        marks: dict[str, str] = {}
        if since is not None and (answer := parse_answer(_answers, since)).where == self._where:
            marks = {"KeyMarker": answer.key}
        while True:
            page = self._objects.call(
                lambda: self._client.list_object_versions(
                    Bucket=self._settings.bucket,
                    Prefix=self._folder,
                    **marks,  # noqa: B023 - called at once
                )
            )
            for each in page.get("Versions", ()):
                yield str(each["Key"]), str(each["VersionId"])
            if not page.get("IsTruncated"):
                return
            following = {
                "KeyMarker": str(page.get("NextKeyMarker")),
                "VersionIdMarker": str(page.get("NextVersionIdMarker")),
            }
            if following == marks:
                raise DeliveryError("expected a list that goes on, came the same page again")
            marks = following


_TESTED: Final[dict[Verdict, str]] = {
    "write-once": "write-once by its self-test",
    "unknown": "not shown to be write-once",
    "deletes": "not write-once",
}

"""A bucket of S3, or of what speaks like it, as a place for segments.

boto3 finds address and credentials as it always does: `AWS_ENDPOINT_URL`, `AWS_PROFILE`, a role.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from indelible.errors import ConfigurationError, DeliveryError
from indelible.store.errors import SegmentUnreachableError
from indelible.store.object_lock import LockedObjects
from indelible.store.places import Lock, Range, damaged, missing, unreachable
from indelible.store.segment import Segment

try:
    import boto3.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    raise ConfigurationError(
        "expected boto3 for segments in s3://: pip install 'indelible[boto3]'"
    ) from None

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 8
_GONE: Final = ("404", "NoSuchKey", "NotFound")
_THERE: Final = ("412", "PreconditionFailed", "ConditionalRequestConflict")
_BYPASS: Final = "BypassGovernanceRetention"
_TIMEOUTS: Final = {"connect_timeout": 10, "read_timeout": 60}


class Bucket:
    """Implements `indelible.store.places.Place`; see there for what it promises.

    With a `lock` each object is put under Object Lock, and what the store says of it afterwards
    must be that; before the first one it has to refuse to delete, and to weaken, a test's object.
    """

    def __init__(self, bucket: str, prefix: str, lock: Lock | None = None) -> None:
        """Raises `ConfigurationError` where boto3 can't be set up."""
        if not bucket:
            raise ConfigurationError("expected s3://BUCKET/PREFIX, got no bucket")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = lock
        self._is_tested = False
        try:
            config = Config(retries={"mode": "standard"}, **_TIMEOUTS)
            self._client: Any = boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"s3://{bucket}: {error}") from None

    def spool(self, trail: Path) -> Path:
        return trail.with_name(f"{trail.name}.unfinished")

    def put(self, name: str, spooled: Path) -> None:
        lock, until = self._lock, self._until()
        held: dict[str, Any] = {}
        if lock is not None:
            self._test(lock)
            held = {"ObjectLockMode": lock.mode_name, "ObjectLockRetainUntilDate": until}
        is_there = False
        try:
            with spooled.open("rb") as body:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._key(name), Body=body, IfNoneMatch="*", **held
                )
        except ClientError as error:
            is_there = _code(error) in _THERE
            if not is_there:
                raise self._not_written(name, error) from None
        except (BotoCoreError, OSError) as error:
            raise self._not_written(name, error) from None
        if lock is not None:
            self._check_lock(name, lock, until, may_extend=is_there)
        spooled.unlink()

    def read(self, segment: Segment, ranges: Sequence[Range]) -> list[bytes]:
        def one(wanted: Range) -> bytes:
            offset, length = wanted
            got = self._get(segment, Range=f"bytes={offset}-{offset + length - 1}")
            if len(got) != length:
                raise damaged(segment, "it ends too early")
            return got

        if len(ranges) < 2:
            return [one(wanted) for wanted in ranges]
        # Most of the time of each is waiting.
        with ThreadPoolExecutor(min(_AT_ONCE, len(ranges))) as pool:
            return list(pool.map(one, ranges))

    def fetch(self, segment: Segment) -> bytes:
        return self._get(segment, Range=f"bytes=0-{segment.length}")

    def names(self) -> Iterator[tuple[str, int]]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    name = found["Key"].removeprefix(self._prefix)
                    if name.endswith(".seg") and "/" not in name:
                        yield name, found["Size"]
        except (BotoCoreError, ClientError) as error:
            raise SegmentUnreachableError(f"can't list {self}: {error}") from None

    def remove(self, name: str) -> None:
        key = self._key(name)
        try:
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=key
            )
            for page in pages:
                for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if found["Key"] == key:
                        self._client.delete_object(
                            Bucket=self._bucket, Key=key, VersionId=found["VersionId"]
                        )
        except (BotoCoreError, ClientError) as error:
            raise SegmentUnreachableError(
                f"can't delete {self}{name}: {error}; where it is under Object Lock, run the same "
                "again once that has ended"
            ) from None

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def _get(self, segment: Segment, **of: Any) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(segment.name), **of)
            got: bytes = answer["Body"].read()
        except ClientError as error:
            if _code(error) in _GONE:
                raise missing(segment) from None
            if _code(error) in ("416", "InvalidRange"):
                raise damaged(segment, "it ends too early") from None
            raise unreachable(segment, str(error)) from None
        except (BotoCoreError, OSError) as error:
            raise unreachable(segment, str(error)) from None
        return got

    def _test(self, lock: Lock) -> None:
        """Return only if the store wasn't seen to delete, or to weaken, what it says is locked."""
        if self._is_tested:
            return
        try:
            found = LockedObjects(self._client, self._bucket, lock.mode_name).self_test(
                self._prefix
            )
        except DeliveryError as error:
            raise SegmentUnreachableError(
                f"can't test {self}: {error}; nothing is lost, what isn't sealed is still in the "
                "trail"
            ) from None
        if found.verdict == "deletes":
            raise ConfigurationError(
                f"{self}: expected a store that keeps what is locked ({lock.mode}), {found.why}. "
                "Nothing is lost, the entries are still in the trail"
            )
        if found.verdict == "unknown":
            _log.warning("%s isn't shown to be write-once: %s", self, found.why)
        self._is_tested = True

    def _check_lock(self, name: str, lock: Lock, until: dt.datetime, *, may_extend: bool) -> None:
        """Return only if the store says that nobody can delete it before `until`."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
            said, mode = found.get("ObjectLockRetainUntilDate"), found.get("ObjectLockMode")
            if mode == lock.mode_name and said is not None and said >= until:
                return
            if may_extend:
                # An interrupted run put it there, earlier or with another lock: only what is in
                # another mode takes the right to bypass governance.
                bypass = {} if mode in (None, lock.mode_name) else {_BYPASS: True}
                self._client.put_object_retention(
                    Bucket=self._bucket,
                    Key=self._key(name),
                    VersionId=found.get("VersionId"),
                    Retention={"Mode": lock.mode_name, "RetainUntilDate": until},
                    **bypass,
                )
                self._check_lock(name, lock, until, may_extend=False)
                return
        except (BotoCoreError, ClientError) as error:
            raise self._not_written(name, error) from None
        raise ConfigurationError(
            f"{self}{name}: expected it to be locked ({lock.mode}) until {until:%Y-%m-%d}, the "
            f"store says {mode} until {said}: does the bucket have Object Lock? Nothing is lost, "
            "the entries are still in the trail"
        )

    def _until(self) -> dt.datetime:
        days = self._lock.days if self._lock is not None else 0
        # Stores keep whole seconds.
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        return now + dt.timedelta(days=days)

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _not_written(self, name: str, error: Exception) -> SegmentUnreachableError:
        return SegmentUnreachableError(
            f"can't write {self}{name}: {error}; nothing is lost, what isn't sealed is still in "
            "the trail"
        )


def _code(error: ClientError) -> str:
    code: str = error.response.get("Error", {}).get("Code", "")
    return code

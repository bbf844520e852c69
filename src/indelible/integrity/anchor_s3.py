"""An anchor that is a bucket of S3 with Object Lock: an object a checkpoint, which nobody deletes.

Some stores accept the lock and then delete all the same, so that a store counts as write-once only
when it was seen to refuse: a self-test writes an object under the lock, and tries to get rid of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import md5
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchors import Held, ReadBack, Receipt, parse_answer
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import S3Settings
from indelible.store.protocol import AnchorRow
from indelible.tlog import MAX_NOTE_BYTES, Checkpoint

T = TypeVar("T")
Verdict = Literal["write-once", "deletes", "unknown"]
_TEST_S: Final = 600
"""How long a test's object stays; clocks may differ by some minutes."""
_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999."""
_GONE: Final = 404
_DENIED: Final = 403


class SelfTest(NamedTuple):
    """What a store does with an object that it said it would keep, and how that was seen."""

    verdict: Verdict
    why: str


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


class _Refused(Exception):
    """The store answered with an error: its HTTP status and its code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{code} ({status})")
        self.status = status


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
            version = self._put(key, note, until)
        except _Refused as error:
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
        except _Refused as error:
            raise DeliveryError(f"can't list bucket {self._settings.bucket}: {error}") from None
        shown = f"{len(held)} {'object' if len(held) == 1 else 'objects'} in {self._where}"
        if last is None:
            return ReadBack(held, shown)
        found, since, tested = self._check(last)
        return ReadBack(held, f"{shown}, {found}, {_TESTED[tested]}", since)

    def self_test(self) -> SelfTest:
        """Whether it refuses to delete what is locked. Leaves an object that expires.

        A refusal shows something only where the same credentials may delete what isn't locked.
        Raises `DeliveryError` where it can't be reached.
        """
        self._found = self._self_test()
        return self._found

    def _self_test(self) -> SelfTest:
        name = f"{self._folder}self-test/{secrets.token_hex(8)}"
        body = b"indelible: may this be deleted?\n"
        until = int(time.time()) + _TEST_S
        try:
            version = self._put(name, body, until)
        except _Refused as error:
            return SelfTest("deletes", f"it takes no object under Object Lock: {error}")
        for how, delete in self._ways(name, version, until):
            with contextlib.suppress(_Refused):
                self._call(delete)
                return SelfTest("deletes", f"it accepted {how}, under retention in mode COMPLIANCE")
        try:
            found = self._get(name, version)
            mode, kept_until = self._lock_of(found, name, version)
        except _Refused as error:
            return SelfTest("deletes", f"it refused to delete an object that is gone then: {error}")
        if found.body != body or mode != "COMPLIANCE" or kept_until < until:
            return SelfTest("deletes", "the object isn't kept as it was to be")
        try:
            control = self._put(f"{name}-control", body, None)
            self._call(lambda: self._delete(f"{name}-control", control))
        except _Refused as error:
            return SelfTest(
                "unknown",
                "it refused to delete, but these credentials may not delete what isn't locked, "
                f"either ({error}): test with ones that may",
            )
        return SelfTest("write-once", "it refused to delete, and to shorten, what it keeps")

    def _ways(
        self, key: str, version: str, until: int
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """How one could get rid of an object."""
        yield "a deletion", lambda: self._delete(key, version)
        yield (
            "a deletion that bypasses governance",
            lambda: self._delete(key, version, BypassGovernanceRetention=True),
        )
        yield "a deletion among several", lambda: self._delete_among(key, version)
        for mode, left_s in (("COMPLIANCE", _TEST_S // 2), ("GOVERNANCE", _TEST_S)):
            yield (
                "a weaker retention",
                lambda mode=mode, left_s=left_s: self._client.put_object_retention(  # type: ignore[misc]
                    Bucket=self._settings.bucket,
                    Key=key,
                    VersionId=version,
                    Retention={
                        "Mode": mode,
                        "RetainUntilDate": _moment(until - _TEST_S + left_s),
                    },
                    BypassGovernanceRetention=True,
                ),
            )

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
            found = self._get(answer.key, answer.version)
        except _Refused as error:
            if error.status != _GONE:
                raise DeliveryError(f"can't read {what}: {error}") from None
            if time.time() > answer.until:
                return "the newest gone behind its retention", None, answer.tested
            raise AnchorMismatchError(self.name, f"{what} is gone: {error}") from None
        if found.body != last.note:
            raise AnchorMismatchError(self.name, f"{what} has other bytes than it took")
        try:
            mode, until = self._lock_of(found, answer.key, answer.version)
        except _Refused as error:
            mode, until = f"none ({error})", 0
        if mode != "COMPLIANCE" or until < answer.until:
            raise AnchorMismatchError(
                self.name,
                f"expected {what} to be locked in mode COMPLIANCE until {_moment(answer.until)}, "
                f"it is in mode {mode} until {_moment(until)}",
            )
        return f"the newest locked until {_moment(until):%Y-%m-%d}", found.modified, answer.tested

    def _fetcher(self, key: str, version: str) -> Callable[[], bytes]:
        def fetch() -> bytes:
            try:
                return self._get(key, version).body
            except _Refused as error:
                raise DeliveryError(f"can't read object {key}: {error}") from None

        return fetch

    # -- requests -------------------------------------------------------------------------------

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

    def _call(self, ask: Callable[[], T]) -> T:
        """Raises `_Refused` for an answer of 4xx, and `DeliveryError` for others and for none."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return ask()
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", ""))[:64]
            if 400 <= status < 500:
                raise _Refused(status, code) from None
            raise DeliveryError(f"expected an answer of the store: {code} ({status})") from None
        except (BotoCoreError, ResponseParserError, OSError, ValueError, KeyError) as error:
            # What it says has the URL in it.
            raise DeliveryError(
                f"expected an answer of the store: {type(error).__name__}"
            ) from None

    def _put(self, key: str, body: bytes, until: int | None) -> str:
        """Write an object, locked `until` then; its version."""
        lock: dict[str, Any] = {}
        if until is not None:
            lock = {
                "ObjectLockMode": "COMPLIANCE",
                "ObjectLockRetainUntilDate": _moment(until),
            }
        answer = self._call(
            lambda: self._client.put_object(
                Bucket=self._settings.bucket,
                Key=key,
                Body=body,
                # What is locked has to come with a digest, and every store knows this one.
                ContentMD5=b64encode(md5(body, usedforsecurity=False).digest()).decode(),
                **lock,
            )
        )
        version = answer.get("VersionId")
        if not isinstance(version, str) or not version:
            raise DeliveryError(
                "expected a version of the object: versions aren't kept in this bucket"
            )
        return version

    def _delete(self, key: str, version: str, **options: bool) -> object:
        return self._client.delete_object(
            Bucket=self._settings.bucket, Key=key, VersionId=version, **options
        )

    def _delete_among(self, key: str, version: str) -> object:
        answer = self._client.delete_objects(
            Bucket=self._settings.bucket,
            Delete={"Objects": [{"Key": key, "VersionId": version}]},
            BypassGovernanceRetention=True,
        )
        for error in answer.get("Errors", ()):
            raise _Refused(_DENIED, str(error.get("Code")))
        return answer

    def _get(self, key: str, version: str) -> _Found:
        def ask() -> _Found:
            answer = self._client.get_object(
                Bucket=self._settings.bucket, Key=key, VersionId=version
            )
            with contextlib.closing(answer["Body"]) as stream:
                body = stream.read(MAX_NOTE_BYTES + 1)
            until = answer.get("ObjectLockRetainUntilDate")
            return _Found(
                body,
                int(answer["LastModified"].timestamp()),
                answer.get("ObjectLockMode"),
                int(until.timestamp()) if until else 0,
            )

        return self._call(ask)

    def _lock_of(self, found: _Found, key: str, version: str) -> tuple[str, int]:
        """In which mode it is locked, and until when."""
        if found.mode is not None:
            return found.mode, found.until

        def ask() -> tuple[str, int]:
            lock = self._client.get_object_retention(
                Bucket=self._settings.bucket, Key=key, VersionId=version
            )["Retention"]
            return str(lock["Mode"]), int(lock["RetainUntilDate"].timestamp())

        # Some stores don't say it with the object.
        return self._call(ask)

    def _versions(self, since: AnchorRow | None) -> Iterator[tuple[str, str]]:
        """(key, version) of all that is there, also behind a delete marker; or of what is larger
        than what it took last, by its key."""
        marks: dict[str, str] = {}
        if since is not None and (answer := parse_answer(_answers, since)).where == self._where:
            marks = {"KeyMarker": answer.key}
        while True:
            page = self._call(
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


class _Found(NamedTuple):
    """An object as it was read: since when it is there, and how it is locked until when, where the
    store says that with it."""

    body: bytes
    modified: int
    mode: str | None
    until: int


_TESTED: Final[dict[Verdict, str]] = {
    "write-once": "write-once by its self-test",
    "unknown": "not shown to be write-once",
    "deletes": "not write-once",
}


def _moment(second: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)

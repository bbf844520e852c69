"""Objects of an S3 bucket under Object Lock, and whether the store keeps to it.

Some stores accept the lock and then delete all the same, so that a store counts as write-once only
when it was seen to refuse: a self-test writes an object under the lock, and tries to get rid of it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, Final, Literal, NamedTuple, TypeVar

from indelible.errors import DeliveryError
from indelible.tlog import MAX_NOTE_BYTES

T = TypeVar("T")
Mode = Literal["COMPLIANCE", "GOVERNANCE"]
Verdict = Literal["write-once", "deletes", "unknown"]
_TEST_S: Final = 600
"""How long a test's object stays; clocks may differ by some minutes."""
_DENIED: Final = 403


class SelfTest(NamedTuple):
    """What a store does with an object that it said it would keep, and how that was seen."""

    verdict: Verdict
    why: str


class Refused(Exception):
    """The store answered with an error: its HTTP status and its code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{code} ({status})")
        self.status = status


class Found(NamedTuple):
    """An object as it was read: since when it is there, and how it is locked until when, where the
    store says that with it."""

    body: bytes
    modified: int
    mode: str | None
    until: int


class LockedObjects:
    """Small objects of one bucket, by key and version; times are POSIX seconds.

    Every method raises `Refused` for an answer of 4xx, and `DeliveryError` for others and for none.
    """

    def __init__(self, client: Any, bucket: str, mode: Mode = "COMPLIANCE") -> None:
        """`client` is boto3's, of S3."""
        self._client = client
        self._bucket = bucket
        self._mode = mode

    def put(self, key: str, body: bytes, until: int | None) -> str:
        """Write an object, locked `until` then; its version."""
        lock: dict[str, Any] = {}
        if until is not None:
            lock = {"ObjectLockMode": self._mode, "ObjectLockRetainUntilDate": moment(until)}
        answer = self.call(
            lambda: self._client.put_object(
                Bucket=self._bucket,
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

    def get(self, key: str, version: str) -> Found:
        """The object, or its first bytes, one more than a note may have."""

        def ask() -> Found:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version)
            with contextlib.closing(answer["Body"]) as stream:
                body = stream.read(MAX_NOTE_BYTES + 1)
            until = answer.get("ObjectLockRetainUntilDate")
            return Found(
                body,
                int(answer["LastModified"].timestamp()),
                answer.get("ObjectLockMode"),
                int(until.timestamp()) if until else 0,
            )

        return self.call(ask)

    def lock_of(self, found: Found, key: str, version: str) -> tuple[str, int]:
        """In which mode it is locked, and until when."""
        if found.mode is not None:
            return found.mode, found.until

        def ask() -> tuple[str, int]:
            lock = self._client.get_object_retention(
                Bucket=self._bucket, Key=key, VersionId=version
            )["Retention"]
            return str(lock["Mode"]), int(lock["RetainUntilDate"].timestamp())

        # Some stores don't say it with the object.
        return self.call(ask)

    def call(self, ask: Callable[[], T]) -> T:
        """What boto3's client answers."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return ask()
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", ""))[:64]
            if 400 <= status < 500:
                raise Refused(status, code) from None
            raise DeliveryError(f"expected an answer of the store: {code} ({status})") from None
        except (BotoCoreError, ResponseParserError, OSError, ValueError, KeyError) as error:
            # What it says has the URL in it.
            raise DeliveryError(
                f"expected an answer of the store: {type(error).__name__}"
            ) from None

    # -- the self-test --------------------------------------------------------------------------

    def self_test(self, folder: str) -> SelfTest:
        """Whether it refuses to delete what is locked, and to weaken the lock; in governance, for
        who doesn't ask to bypass it. Leaves an object under `folder` whose lock expires.

        A refusal shows something only where the same credentials may delete what isn't locked.
        Raises `DeliveryError` alone, where it can't be reached.
        """
        name = f"{folder}self-test/{secrets.token_hex(8)}"
        body = b"indelible: may this be deleted?\n"
        until = int(time.time()) + _TEST_S
        try:
            version = self.put(name, body, until)
        except Refused as error:
            return SelfTest("deletes", f"it takes no object under Object Lock: {error}")
        for how, weaken in self._ways(name, version, until):
            with contextlib.suppress(Refused):
                self.call(weaken)
                return SelfTest(
                    "deletes", f"it accepted {how}, under retention in mode {self._mode}"
                )
        try:
            found = self.get(name, version)
            mode, kept_until = self.lock_of(found, name, version)
        except Refused as error:
            return SelfTest("deletes", f"it refused to delete an object that is gone then: {error}")
        if found.body != body or mode != self._mode or kept_until < until:
            return SelfTest("deletes", "the object isn't kept as it was to be")
        try:
            control = self.put(f"{name}-control", body, None)
            self.call(lambda: self._delete(f"{name}-control", control))
        except Refused as error:
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
        # Whoever may bypass governance may do that: it says nothing of the store.
        bypass = {"BypassGovernanceRetention": True} if self._mode == "COMPLIANCE" else {}
        yield "a deletion", lambda: self._delete(key, version)
        if bypass:
            yield (
                "a deletion that bypasses governance",
                lambda: self._delete(key, version, **bypass),
            )
        yield "a deletion among several", lambda: self._delete_among(key, version, **bypass)
        weaker: list[tuple[Mode, int]] = [(self._mode, _TEST_S // 2)]
        if self._mode == "COMPLIANCE":
            weaker.append(("GOVERNANCE", _TEST_S))
        for mode, left_s in weaker:
            retention = {"Mode": mode, "RetainUntilDate": moment(until - _TEST_S + left_s)}
            yield (
                "a weaker retention",
                lambda retention=retention: self._client.put_object_retention(  # type: ignore[misc]
                    Bucket=self._bucket, Key=key, VersionId=version, Retention=retention, **bypass
                ),
            )

    def _delete(self, key: str, version: str, **options: bool) -> object:
        return self._client.delete_object(
            Bucket=self._bucket, Key=key, VersionId=version, **options
        )

    def _delete_among(self, key: str, version: str, **options: bool) -> object:
        answer = self._client.delete_objects(
            Bucket=self._bucket,
            Delete={"Objects": [{"Key": key, "VersionId": version}]},
            **options,
        )
        for error in answer.get("Errors", ()):
            raise Refused(_DENIED, str(error.get("Code")))
        return answer


def moment(second: int) -> datetime:
    """A POSIX second as an aware time; also such that no `datetime.fromtimestamp` takes."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)

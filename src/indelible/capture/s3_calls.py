"""What a call of S3 touches, and what its answer says about that: told from names alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from indelible.events.model import Outcome
from indelible.events.values import Native, Value

Details = dict[str, Native | Value]
DENIALS: Final = dict.fromkeys(("AccessDenied", "401", "403"), Outcome.DENIED)
"""The errors that say who may not."""

_DELETES: Final = ("DeleteObject", "DeleteObjects", "DeleteBucket")
_PARTS: Final = ("CreateMultipartUpload", "UploadPart", "UploadPartCopy", "AbortMultipartUpload")
_SESSION: Final = "CreateSession"  # the client logs in to a directory bucket
_METHODS: Final = {"GET": "read", "HEAD": "read", "DELETE": "delete"}


class Touch(msgspec.Struct, frozen=True):
    """Objects (`bucket/key`) or a bucket, and what a call does with them.

    A part of an upload is nothing that anybody could read before the upload is completed.
    `version_in` is where the answer names the version.
    """

    verb: str
    names: tuple[str, ...]
    details: Details
    is_bucket: bool = False
    is_part: bool = False
    version_in: str = "VersionId"

    @property
    def is_change(self) -> bool:
        return self.verb in ("write", "delete")

    def of(self, *names: str, **details: Native | Value) -> Touch:
        """The same, of these names only, and with more details."""
        return msgspec.structs.replace(self, names=names, details=self.details | details)


def touches_of(operation: str, params: Mapping[str, Any]) -> list[Touch]:
    """What `operation` (as the service's model names it) touches, given what its caller gave it.

    Parameters that botocore will refuse name nothing here.
    """
    bucket, key = _text(params, "Bucket"), _text(params, "Key")
    verb = _verb(operation)
    if operation == "DeleteObjects":
        batch = _batch(bucket, params.get("Delete"))
        return [
            Touch(verb, names, _details(operation, version=version))
            for version, names in batch.items()
        ]
    if key is None:
        details = _details(operation, prefix=_text(params, "Prefix"))
        return [Touch(verb, () if bucket is None else (bucket,), details, is_bucket=True)]
    details = _details(
        operation,
        version=_text(params, "VersionId"),
        range=_text(params, "Range"),
        source=_text(params, "RenameSource"),
    )
    touched = [Touch(verb, (f"{bucket}/{key}",), details, is_part=operation in _PARTS)]
    source = _source(params.get("CopySource"))
    if source is not None:
        name, version = source
        details = _details(operation, version=version)
        touched.insert(0, Touch("read", (name,), details, version_in="CopySourceVersionId"))
    return touched


def touches_of_url(
    operation: str, params: Mapping[str, Any], *, method: object, expires_in_s: object
) -> list[Touch]:
    """What whoever holds a signed URL may do; a `method` stands in for the operation's own."""
    touched = []
    for touch in touches_of(operation, params):
        verb, details = touch.verb, touch.details | {"as": "url"}
        if isinstance(expires_in_s, int):
            details["expires_in_s"] = expires_in_s
        if isinstance(method, str):
            verb, details["method"] = _METHODS.get(method.upper(), "write"), method
        touched.append(Touch(verb, touch.names, details, touch.is_bucket))
    return touched


def answered(touch: Touch, answer: Mapping[str, Any]) -> Iterator[tuple[Touch, Outcome]]:
    """What of `touch` was done when S3 answered so, and what of a batch it refused."""
    refused: dict[str, str] = {}
    if touch.details["operation"] == "DeleteObjects":
        codes = {
            error.get("Key"): str(error.get("Code"))
            for error in answer.get("Errors", ())
            if error.get("VersionId") in (None, "", "null", touch.details.get("version"))
        }
        keys = {name: name.partition("/")[2] for name in touch.names}
        refused = {name: codes[key] for name, key in keys.items() if key in codes}
    done = [name for name in touch.names if name not in refused]
    if done or not refused:
        version = _text(answer, touch.version_in)
        yield touch.of(*done, **({} if version is None else {"version": version})), Outcome.SUCCESS
    for name, code in refused.items():
        yield touch.of(name, error=code), DENIALS.get(code, Outcome.FAILURE)


def _verb(operation: str) -> str:
    if operation.startswith(("Get", "Head", "Select")):
        return "read"
    if operation.startswith("List"):
        return "list"
    if operation == _SESSION:
        return "session"
    return "delete" if operation in _DELETES else "write"


def _batch(bucket: str | None, given: object) -> dict[str | None, tuple[str, ...]]:
    """The names of a batch's objects, by the version that is to go."""
    names: dict[str | None, tuple[str, ...]] = {}
    objects = given.get("Objects") if isinstance(given, Mapping) else None
    for each in objects if isinstance(objects, list | tuple) else ():
        key = _text(each, "Key") if isinstance(each, Mapping) else None
        if key is not None:
            version = _text(each, "VersionId")
            names[version] = (*names.get(version, ()), f"{bucket}/{key}")
    return names or {None: ()}


def _source(given: object) -> tuple[str, str | None] | None:
    """Name and version of what is copied; of a text, as botocore takes it apart."""
    if isinstance(given, str):
        name, _, version = given.removeprefix("/").partition("?versionId=")
        return name, version or None
    if isinstance(given, Mapping):
        return f"{given.get('Bucket')}/{given.get('Key')}", _text(given, "VersionId")
    return None


def _details(operation: str, **more: str | None) -> Details:
    details: Details = {"operation": operation}
    details.update({name: text for name, text in more.items() if text is not None})
    return details


def _text(params: Mapping[str, Any], name: str) -> str | None:
    found = params.get(name)
    return found if isinstance(found, str) else None

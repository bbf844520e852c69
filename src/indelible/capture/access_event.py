"""The bytes of an access event, made from what is known of it with as little work as can be.

The same JSON as `codec.encode_draft` makes of the `Event`; a test holds the two together. What
doesn't change between the events of a plan or of a frame is encoded once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from indelible.errors import ValueEncodingError
from indelible.events.codec import encode_draft
from indelible.events.context import Frame
from indelible.events.model import Actor, Coverage, Event, Part
from indelible.events.values import MASKED, Id, Value, to_value

SubjectPair = tuple[str, str | None]

_encoder: Final = msgspec.json.Encoder()


class AccessTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """`TargetRows` as it goes over the wire in an access."""

    kind: str
    ids: tuple[Id, ...] = ()
    columns: tuple[str, ...] = ()
    coverage: Coverage = "exact"
    why: str | None = None
    keyless: str | None = None
    possible_subjects: tuple[SubjectPair, ...] = ()


class AccessStatement(msgspec.Struct, frozen=True, omit_defaults=True):
    """`Statement` as it goes over the wire."""

    text: str
    parameters: tuple[Value, ...] | None = None
    tables: tuple[str, ...] = ()


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The fields of `Event` that an access has, in its order."""

    action: str
    kind: str
    actor: msgspec.Raw | None = None
    targets: tuple[AccessTarget, ...] = ()
    subjects: tuple[SubjectPair, ...] = ()
    reason: str | None = None
    context: msgspec.Raw | None = None
    statement: AccessStatement | None = None
    transaction: str | None = None
    part: Part | None = None


class Who(msgspec.Struct, frozen=True):
    """A frame, ready to be put into events: its fields, and the JSON of them between others."""

    actor: msgspec.Raw | None
    reason: str | None
    context: msgspec.Raw | None
    actor_json: bytes = b""
    reason_json: bytes = b""


NOBODY: Final = Who(None, None, None)


def who_is(frame: Frame | None) -> Who:
    """The encoded form of `frame`; `NOBODY` outside of any."""
    if frame is None:
        return NOBODY
    actor = _encode(frame.actor)
    reason = None if frame.reason is None else _clean(frame.reason)
    reason_json = b"" if reason is None else b',"reason":' + _encoder.encode(reason)
    context = None
    if frame.context:
        context = msgspec.Raw(_encode(frame.context))
        reason_json += b',"context":' + bytes(context)
    return Who(msgspec.Raw(actor), reason, context, b',"actor":' + actor, reason_json)


class ShortForm(msgspec.Struct, frozen=True):
    """The JSON of an access to rows of one table by integer keys, between what changes."""

    head: bytes
    before_ids: bytes
    after_ids: bytes
    before_parameters: bytes
    after_parameters: bytes

    def encode(
        self,
        who: Who,
        ids: bytes,
        subjects: bytes,
        parameters: bytes,
        transaction: str | None,
    ) -> bytes:
        """What `encode_access` makes of the same; subjects and parameters are JSON or empty."""
        return b"".join(
            (
                self.head,
                who.actor_json,
                self.before_ids,
                ids,
                self.after_ids,
                b',"subjects":' + subjects if subjects else b"",
                who.reason_json,
                self.before_parameters,
                b',"parameters":' + parameters if parameters else b"",
                self.after_parameters,
                b',"transaction":' + _encoder.encode(transaction) if transaction else b"",
                b"}",
            )
        )


def short_form(target: AccessTarget, statement: AccessStatement) -> ShortForm:
    """The short form for a target (its ids don't matter) and a statement without parameters."""
    after_ids = b""
    if target.columns:
        after_ids += b',"columns":' + _encoder.encode(target.columns)
    if target.keyless is not None:
        after_ids += b',"keyless":' + _encoder.encode(target.keyless)
    after_parameters = b""
    if statement.tables:
        after_parameters += b',"tables":' + _encoder.encode(statement.tables)
    return ShortForm(
        head=b'{"action":' + _encoder.encode(f"{target.kind}.read") + b',"kind":"access"',
        before_ids=b',"targets":[{"kind":' + _encoder.encode(target.kind) + b',"ids":',
        after_ids=after_ids + b"}]",
        before_parameters=b',"statement":{"text":' + _encoder.encode(statement.text),
        after_parameters=after_parameters + b"}",
    )


def encode_access(
    *,
    action: str,
    who: Who,
    targets: tuple[AccessTarget, ...],
    subjects: tuple[SubjectPair, ...],
    statement: AccessStatement,
    transaction: str | None,
    part: Part | None,
) -> bytes:
    """The draft of the event, for `Journal.append`."""
    return _encoder.encode(
        _Wire(
            action=action,
            kind="access",
            actor=who.actor,
            targets=targets,
            subjects=subjects,
            reason=who.reason,
            context=who.context,
            statement=statement,
            transaction=transaction,
            part=part,
        )
    )


def encode_integer_ids(keys: Sequence[int]) -> bytes:
    """`((key,), …)` of at least one key, as `TargetRows.ids`."""
    return b"[" + _encoder.encode(keys).replace(b",", b"],[") + b"]"


def encode_subjects(kind: str, keys: Sequence[int] | None) -> bytes:
    """`((kind, str(key)), …)` as `Event.subjects`; empty for no keys, of an unknown id for None."""
    head = b"[" + _encoder.encode(kind) + b","
    if keys is None:
        return b"[" + head + b"null]]"
    if not keys:
        return b""
    digits = _encoder.encode(keys)[1:-1]
    return b"[" + head + b'"' + digits.replace(b",", b'"],' + head + b'"') + b'"]]'


def encode_parameters(
    parameters: Sequence[object] | Mapping[str, object], kept: Sequence[bool]
) -> bytes:
    """The JSON of `shown_parameters`."""
    return _encoder.encode(shown_parameters(parameters, kept))


def shown_parameters(
    parameters: Sequence[object] | Mapping[str, object], kept: Sequence[bool]
) -> tuple[Value, ...]:
    """The values that a statement was run with; those not to be kept are `masked`.

    `kept` holds one answer for each value. A mapping's values stand in its own order, and are
    kept only if all are.
    """
    if isinstance(parameters, Mapping):
        keep = all(kept)
        return tuple(_shown(value) if keep else MASKED for value in parameters.values())
    return tuple([_shown(value) if keep else MASKED for value, keep in zip(parameters, kept)])  # noqa: B905


def _shown(value: object) -> Value:
    """`value` as the driver would store it; `masked` for what only an adapter knows how to."""
    kind = type(value)
    if kind is int or kind is str:
        return to_value(value)  # type: ignore[arg-type]
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    for base in (int, str, float, bytes):
        if isinstance(value, base) and kind not in (base, bool):
            value = base(cast("Any", value))  # an enum's, say
    try:
        return to_value(value)  # type: ignore[arg-type]
    except ValueEncodingError:
        return MASKED


def _encode(value: Actor | dict[str, str]) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        draft = Event(
            action="x",
            kind="access",
            actor=value if isinstance(value, Actor) else None,
            context=value if isinstance(value, dict) else None,
        )
        fields = msgspec.json.decode(encode_draft(draft), type=dict[str, msgspec.Raw])
        return bytes(fields["actor" if isinstance(value, Actor) else "context"])


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()

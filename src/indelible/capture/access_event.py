"""The bytes of an access event: the JSON that `codec.encode_draft` makes of the `Event`.

A test holds the two together. A frame is encoded once for all of its events.
"""

from __future__ import annotations

from typing import Final

import msgspec

from indelible.events.codec import encode_draft
from indelible.events.context import Frame
from indelible.events.model import Actor, Coverage, Event, Part
from indelible.events.values import Id, Value

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
    decision: msgspec.Raw | None = None
    part: Part | None = None


class Who(msgspec.Struct, frozen=True):
    """A frame, ready to be put into events: its fields, and the JSON of them between others."""

    frame: Frame | None
    actor: msgspec.Raw | None
    reason: str | None
    context: msgspec.Raw | None
    actor_json: bytes = b""
    reason_json: bytes = b""
    decision: msgspec.Raw | None = None
    decision_json: bytes = b""


NOBODY: Final = Who(None, None, None, None)


def who_is(frame: Frame | None) -> Who:
    """The encoded form of `frame`; `NOBODY` outside of any."""
    if frame is None:
        return NOBODY
    actor = None if frame.actor is None else _encode(frame.actor)
    reason = None if frame.reason is None else _clean(frame.reason)
    reason_json = b"" if reason is None else b',"reason":' + _encoder.encode(reason)
    context = None
    if frame.context:
        context = msgspec.Raw(_encode(frame.context))
        reason_json += b',"context":' + bytes(context)
    raw, actor_json = None, b""
    if actor is not None:
        raw, actor_json = msgspec.Raw(actor), b',"actor":' + actor
    decision, decision_json = None, b""
    if frame.decision is not None:
        # Of text that has UTF-8: `events.decisions` sees to that.
        decision = msgspec.Raw(_encoder.encode(frame.decision))
        decision_json = b',"decision":' + bytes(decision)
    return Who(frame, raw, reason, context, actor_json, reason_json, decision, decision_json)


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
            decision=who.decision,
            part=part,
        )
    )


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

"""The short way from rows to an event: an access to rows of one table by integer keys.

Nearly every access is one. What doesn't change between the events of a plan, or of a plan and a
frame, is encoded once, and nothing is done for a row that a list as a whole can be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from indelible.capture.access_event import Who
from indelible.capture.extraction import Row
from indelible.capture.statement_parameters import (
    Parameters,
    shown_parameters,
)
from indelible.capture.statements.keys import parse_integer_array
from indelible.capture.statements.plan import Plan, Taken, TargetPlan
from indelible.events.model import Part
from indelible.events.values import MAX_PLAIN_INT

MAX_IDS: Final = 4_000
"""The most that one event names."""

_encode: Final = msgspec.json.Encoder().encode


class IntegerAccess:
    """The JSON of the accesses of one plan, between what changes. Safe for threads."""

    def __init__(self, plan: Plan, target: TargetPlan, taken: Taken) -> None:
        self._plan = plan
        self._place = taken.key[0]
        self._has_arrays = taken.array
        self._is_unique = taken.unique
        self._is_optional = taken.optional
        self._may_be_converted = bool(taken.readers)
        kind = _encode(target.policy.kind)
        self._head = b'{"action":%s,"kind":"access"' % _encode(f"{target.policy.kind}.read")
        self._target = b',"targets":[{"kind":%s,"ids":[[' % kind
        ends = b""
        if target.columns:
            ends += b',"columns":' + _encode(target.columns)
        if target.keyless:
            ends += b',"keyless":"rowid"'
        self._target_end = b"]]" + ends + b"}]"
        self._statement = b',"statement":{"text":' + _encode(plan.shown_text)
        tables = b',"tables":' + _encode(plan.tables) if plan.tables else b""
        self._statement_end = tables + b"}"
        path = target.policy.subject
        self._has_subjects = path is not None
        self._is_own_subject = path is not None and not path.hops
        self._is_followed = path is not None and len(path.hops) > 1
        self._subject = taken.subject
        if path is not None:
            pair = b"[" + _encode(path.kind) + b","
            self._unknown_subject = b',"subjects":[' + pair + b"null]]"
            self._first_subject = b',"subjects":[' + pair + b'"'
            self._next_subject = b'"],' + pair + b'"'
        self._framed: tuple[Who | None, bytes, bytes] = (None, b"", b"")

    def draft(
        self,
        rows: Sequence[Row],
        who: Who,
        text: str,
        parameters: Parameters,
        transaction: str | None,
        part: Part | None = None,
    ) -> bytes | None:
        """What `encode_access` makes of the same; None where the short way can't be gone.

        `text` and `parameters` are those of the statement, in its first event; `rows` those of this
        one.
        """
        if len(rows) == 1 and not self._has_arrays:
            key = rows[0][self._place]
            if type(key) is not int or not -MAX_PLAIN_INT <= key <= MAX_PLAIN_INT:
                return None
            digits: bytes | None = b"%d" % key
        else:
            keys = self._keys(rows)
            if not keys or (self._may_be_converted and set(map(type, keys)) != {int}):
                return None
            digits = _digits(keys)
        if digits is None:
            return None
        subjects = self._subjects(rows, digits) if self._has_subjects else b""
        if subjects is None:
            return None
        framed, before, after = self._framed
        if framed is not who:
            before = self._head + who.actor_json + self._target
            after = who.reason_json + self._statement
            self._framed = (who, before, after)
        shown = b""
        plan = self._plan
        if plan.parameters and part is None:
            shown = b',"parameters":' + _encode(shown_parameters(plan, text, parameters))
        return b"".join(
            (
                before,
                digits.replace(b",", b"],["),
                self._target_end,
                subjects,
                after,
                shown,
                self._statement_end,
                b',"transaction":%s' % _encode(transaction) if transaction else b"",
                who.decision_json,
                b',"part":%s' % _encode(part) if part is not None else b"",
                b"}",
            )
        )

    def _keys(self, rows: Sequence[Row]) -> list[int] | None:
        """The keys, each once; None where they are too many for one event."""
        place = self._place
        if self._has_arrays:
            keys: list[int] = []
            for row in rows:
                keys += parse_integer_array(row[place])
                if len(keys) > MAX_IDS:
                    return None
            return list(dict.fromkeys(keys))
        if place < 0:  # counted from the front a list is a third faster
            place += len(rows[0])
        found = [row[place] for row in rows]
        if not self._is_unique:
            found = list(dict.fromkeys(found))
        if self._is_optional and None in found:
            found.remove(None)
        return cast("list[int]", found)

    def _subjects(self, rows: Sequence[Row], digits: bytes) -> bytes | None:
        if not self._is_own_subject:
            place = self._subject
            if place is None:
                return self._unknown_subject
            named = list(dict.fromkeys([row[place] for row in rows]))
            if None in named:
                if self._is_followed:
                    return None
                named.remove(None)
            if not named:
                return b""
            if set(map(type, named)) != {int}:
                return None
            found = _digits(cast("list[int]", named))
            if found is None:
                return None
            digits = found
        return self._first_subject + digits.replace(b",", self._next_subject) + b'"]]'


def integer_access(plan: Plan) -> IntegerAccess | None:
    """The short way of `plan`, where it has one; kept beside the plan that it is made from."""
    kept: dict[str, IntegerAccess | None] = plan.__dict__
    try:
        return kept["integer_access"]
    except KeyError:
        only = plan.integers_only or _one_array(plan)
        made = None if only is None else IntegerAccess(plan, *only)
        kept["integer_access"] = made
        return made


def _one_array(plan: Plan) -> tuple[TargetPlan, Taken] | None:
    """The one place where arrays of integer keys stand, if nothing else is to be read."""
    if len(plan.targets) != 1 or plan.companions:
        return None
    target = plan.targets[0]
    if target.coverage != "exact" or len(target.taken) != 1:
        return None
    (taken,) = target.taken
    return (target, taken) if taken.integers and taken.array else None


def _digits(integers: Sequence[int]) -> bytes | None:
    """`1,2,3`; None where one of them can't stand in JSON as it is."""
    digits = _encode(integers)[1:-1]
    # Without a minus in front of any, none is larger than their sum, which is far cheaper to have
    # than the largest.
    if (b"-" in digits or sum(integers) > MAX_PLAIN_INT) and (
        max(integers) > MAX_PLAIN_INT or min(integers) < -MAX_PLAIN_INT
    ):
        return None
    return digits

"""Which rows one statement handed over: collected chunk by chunk, written down as accesses.

An access keeps the actor that was current when its statement ran, whoever fetches.

What a SIGKILL can lose under `durability = "request"`: the keys of rows fetched one at a time
since the last chunk (at most as many as were written before, never more than 512) of a request
that hasn't ended. Under `strict` nothing: keys are on disk before their rows are handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from indelible.capture.access_event import (
    AccessStatement,
    AccessTarget,
    ShortForm,
    SubjectPair,
    Who,
    encode_access,
    encode_integer_ids,
    encode_parameters,
    encode_subjects,
    short_form,
    shown_parameters,
)
from indelible.capture.extraction import Extracted, Row, integer_keys, integer_subjects
from indelible.capture.statements.plan import Plan, TargetPlan
from indelible.capture.statements.tokens import runs
from indelible.events.context import Frame
from indelible.events.model import Coverage, Part
from indelible.events.values import Value
from indelible.policy.model import Durability

T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object]

MAX_IDS: Final = 4_000
MAX_BYTES: Final = 48 * 1024
_MAX_PENDING_ROWS: Final = 512


class AccessWriter(Protocol):
    """Where the events of an access go: the connection that the statement ran on."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while rows waiting to be written are added or taken."""

    def append(self, draft: bytes, durability: Durability, frame: Frame | None) -> str | None:
        """Write one event as `durability` asks; its id, where it has one already.

        Raises `DeliveryError` under `strict` only.
        """

    def who(self, frame: Frame | None) -> Who: ...

    def kind_of(self, table: str) -> str:
        """The policy's kind of `table`."""

    def closed(self, access: Access) -> None:
        """Nothing more will come of `access`."""


class Access:
    """One run of one statement: what of its rows was handed over."""

    __slots__ = (
        "_durability",
        "_events",
        "_first_id",
        "_frame",
        "_handed",
        "_hidden",
        "_is_over",
        "_is_single",
        "_parameters",
        "_pending",
        "_places",
        "_text",
        "_threshold",
        "_transaction",
        "_why",
        "_writer",
        "companion_rows",
        "plan",
    )

    def __init__(
        self,
        writer: AccessWriter,
        plan: Plan,
        text: str,
        parameters: Parameters,
        frame: Frame | None,
        transaction: str | None,
    ) -> None:
        self._writer = writer
        self.plan = plan
        self._text = text
        self._parameters = parameters
        self._frame = frame
        self._transaction = transaction
        self._durability = plan.durability
        self._pending: list[Row] = []
        self._handed = 0
        self._hidden = plan.hidden if plan.text is not None else 0
        self._threshold = 1
        self._events = 0
        self._first_id: str | None = None
        self._is_over = False
        self._is_single = False
        self._why: str | None = None
        self._places: tuple[int, ...] | None = None
        self.companion_rows: list[list[Row]] = []

    def announce(self) -> None:
        """Under `strict`: the statement is on disk before it runs, without rows so far."""
        if self._durability == "strict":
            self._append([])

    def give_up_keys(self, why: str) -> None:
        """The keys of this run can't be known; the statement is what remains."""
        self._why = why
        self.companion_rows = []

    def ran_original(self, why: str) -> None:
        """The text ran as it came, without the hidden columns of the plan."""
        self.give_up_keys(why)
        self._hidden = 0

    @property
    def must_describe(self) -> bool:
        """Whether `describe` has anything to find out."""
        return self._hidden > 0 or bool(self.plan.checked_names)

    def describe(self, description: Sequence[T] | None, name_of: Callable[[T], str]) -> list[T]:
        """The columns that the application sees, of those that the driver tells of.

        Finds out here where the schema isn't the one that the plan was made for.
        """
        plan = self.plan
        columns = list(description or ())
        for place, name in plan.checked_names:
            if place >= len(columns) or name_of(columns[place]).lower() != name.lower():
                self.give_up_keys(SCHEMA_CHANGED)
        if not self._hidden:
            return columns
        if plan.starred:
            self._places = tuple(
                place
                for place, column in enumerate(columns)
                if not name_of(column).startswith(plan.prefix)
            )
            return [columns[place] for place in self._places]
        self._is_single = len(columns) - self._hidden == 1
        return columns[: -self._hidden]

    @property
    def has_hidden_columns(self) -> bool:
        """Whether the driver's rows have columns that the application must not see."""
        return self._hidden > 0

    @property
    def is_of_another_schema(self) -> bool:
        return self._why == SCHEMA_CHANGED

    def visible(self, rows: list[Row]) -> list[Row]:
        """`rows` without the hidden columns."""
        if not self._hidden:
            return rows
        places = self._places
        if places is not None:
            return [tuple([row[place] for place in places]) for row in rows]
        if self._is_single:
            return list(zip([row[0] for row in rows], strict=True))
        return list(map(itemgetter(slice(0, -self._hidden)), rows))

    def hand_over(self, rows: Sequence[Row], *, exhausted: bool) -> None:
        """`rows` (with what is hidden) are about to be given to the application.

        When this returns their keys are written, or will be by the end of the request at the
        latest; under `strict` they are on disk. Raises `DeliveryError` under `strict` only.
        """
        if self._is_over:
            return
        self._handed += len(rows)
        if exhausted and not self._pending:
            self._is_over = True
            self._writer.closed(self)
            self._write(rows, final=True)
            return
        with self._writer.lock:
            self._pending += rows
            if exhausted:
                self._is_over = True
                self._writer.closed(self)
            elif self._durability != "strict":
                if self.plan.waits_for_the_end or len(self._pending) < self._threshold:
                    return
                self._threshold = min(self._threshold * 2, _MAX_PENDING_ROWS)
            pending, self._pending = self._pending, []
        self._write(pending, final=exhausted)

    def flush(self) -> None:
        """Write the keys of what was handed over; the statement itself, if nothing was yet."""
        with self._writer.lock:
            pending, self._pending = self._pending, []
        if pending or not self._events:
            self._write(pending, final=False)

    def close(self) -> None:
        """No more rows will be handed over."""
        if not self._is_over:
            self._is_over = True
            self.flush()
            self._writer.closed(self)

    def _write(self, rows: Sequence[Row], *, final: bool) -> None:
        if len(rows) <= MAX_IDS:
            self._append(rows, final=final)
            return
        for start in range(0, len(rows), MAX_IDS):
            chunk = rows[start : start + MAX_IDS]
            self._append(chunk, final=final and start + MAX_IDS >= len(rows))

    def _append(self, rows: Sequence[Row], *, final: bool = False) -> None:
        """One event for `rows`, or several where it would be too large."""
        if rows and not self._events and self._why is None and self._append_short(rows):
            return
        targets: list[AccessTarget] = []
        subjects: dict[SubjectPair, None] = {}
        for number, target in enumerate(self.plan.targets):
            extracted, coverage, why, knows_subject = self._extract(number, target, rows, final)
            if self._events and not extracted.ids and self._why is None:
                continue
            named = _subjects(target, extracted, coverage, knows_subject=knows_subject)
            is_exact = coverage == "exact"
            if is_exact:
                subjects.update(dict.fromkeys(named))
            targets.append(
                AccessTarget(
                    target.policy.kind,
                    tuple(extracted.ids),
                    target.columns,
                    coverage,
                    why,
                    "rowid" if target.keyless else None,
                    () if is_exact else tuple(named),
                )
            )
        if self._events and not targets:
            return
        draft = self._draft(targets, tuple(subjects), final=final)
        if len(draft) <= MAX_BYTES:
            self._send(draft)
        elif len(rows) > 1 and not self.companion_rows:
            middle = len(rows) // 2
            self._append(rows[:middle])
            self._append(rows[middle:], final=final)
        else:
            self._send_sliced(targets, tuple(subjects), final)

    def _append_short(self, rows: Sequence[Row]) -> bool:
        """The short way for the commonest event; False where it can't be gone."""
        plan = self.plan
        only = plan.integers_only
        if only is None:
            return False
        target, taken = only
        found = integer_keys(taken, rows)
        if found is None:
            return False
        subjects = b""
        path = target.policy.subject
        if path is not None:
            if not path.hops:
                subjects = encode_subjects(path.kind, found)
            elif taken.subject is None:
                subjects = encode_subjects(path.kind, None)
            else:
                named = integer_subjects(taken.subject, rows)
                if named is None:
                    return False
                subjects = encode_subjects(path.kind, named)
        parameters = b""
        if plan.parameters:
            parameters = encode_parameters(self._parameters, _kept(plan, self._text))
        draft = _short_form(plan, target).encode(
            self._writer.who(self._frame),
            encode_integer_ids(found),
            subjects,
            parameters,
            self._transaction,
        )
        if len(draft) > MAX_BYTES:
            return False
        self._send(draft)
        return True

    def _extract(
        self, number: int, target: TargetPlan, rows: Sequence[Row], final: bool
    ) -> tuple[Extracted, Coverage, str | None, bool]:
        extracted = Extracted()
        coverage, why = target.coverage, target.why
        knows_subject = False
        if self._why is not None:
            return extracted, "statement", self._why, False
        for taken in target.taken:
            extracted.add(taken, rows)
            knows_subject |= taken.subject is not None or taken.array_subject
        if not self._handed:  # no row handed out: nothing that a companion found was, either
            return extracted, coverage, why, knows_subject
        for companion, found in zip(self.plan.companions, self.companion_rows, strict=True):
            for served, taken in companion.taken:
                if served != number:
                    continue
                extracted.add(taken, found)
                knows_subject |= taken.subject is not None or taken.array_subject
                is_exact = final if companion.whole else len(found) <= 1 or not companion.single
                if coverage == "exact" and not is_exact:
                    coverage, why = "superset", _NOT_ALL_FETCHED
        return extracted, coverage, why, knows_subject

    def _draft(
        self,
        targets: Sequence[AccessTarget],
        subjects: tuple[SubjectPair, ...],
        *,
        final: bool,
    ) -> bytes:
        plan = self.plan
        kind = "statement"
        if plan.targets:
            kind = plan.targets[0].policy.kind
        elif plan.tables:
            kind = self._writer.kind_of(plan.tables[0])
        parameters: tuple[Value, ...] | None = None
        if plan.parameters and not self._events:
            parameters = shown_parameters(self._parameters, _kept(plan, self._text))
        part = None
        if self._events and self._first_id is not None:
            part = Part(self._events + 1, self._events + 1 if final else 0, self._first_id)
        return encode_access(
            action=f"{kind}.read",
            who=self._writer.who(self._frame),
            targets=tuple(targets),
            subjects=subjects,
            statement=AccessStatement(plan.shown_text, parameters, plan.tables),
            transaction=self._transaction,
            part=part,
        )

    def _send(self, draft: bytes) -> None:
        event_id = self._writer.append(draft, self._durability, self._frame)
        if not self._events:
            self._first_id = event_id
        self._events += 1
        if self.companion_rows and self._handed:
            # Named now; a later chunk has nothing to add to them.
            self.companion_rows = [[] for _ in self.companion_rows]

    def _send_sliced(
        self, targets: list[AccessTarget], subjects: tuple[SubjectPair, ...], final: bool
    ) -> None:
        """What one row holds in arrays, or a companion found: in events of so many ids each."""
        most = max([len(subjects), *(len(target.ids) for target in targets)])
        size = min(most, MAX_IDS)
        while size > 1 and self._largest_slice(targets, subjects, most, size) > MAX_BYTES:
            size //= 2
        for start in range(0, most, size):
            sliced = _slices(targets, start, size)
            last = final and start + size >= most
            self._send(self._draft(sliced, subjects[start : start + size], final=last))

    def _largest_slice(
        self,
        targets: list[AccessTarget],
        subjects: tuple[SubjectPair, ...],
        most: int,
        size: int,
    ) -> int:
        return max(
            len(
                self._draft(
                    _slices(targets, start, size), subjects[start : start + size], final=False
                )
            )
            for start in range(0, most, size)
        )


SCHEMA_CHANGED: Final = "the schema changed"
_NOT_ALL_FETCHED: Final = "rows of which not all were fetched"


def _short_form(plan: Plan, target: TargetPlan) -> ShortForm:
    """Kept beside the plan that it is made from."""
    found: ShortForm | None = plan.__dict__.get("short_form")
    if found is None:
        found = short_form(
            AccessTarget(
                target.policy.kind,
                columns=target.columns,
                keyless="rowid" if target.keyless else None,
            ),
            AccessStatement(plan.shown_text, None, plan.tables),
        )
        plan.__dict__["short_form"] = found
    return found


def _subjects(
    target: TargetPlan, extracted: Extracted, coverage: Coverage, *, knows_subject: bool
) -> list[SubjectPair]:
    """Whose data these rows are; an id of None where that can't be told from the rows."""
    path = target.policy.subject
    if path is None:
        return []
    is_self = not path.hops
    pairs: list[SubjectPair] = []
    if is_self or knows_subject:
        pairs = [(path.kind, id_) for id_ in extracted.subject_ids(is_self=is_self)]
    elif extracted.ids:
        pairs = [(path.kind, None)]
    if (coverage != "exact" and not extracted.ids) or coverage == "statement":
        pairs.append((path.kind, None))
    return pairs


def _slices(targets: Sequence[AccessTarget], start: int, size: int) -> list[AccessTarget]:
    """The targets with the ids from `start` on; those that have none left only at first."""
    return [
        replace(
            target,
            ids=target.ids[start : start + size],
            possible_subjects=target.possible_subjects[start : start + size],
        )
        for target in targets
        if not start or len(target.ids) > start or len(target.possible_subjects) > start
    ]


def _kept(plan: Plan, text: str) -> Sequence[bool]:
    """One answer for each value: a run of `?` has one answer for all of its values."""
    answers = plan.parameters or ()
    if not plan.has_runs:
        return answers
    return [
        answer
        for answer, width in zip(answers, widths(plan, text), strict=True)
        for _ in range(width)
    ]


def widths(plan: Plan, text: str) -> list[int]:
    """How many values each placeholder of the plan stands for in `text`."""
    originals = iter(runs(text))
    return [next(originals).count("?") if is_run else 1 for is_run in plan.collapsed]

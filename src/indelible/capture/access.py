"""Which rows one statement handed over: collected chunk by chunk, written down as accesses.

An access keeps the actor that was current when its statement ran, whoever fetches.

What a SIGKILL can lose under `durability = "request"`: the keys of rows fetched one at a time
since the last chunk (at most as many as were written before, never more than 512) of a request
that hasn't ended. Keys that are only known once all rows are (of window functions, recursion, or
asked for beside the rows) wait for that. Under `strict` nothing: keys are on disk before their
rows are handed over.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeVar

from indelible.capture.access_event import AccessStatement, Who, encode_access
from indelible.capture.access_targets import Named, named_targets, sliced, unnamed_targets
from indelible.capture.extraction import Row, rows_beside
from indelible.capture.hidden_columns import is_as_planned, only_at, visible_places, without_last
from indelible.capture.integer_access import MAX_IDS, integer_access
from indelible.capture.statement_parameters import (
    Parameters,
    shown_parameters,
)
from indelible.capture.statements.plan import Plan, TooManyKeysError, UnreadableKeyError
from indelible.events.context import Frame, Scope
from indelible.events.model import Part
from indelible.events.values import Value
from indelible.policy.model import Durability

T = TypeVar("T")

MAX_BYTES: Final = 48 * 1024
_MAX_PENDING_ROWS: Final = 512
_SCHEMA_CHANGED: Final = "the schema changed"
_NOT_ALL: Final = "rows that hold what others said, of which not all were fetched"
_TOO_MANY: Final = "more rows stand behind it than are told"
_NOT_FETCHED: Final = "its keys came with a row that wasn't fetched"
_CONVERTED: Final = "the driver gives something else for its keys"


class AccessWriter(Protocol):
    """Where the events of an access go: the connection that the statement ran on."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while rows waiting to be written are added or taken."""

    @property
    def open_accesses(self) -> dict[Access, None]:
        """Those of which rows may still be handed over."""

    @property
    def abandoned(self) -> MutableSequence[Access]:
        """Those whose cursor is gone, to be closed with the next read."""

    def append(self, draft: bytes, durability: Durability, frame: Frame | None) -> str | None:
        """Write one event as `durability` asks; its id, where it has one already.

        Raises `DeliveryError` under `strict` only.
        """

    def size_of(self, draft: bytes) -> int:
        """How many bytes of `draft` will be written."""

    def kind_of(self, table: str) -> str:
        """The policy's kind of `table`."""


class Access:
    """One run of one statement: what of its rows was handed over."""

    __slots__ = (
        "_events",
        "_first_id",
        "_handed",
        "_hidden",
        "_parameters",
        "_pending",
        "_places",
        "_text",
        "_threshold",
        "_transaction",
        "_who",
        "_why",
        "_writer",
        "companion_rows",
        "is_over",
        "plan",
    )

    def __init__(
        self,
        writer: AccessWriter,
        plan: Plan,
        text: str,
        parameters: Parameters,
        who: Who,
        transaction: str | None,
    ) -> None:
        self._writer = writer
        self.plan = plan
        self._text = text
        self._parameters = parameters
        self._who = who
        self._transaction = transaction
        self._hidden = plan.hidden if plan.text is not None else 0
        self._places: tuple[int, ...] | None = None
        self._why: str | None = None
        self._pending: list[Row] | None = None
        self._handed = 0
        self._threshold = 1
        self._events = 0
        self._first_id: str | None = None
        self.is_over = False
        """Whether all rows were handed over, or no more will be."""
        self.companion_rows: Sequence[list[Row]] = ()

    @property
    def scope(self) -> Scope | None:
        """The scope that it ran in."""
        return None if self._who.frame is None else self._who.frame.scope

    def announce(self) -> None:
        """Under `strict`: the statement is on disk before it runs, without rows so far."""
        if self.plan.durability == "strict":
            self._append((), final=False)

    def give_up_keys(self, why: str) -> None:
        """The keys of this run can't be known; the statement is what remains."""
        self._why = why
        self.companion_rows = ()

    def ran_original(self, why: str) -> None:
        """The text ran as it came, without the hidden columns of the plan."""
        self.give_up_keys(why)
        self._hidden = 0

    @property
    def must_describe(self) -> bool:
        """Whether `describe` has anything to find out."""
        return self._hidden > 0 or bool(self.plan.checked_names)

    def describe(
        self, description: Sequence[T] | None, name_of: Callable[[T], str]
    ) -> tuple[T, ...]:
        """The columns that the application sees, of those that the driver tells of.

        Finds out here where the schema isn't the one that the plan was made for.
        """
        plan = self.plan
        columns = tuple(description or ())
        if plan.checked_names and not is_as_planned(plan, columns, name_of):
            self.give_up_keys(_SCHEMA_CHANGED)
        if not self._hidden:
            return columns
        if plan.starred:
            self._places = visible_places(plan, columns, name_of)
            return tuple([columns[place] for place in self._places])
        return columns[: -self._hidden]

    @property
    def has_hidden_columns(self) -> bool:
        """Whether the driver's rows have columns that the application must not see."""
        return self._hidden > 0

    @property
    def is_of_another_schema(self) -> bool:
        return self._why == _SCHEMA_CHANGED

    def visible(self, rows: list[Row]) -> list[Row]:
        """`rows` without the hidden columns."""
        if not self._hidden:
            return rows
        if self._places is not None:
            return only_at(rows, self._places)
        return without_last(rows, self._hidden)

    def hand_over(self, rows: Sequence[Row], *, exhausted: bool) -> None:
        """`rows` (with what is hidden) are about to be given to the application.

        When this returns their keys are written, or will be by the end of the request at the
        latest; under `strict` they are on disk. Raises `DeliveryError` under `strict` only.
        """
        if self.is_over:
            return
        if self.plan.beside and not self.companion_rows and self._why is None:
            self._take_beside(rows)
        self._handed += len(rows)
        if exhausted and not self._pending:
            # Nearly every result: all of its rows at once.
            self.is_over = True
            self._writer.open_accesses.pop(self, None)
            if len(rows) <= MAX_IDS:
                self._append(rows, final=True)
            else:
                self._write(rows, final=True)
            return
        with self._writer.lock:
            if self._pending is None:
                self._pending = []
            pending = self._pending
            pending += rows
            if exhausted:
                self.is_over = True
                self._writer.open_accesses.pop(self, None)
            elif self.plan.durability != "strict":
                if self.plan.waits_for_the_end or len(pending) < self._threshold:
                    return
                self._threshold = min(self._handed * 2, _MAX_PENDING_ROWS)
            self._pending = None
        if not exhausted:
            self._part_only()
        self._write(pending, final=exhausted)

    def flush(self) -> None:
        """Write the keys of what was handed over; the statement itself, if nothing was yet."""
        with self._writer.lock:
            pending, self._pending = self._pending, None
        if pending or not self._events:
            self._part_only()
            self._write(pending or (), final=False)

    def abandon(self) -> None:
        """Its cursor is gone. From any thread and at any moment, so nothing is written here."""
        if not self.is_over:
            self._writer.abandoned.append(self)

    def close(self) -> None:
        """No more rows will be handed over."""
        if not self.is_over:
            self.is_over = True
            self.flush()
            self._writer.open_accesses.pop(self, None)

    def _take_beside(self, rows: Sequence[Row]) -> None:
        """The keys that stand beside the rows, all of them in one."""
        try:
            self.companion_rows = rows_beside(self.plan, rows) or ()
        except UnreadableKeyError as problem:
            self.give_up_keys(_why_unread(problem))

    def _part_only(self) -> None:
        """What is written now isn't all that is handed over."""
        if self.plan.needs_all and self._why is None:
            self.give_up_keys(_NOT_ALL)

    def _write(self, rows: Sequence[Row], *, final: bool) -> None:
        if len(rows) <= MAX_IDS:
            self._append(rows, final=final)
            return
        for start in range(0, len(rows), MAX_IDS):
            chunk = rows[start : start + MAX_IDS]
            self._append(chunk, final=final and start + MAX_IDS >= len(rows))

    def _append(self, rows: Sequence[Row], *, final: bool) -> None:
        """One event for `rows`, or several where it would be too large."""
        plan = self.plan
        if plan.beside and self._handed and self._why is None and not self.companion_rows:
            self.give_up_keys(_NOT_FETCHED)
        if plan.is_stamped and self._why is None and any(row[-1] != 1 for row in rows):
            self.give_up_keys(_SCHEMA_CHANGED)
        if rows and self._why is None and (not self._events or self._first_id is not None):
            short = integer_access(plan)
            if short is not None:
                part = self._part(final=final)
                draft = short.draft(
                    rows, self._who, self._text, self._parameters, self._transaction, part
                )
                if draft is not None and self._writer.size_of(draft) <= MAX_BYTES:
                    self._send(draft)
                    return
        if self._why is not None:
            named = unnamed_targets(plan, self._why)
        else:
            # No row handed out: nothing that a companion found was, either.
            beside = self.companion_rows if self._handed else ()
            try:
                named = named_targets(plan, rows, beside, is_first=not self._events, is_whole=final)
            except UnreadableKeyError as problem:
                self._why = _why_unread(problem)
                named = unnamed_targets(plan, self._why)
        if self._events and not named[0]:
            return
        draft = self._draft(named, final=final)
        if self._writer.size_of(draft) <= MAX_BYTES:
            self._send(draft)
        elif len(rows) > 1 and not self.companion_rows:
            middle = len(rows) // 2
            self._append(rows[:middle], final=False)
            self._append(rows[middle:], final=final)
        else:
            self._send_sliced(named, final=final)

    def _send_sliced(self, named: Named, *, final: bool) -> None:
        """What one row holds in arrays, or a companion found: in events of so many ids each.

        The journal cuts what is too large even then.
        """
        targets, subjects = named
        size = min(max([len(subjects), *(len(target.ids) for target in targets)]), MAX_IDS)
        pieces = sliced(named, size) if size > 1 else [named]
        while size > 1 and max(self._size_of(one) for one in pieces) > MAX_BYTES:
            size //= 2
            pieces = sliced(named, size)
        for piece in pieces:
            self._send(self._draft(piece, final=final and piece is pieces[-1]))

    def _size_of(self, named: Named) -> int:
        return self._writer.size_of(self._draft(named, final=False))

    def _draft(self, named: Named, *, final: bool) -> bytes:
        plan = self.plan
        targets, subjects = named
        kind = "statement"
        if plan.targets:
            kind = plan.targets[0].policy.kind
        elif plan.tables:
            kind = self._writer.kind_of(plan.tables[0])
        parameters: tuple[Value, ...] | None = None
        if plan.parameters and not self._events:
            parameters = shown_parameters(plan, self._text, self._parameters)
        return encode_access(
            action=f"{kind}.read",
            who=self._who,
            targets=tuple(targets),
            subjects=subjects,
            statement=AccessStatement(plan.shown_text, parameters, plan.tables),
            transaction=self._transaction,
            part=self._part(final=final),
        )

    def _part(self, *, final: bool) -> Part | None:
        """Which piece of the statement's event the next one is; None for the first."""
        if not self._events or self._first_id is None:
            return None
        return Part(self._events + 1, self._events + 1 if final else 0, self._first_id)

    def _send(self, draft: bytes) -> None:
        event_id = self._writer.append(draft, self.plan.durability, self._who.frame)
        if not self._events:
            self._first_id = event_id
        self._events += 1
        if self.companion_rows and self._handed:
            # Named now; a later chunk has nothing to add to them.
            self.companion_rows = [[] for _ in self.companion_rows]


def _why_unread(problem: UnreadableKeyError) -> str:
    return _TOO_MANY if isinstance(problem, TooManyKeysError) else _CONVERTED

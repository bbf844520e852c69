"""The event: one fact, who did it, to what, whose data it was, and how surely we saw it.

Every type here is frozen, and is its own wire form: `indelible.events.codec` writes and reads
the bytes. `design.md`, "The event", is the specification; ADR 0002 lists what was added.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, Literal, NewType

import msgspec

from indelible.errors import EventError
from indelible.events.values import Id, TypedValue, Value

Timestamp = NewType("Timestamp", str)
"""UTC with microseconds, always 27 characters: `2026-11-23T09:28:04.123456Z`. Sorts as text."""

Kind = Literal["change", "access", "event", "decision", "system"]
Coverage = Literal["exact", "superset", "statement"]


class Outcome(enum.Enum):
    """How it ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


def check_name(what: str, kind: object, id_: object) -> None:
    """Raise `EventError` unless these can name an actor, target or subject as `kind:id`."""
    if type(kind) is not str or not kind or ":" in kind:
        raise EventError(f"expected a {what} kind without ':', got {kind!r}")
    if type(id_) is not str or not id_:
        raise EventError(f"expected a {what} id as non-empty str, got {type(id_).__name__}")


class Actor(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Who did it: `staff:alice`; `on_behalf_of` while acting as somebody else."""

    kind: str
    id: str
    on_behalf_of: Actor | None = None

    def __post_init__(self) -> None:
        check_name("actor", self.kind, self.id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Subject(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whose data it is: `customer:zara`; on the wire `["customer", "zara"]`.

    An `id` of `None` says that the row belongs to some subject of this kind and we couldn't
    tell which one.
    """

    kind: str
    id: str | None

    # Not checked here: a list of 1,000 rows has as many of them, made by us. `explicit_event`
    # checks what people write.

    def __str__(self) -> str:
        return f"{self.kind}:{self.id if self.id is not None else '(unknown)'}"


class Target(msgspec.Struct, frozen=True):
    """One thing acted on, as a person names it: `Target("invoice", "93")`.

    `id` is text, an integer, or a tuple of values for a composite key.
    """

    kind: str
    id: str | int | Id

    def __post_init__(self) -> None:
        check_name("target", self.kind, "tuple" if self.id else str(self.id))

    @property
    def row_id(self) -> Id:
        """The id as an array of values, in primary-key order."""
        return self.id if isinstance(self.id, tuple) else (self.id,)


class TargetRows(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Rows of one kind that an event acted on, and how surely these are the ones.

    `ids` are arrays of values in primary-key order; `ids_before` stands beside a changed key
    (same length and order as `ids`). `columns` are those seen. With `coverage` other than
    `exact`, `why` says what couldn't be seen: `superset` names at least the rows acted on,
    `statement` may name none. `keyless` names the stand-in where the table has no key
    (`rowid`). `possible_subjects` are those of an inexact target.
    """

    kind: str
    ids: tuple[Id, ...] = ()
    ids_before: tuple[Id, ...] = ()
    columns: tuple[str, ...] = ()
    coverage: Coverage = "exact"
    why: str | None = None
    keyless: str | None = None
    possible_subjects: tuple[Subject, ...] = ()


class Producer(msgspec.Struct, frozen=True, gc=False):
    """Where the event stands in its source: that never changes, however often it is delivered.

    `id` is the source: a database's incarnation (written by `install`) or a process's journal,
    random. `epoch` is when this run of it started, in microseconds since 1970. `seq` counts
    from 1: the outbox id, or the number in the journal.
    """

    id: str
    epoch: int
    seq: int


class Statement(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The SQL that did it, literals replaced by placeholders.

    `tables` are those read or consulted (tested without a value being handed out).
    """

    text: str
    parameters: tuple[Value, ...] | None = None
    tables: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`[n, of, first id]`: the n-th piece (from 1) of an event; `of` is 0 until it is known."""

    n: int
    of: int
    first: str


RESTORED: Final = "table.restored"
"""Of the `system` entry that ends a table's baseline after a restore; see `BaselineRows`."""
INCARNATION_OPENED: Final = "incarnation.opened"
"""Of the notice that a database was put back to a backup."""


class BaselineRows(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows as they stood at one position of their database: their column names and values.

    The changes of `incarnation` at positions up to `position` came before, all later ones after.
    `rows` stand in the order of the target's `ids`; both columns and rows are empty where policy
    keeps keys only. `epoch` is that of the position, where more than the first is possible. In a
    `table.restored` entry there are no rows: all that were there at the position are in the
    baselines of the same epoch from it on, and no others.
    """

    incarnation: str
    position: int
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Value, ...], ...] = ()
    epoch: int | None = None


Change = tuple[Value, Value]
"""One column, before and after."""

ContextValue = str | TypedValue
"""A circumstance; typed where it was sealed for the actor, or couldn't be."""

NO_PRODUCER: Final = Producer("", 0, 0)
"""Of an event that has no place in a source yet."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One fact. Field order is wire order; fields at their default aren't written.

    `id` is `<producer id>.<epoch>.<seq>`, with `.<n>` for the n-th part from the second on.
    `fragment` is this part's slice of the JSON text of the fields that were cut (`codec.split`).
    """

    v: int = 0  # always written as 1; see codec.HEADER
    id: str = ""
    time: Timestamp = Timestamp("")
    producer: Producer = NO_PRODUCER
    action: str
    kind: Kind
    outcome: Outcome = Outcome.SUCCESS
    actor: Actor | None = None
    targets: tuple[TargetRows, ...] = ()
    subjects: tuple[Subject, ...] = ()
    changes: dict[str, Change] | None = None
    baseline: BaselineRows | None = None
    reason: str | None = None
    context: Mapping[str, ContextValue] | None = None
    statement: Statement | None = None
    transaction: str | None = None
    decision: dict[str, str] | None = None
    database_role: str | None = None
    reverses: tuple[str, ...] = ()
    part: Part | None = None
    fragment: str | None = None
    details: dict[str, Value] | None = None

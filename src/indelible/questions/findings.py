"""Findings: what answers are made of, as frozen values; a table or a page makes text of them.

A finding that isn't `certain` is *possible*, and `why` says what couldn't be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from indelible.events.model import Actor, Event, TargetRows, Timestamp
from indelible.events.values import Id, format_id
from indelible.questions.decisions import Ruling
from indelible.questions.fold import RowState
from indelible.tlog import Index

Resolution = Literal["exact", "day"]
"""`day`: retention kept no more than on which days (UTC) it was; `first` and `last` are theirs,
and counts are of days."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `indexes` are its entries: more than one where it was cut into parts.

    `committed` is None except for an event that was made inside of a transaction: True when the
    trail has something that only a commit lets out, False when nothing of it is known. `rulings`
    are the decisions that cover what it touched; a decision's own event has its own.
    """

    event: Event
    indexes: tuple[Index, ...]
    received: Timestamp
    certain: bool = True
    why: str | None = None
    committed: bool | None = None
    rulings: tuple[Ruling, ...] = ()

    @property
    def index(self) -> Index:
        return self.indexes[0]

    @property
    def time(self) -> Timestamp:
        return self.event.time

    @property
    def target_text(self) -> str:
        """The things acted on, as a person names them: `invoice:93`, `customer:(some)`."""
        decided = self.event.kind == "decision"
        return ", ".join(
            name for target in self.event.targets for name in target_names(target, decided=decided)
        )

    @property
    def decision_text(self) -> str:
        """Under which decisions, as a person reads them."""
        return "; ".join(ruling.text for ruling in self.rulings)

    @property
    def subject_text(self) -> str:
        """Whose data it was: `customer:zara, customer:(unknown)`."""
        return ", ".join(str(subject) for subject in self.event.subjects)


class AccessFinding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record that an actor read or changed, over the whole window.

    `id` is None for records of `kind` that couldn't be told one from another. `reads` and
    `changes` count events; `indexes` are the entries of the first and the last of them. By day it
    is whose data it was, not which record.
    """

    kind: str
    id: Id | None
    first: Timestamp
    last: Timestamp
    reads: int
    changes: int
    indexes: tuple[Index, ...]
    resolution: Resolution = "exact"
    certain: bool = True
    why: str | None = None

    @property
    def count(self) -> int:
        return self.reads + self.changes

    @property
    def target_text(self) -> str:
        return f"{self.kind}:{'(some)' if self.id is None else format_id(self.id)}"

    @property
    def deed(self) -> str:
        return describe_deed(self.reads, self.changes)


class AccessorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One actor who accessed a subject's data, over the whole window.

    `actor` is None for what nobody could be named for; `database_role` then says what the database
    knew. With `through`, it was done in the actor's name by that other actor. `reads` and `changes`
    count events; `indexes` are the entries of the first and the last of them.
    """

    actor: Actor | None
    through: Actor | None = None
    database_role: str | None = None
    first: Timestamp
    last: Timestamp
    reads: int
    changes: int
    indexes: tuple[Index, ...]
    resolution: Resolution = "exact"
    certain: bool = True
    why: str | None = None

    @property
    def count(self) -> int:
        return self.reads + self.changes

    @property
    def deed(self) -> str:
        return describe_deed(self.reads, self.changes)


class SessionFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions of one role, program and address that may have read what was asked for.

    Between `first` and `last` they may have been connected, in `spans` of time; `is_open` says
    that some were when they were last seen. `sessions` is how many there were, None where nobody
    knows. Without a role it stands for sessions that weren't seen at all.
    """

    role: str | None = None
    program: str | None = None
    address: str | None = None
    first: Timestamp
    last: Timestamp
    spans: int
    sessions: int | None
    is_open: bool = False
    indexes: tuple[Index, ...]
    certain: bool = False
    why: str

    @property
    def client_text(self) -> str:
        """Who it was, as far as the server told."""
        if self.role is None:
            return "(not seen)"
        program = f" {self.program}" if self.program else ""
        return f"{self.role}{program} from {self.address or '(unknown)'}"


class StateFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a row was. Possible only where something not seen exactly may have changed it."""

    state: RowState
    indexes: tuple[Index, ...]
    certain: bool = True
    why: str | None = None


def describe_deed(reads: int, changes: int) -> str:
    """`read`, `changed` or `read and changed`."""
    if reads and changes:
        return "read and changed"
    return "changed" if changes else "read"


def target_names(target: TargetRows, *, decided: bool = False) -> Iterable[str]:
    """The rows of one target by their names; a decision without rows is about any of that kind."""
    if not target.ids:
        nameless = "(any)" if decided else "(none)" if target.coverage == "exact" else "(some)"
        return (f"{target.kind}:{nameless}",)
    return (f"{target.kind}:{format_id(row_id)}" for row_id in target.ids)

"""The change of one row, and its place in the order in which its database made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from indelible.events.model import Actor, Change, Event, Outcome, Timestamp
from indelible.events.values import Id

Verb = Literal["insert", "update", "delete"]
_VERBS: Final[dict[str, Verb]] = {"insert": "insert", "update": "update", "delete": "delete"}


class HasKind(Protocol):
    """A target, or a view of one."""

    @property
    def kind(self) -> str: ...


class Position(NamedTuple):
    """Where a database made a change: later changes compare greater.

    Incarnations of a database (it starts another when it was restored from a backup) follow each
    other by the time at which they were opened. Never the trail's index: entries arrive late.
    """

    epoch: int
    incarnation: str
    seq: int


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """One row inserted, updated or deleted, with its columns before and after.

    `id_before` differs from `id` where the key itself was changed; else they are the same.
    """

    position: Position
    verb: Verb
    kind: str
    id: Id
    id_before: Id
    columns: dict[str, Change]
    actor: Actor | None
    time: Timestamp
    event: str
    index: int
    reverses: tuple[str, ...] = ()
    keyless: str | None = None


def row_change_of(event: Event, index: int) -> RowChange | None:
    """The row change that `event` (whole, not a part) states; None where it states none.

    That takes one row, seen exactly, with values: a write as the database's triggers captured it.
    An explicit event of kind `change` that names neither is no row change.
    """
    if event.kind != "change" or event.changes is None or event.outcome is not Outcome.SUCCESS:
        return None
    if not is_captured(event.action, event.targets):
        return None
    target = event.targets[0]
    if target.coverage != "exact" or len(target.ids) != 1:
        return None
    verb = event.action.rpartition(".")[2]
    producer = event.producer
    return RowChange(
        position=Position(producer.epoch, producer.id, producer.seq),
        verb=_VERBS[verb],
        kind=target.kind,
        id=target.ids[0],
        id_before=target.ids_before[0] if target.ids_before else target.ids[0],
        columns=event.changes,
        actor=event.actor,
        time=event.time,
        event=event.id,
        index=index,
        reverses=event.reverses,
        keyless=target.keyless,
    )


def is_captured(action: str, targets: Sequence[HasKind]) -> bool:
    """Whether a change of this action is named as triggers name theirs: `<kind>.update`."""
    noun, _, verb = action.rpartition(".")
    return verb in _VERBS and len(targets) == 1 and targets[0].kind == noun

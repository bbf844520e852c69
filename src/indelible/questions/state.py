"""What one target was at a moment, folded from everything that its database ever said of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from indelible.events.model import Kind, Target, Timestamp
from indelible.events.values import Id, format_id
from indelible.questions.answer import Answer
from indelible.questions.events import row_terms
from indelible.questions.findings import StateFinding
from indelible.questions.fold import BaselineChunk, baseline_of, fold
from indelible.questions.judging import concerns_target
from indelible.questions.reading import read_events
from indelible.questions.restores import Restore, read_restores
from indelible.questions.row_change import RowChange, row_change_of
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.store.terms import inexact_term
from indelible.tlog import Index

_NOT_WHOLE: Final = (
    "its database was restored from a backup, and what it held then isn't written down yet"
)
_ALIKE: Final = "its table has no key, and rows of equal values can't be told apart"
_KINDS: Final[frozenset[Kind]] = frozenset({"change", "system"})


def state(
    reader: TrailReader, *, target: Target, at: Timestamp | None = None
) -> Answer[StateFinding]:
    """What `target` was at `at`: after all that happened before that instant; None is now.

    One finding for each row of that name (rows 42 and "42" share one), present or deleted; none
    where the trail has nothing of it by then. Rows whose key was changed are followed back. The
    finding is possible where a change of its kind that wasn't seen exactly, or one of doubtful
    time, may have touched it. Reads what there is of the row, not of its table.
    """
    size = reader.size

    def find() -> Iterator[StateFinding]:
        sought = format_id(target.row_id)
        history = _gather(reader, target.kind, target.row_id, at, size)
        rows = fold(history.baselines.values(), history.changes.values(), at=at)
        for row_id, row in rows.items():
            if format_id(row_id) == sought:
                yield StateFinding(
                    state=row,
                    indexes=(Index(row.index),),
                    certain=history.doubt is None,
                    why=history.doubt,
                )

    def is_known() -> bool:
        history = _gather(reader, target.kind, target.row_id, None, size)
        return bool(history.baselines or history.changes)

    return Answer(reader, searched=Window(None, at), size=size, find=find, is_known=is_known)


class _History:
    """What was found of a row and of those that it got its key from."""

    def __init__(self) -> None:
        self.baselines: dict[tuple[str, str], BaselineChunk] = {}
        self.changes: dict[str, RowChange] = {}
        self.doubt: str | None = None

    def is_whole_since(self, restore: Restore) -> bool:
        """Whether the baseline after `restore` is there, so that all is known again."""
        return any(
            chunk.is_whole
            and chunk.incarnation == restore.incarnation
            and chunk.epoch is not None
            and chunk.epoch >= restore.epoch
            for chunk in self.baselines.values()
        )


def _gather(
    reader: TrailReader, kind: str, row_id: Id, at: Timestamp | None, size: int
) -> _History:
    history = _History()
    names: set[str] = set()
    waiting = [row_id]
    while waiting:
        row_id = waiting.pop()
        name = format_id(row_id)
        if name in names:
            continue
        names.add(name)
        terms = row_terms(kind, row_id)
        if len(names) == 1:
            terms.append(inexact_term(kind))
        window = Window(None, at)
        for seen in read_events(reader, terms, window, size=size, kinds=_KINDS):
            change = row_change_of(seen.event, seen.indexes[0])
            chunk = baseline_of(seen.event, seen.indexes[0])
            found, why = concerns_target(seen.event, Target(kind, row_id))
            if not found:
                continue
            if chunk is not None:
                history.baselines[chunk.event, name] = only_rows(chunk, {name})
            elif change is not None:
                history.changes[change.event] = change
                waiting.append(change.id_before)
            if seen.event.kind == "change":
                history.doubt = history.doubt or why or seen.doubt
            if any(rows.keyless == "values" for rows in seen.event.targets):
                history.doubt = history.doubt or _ALIKE
    restores = read_restores(reader, Window(None, at), size=size) if history.changes else ()
    for restore in restores:
        if not history.is_whole_since(restore):
            taken_back = any(restore.took_back(one.position) for one in history.changes.values())
            history.doubt = history.doubt or (_NOT_WHOLE if taken_back else None)
    return history


def only_rows(chunk: BaselineChunk, names: Collection[str]) -> BaselineChunk:
    """The chunk with no other rows than those of these names (`format_id`)."""
    kept = [n for n, row_id in enumerate(chunk.ids) if format_id(row_id) in names]
    return msgspec.structs.replace(
        chunk,
        ids=tuple(chunk.ids[n] for n in kept),
        rows=tuple(chunk.rows[n] for n in kept) if chunk.rows else (),
    )

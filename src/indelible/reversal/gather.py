"""From the trail to what a plan is made of: an actor's changes and all later ones of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice

import msgspec

from indelible.events.model import Actor, Timestamp
from indelible.events.values import ERASED, TOKEN, Id, TypedValue
from indelible.questions.events import CHANGES, changes
from indelible.questions.findings import Finding
from indelible.questions.reading import read_events
from indelible.questions.restores import is_taken_back, read_restores
from indelible.questions.row_change import RowChange, row_change_of
from indelible.questions.window import Window
from indelible.reversal.plan import Selection
from indelible.reversal.steps import Unplanned
from indelible.store.protocol import TrailReader
from indelible.store.terms import row_term

_ROWS_A_SEARCH = 500


def select_changes(
    reader: TrailReader, *, by: Actor, window: Window, also_as: bool = False
) -> Selection:
    """What `by` changed in the window, to be reversed.

    Changes that are only possibly theirs, or that state no row and values, are `unplanned`.
    """
    selected: dict[str, RowChange] = {}
    unplanned = []
    for finding in changes(reader, by=by, window=window, also_as=also_as):
        change = row_change_of(finding.event, finding.index)
        if change is None or not finding.certain:
            unplanned.append(_unplanned(finding))
        elif (gone := _why_nameless(change)) is not None:
            unplanned.append(msgspec.structs.replace(_unplanned(finding), why=gone))
        else:
            selected[change.event] = change
    return _without_taken_back(reader, selected, _with_later(reader, selected.values()), unplanned)


def refresh_selection(
    reader: TrailReader, selection: Selection, pending: Iterable[RowChange]
) -> Selection:
    """The same selected changes, with everything that the trail and the outbox know by now.

    `pending` are the changes that wait in the outbox. Called under the database's write lock, after
    which nothing can be added, no change is missed: what has left the outbox is in the trail.
    """
    own = (change for change in selection.changes if change.event in selection.selected)
    selected = {change.event: change for change in (*own, *selection.taken_back)}
    known = {change.event: change for change in _with_later(reader, selected.values())}
    known.update((change.event, change) for change in pending)
    return _without_taken_back(reader, selected, known.values(), selection.unplanned)


def _without_taken_back(
    reader: TrailReader,
    selected: Mapping[str, RowChange],
    changes: Iterable[RowChange],
    unplanned: Sequence[Unplanned],
) -> Selection:
    """What a restored backup took back isn't in the database: it is in nobody's way."""
    restores = read_restores(reader, Window(), size=reader.size)
    gone = {
        event: change
        for event, change in selected.items()
        if is_taken_back(restores, change.position)
    }
    return Selection(
        changes=tuple(one for one in changes if not is_taken_back(restores, one.position)),
        selected=frozenset(selected.keys() - gone.keys()),
        unplanned=tuple(unplanned),
        taken_back=tuple(gone.values()),
    )


def _with_later(reader: TrailReader, selected: Iterable[RowChange]) -> Iterable[RowChange]:
    """`selected`, and every change of the same rows since, followed through changed keys."""
    known = {change.event: change for change in selected}
    if not known:
        return ()
    since = min(change.time for change in known.values())
    asked: set[tuple[str, Id]] = set()
    waiting = {row for change in known.values() for row in _rows_of(change)}
    while waiting:
        asked |= waiting
        found: set[tuple[str, Id]] = set()
        indexes = {change.index for change in known.values()}
        for change in _changes_of(reader, iter(waiting), since, indexes):
            known[change.event] = change
            found.update(_rows_of(change))
        waiting = found - asked
    return known.values()


def _changes_of(
    reader: TrailReader, rows: Iterator[tuple[str, Id]], since: Timestamp, known: Set[int]
) -> Iterator[RowChange]:
    """The changes of `rows` from `since` on that don't stand at one of the `known` indexes."""
    while some := list(islice(rows, _ROWS_A_SEARCH)):
        wanted = set(some)
        terms = [row_term(kind, row_id, changes=True) for kind, row_id in some]
        window = Window(since, None)
        for seen in read_events(
            reader, terms, window, size=reader.size, kinds=CHANGES, known=known
        ):
            change = row_change_of(seen.event, seen.indexes[0])
            if change is not None and wanted.intersection(_rows_of(change)):
                yield change


def _rows_of(change: RowChange) -> tuple[tuple[str, Id], tuple[str, Id]]:
    return (change.kind, change.id), (change.kind, change.id_before)


def _why_nameless(change: RowChange) -> str | None:
    """Why which row it was can't be told any more; None where it can."""
    marks = {value.t for value in (*change.id, *change.id_before) if isinstance(value, TypedValue)}
    if ERASED.t in marks:
        return "who its key names was lawfully erased"
    return "its key is a token that the keystore doesn't know" if TOKEN in marks else None


def _unplanned(finding: Finding) -> Unplanned:
    return Unplanned(
        event=finding.event.id,
        time=finding.time,
        action=finding.event.action,
        why=finding.why or "it doesn't state one row and its values",
    )

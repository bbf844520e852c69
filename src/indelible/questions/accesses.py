"""The records that an actor read or changed: one finding a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from indelible.events.model import Actor
from indelible.events.values import Id
from indelible.questions.answer import Answer
from indelible.questions.commits import Commits, doubt_of_view
from indelible.questions.events import actor_terms, knower
from indelible.questions.findings import AccessFinding
from indelible.questions.judging import coverage_doubt, is_by, is_done
from indelible.questions.reading import (
    RecordsView,
    is_in_window,
    is_repeated,
    search_window,
    view_records,
)
from indelible.questions.tally import MAX_KEYS, Line, Tally
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader


class _Record(NamedTuple):
    """What findings are told apart by."""

    certain: bool
    kind: str
    id: Id | None


def accesses(
    reader: TrailReader,
    *,
    by: Actor,
    window: Window,
    also_as: bool = False,
    max_keys: int = MAX_KEYS,
) -> Answer[AccessFinding]:
    """Every record that `by` read or changed in the window, one finding a record.

    By time of the first access, then by index, then by kind and id. A record that was certainly
    and also possibly accessed has a finding in both sets. With `also_as` accesses that others made
    on behalf of `by` count too. More than `max_keys` records are told apart in a temporary file.
    """
    size = reader.size
    terms = actor_terms(by, also_as=also_as)

    def find() -> Iterator[AccessFinding]:
        commits = Commits(reader)
        with Tally(_Record, max_keys) as tally:
            for entry in search_window(reader, terms, window, size=size):
                view = view_records(entry.body)
                if (
                    view.kind in ("access", "change")
                    and is_in_window(entry, view.time, window)
                    and is_by(view.actor, by, also_as=also_as)
                    and is_done(view.outcome)
                    and not is_repeated(view.part)
                ):
                    doubt = doubt_of_view(entry, view, commits)
                    _count(tally, entry, view, doubt)
            for line in tally.lines():
                yield _finding(line)

    return Answer(
        reader,
        searched=window,
        size=size,
        find=find,
        is_known=knower(reader, by, also_as=also_as),
    )


def _count(tally: Tally[_Record], entry: StoredEntry, view: RecordsView, doubt: str | None) -> None:
    changed = view.kind == "change"
    for rows in view.targets:
        why = doubt or coverage_doubt((rows,))
        certain = why is None
        if rows.coverage == "statement" or (rows.coverage == "superset" and not rows.ids):
            key = _Record(False, rows.kind, None)
            tally.add(key, view.time, entry.index, changed=changed, why=why)
        for row_id in dict.fromkeys((*rows.ids, *rows.ids_before)) if rows.ids_before else rows.ids:
            key = _Record(certain, rows.kind, row_id)
            tally.add(key, view.time, entry.index, changed=changed, why=why)


def _finding(line: Line[_Record]) -> AccessFinding:
    return AccessFinding(
        kind=line.key.kind,
        id=line.key.id,
        first=line.first,
        last=line.last,
        reads=line.reads,
        changes=line.changes,
        indexes=line.indexes,
        certain=line.key.certain,
        why=line.why,
    )

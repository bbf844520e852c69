"""The records that an actor read or changed: one finding a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import msgspec

from indelible.events.model import Actor
from indelible.events.values import Id
from indelible.questions.answer import Answer
from indelible.questions.commits import Commits, doubt_of_view
from indelible.questions.daily import Day, daily_accesses
from indelible.questions.events import ACCESSES, actor_terms, knower
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

_Record = tuple[bool, str, Id | None, bool]
"""What findings are told apart by: certain, kind, id, whether it is known by day only."""
_decoder: Final[msgspec.json.Decoder[_Record]] = msgspec.json.Decoder(_Record)


def accesses(
    reader: TrailReader,
    *,
    by: Actor,
    window: Window,
    also_as: bool = False,
    max_keys: int = MAX_KEYS,
) -> Answer[AccessFinding]:
    """Every record that `by` read or changed in the window, one finding a record.

    By time of the first access, then in the order of its entry. A record that was certainly
    and also possibly accessed has a finding in both sets. With `also_as` accesses that others made
    on behalf of `by` count too. Of what retention left of accesses, which are days, there are
    findings of their own. More than `max_keys` records are told apart in a temporary file.
    """
    size = reader.size
    names = reader.names
    if names is not None:
        by = names.actor(by)
    terms = actor_terms(by, ACCESSES, also_as=also_as)

    def found() -> Iterator[tuple[StoredEntry, RecordsView]]:
        for entry in search_window(reader, terms, window, size=size):
            view = view_records(entry.body, names)
            if (
                view.kind in ("access", "change")
                and is_in_window(entry, view.time, window)
                and is_by(view.actor, by, also_as=also_as)
                and is_done(view.outcome)
            ):
                yield entry, view

    def find() -> Iterator[AccessFinding]:
        commits = Commits(reader)
        with Tally(_decoder, max_keys) as tally:
            for entry, view in found():
                if not is_repeated(view):
                    _count(tally, entry, view, doubt_of_view(entry, view, commits))
            for day in days():
                _count_day(tally, day)
            for line in tally.lines():
                yield _finding(line)

    def days() -> Iterator[Day]:
        for day in daily_accesses(reader, terms, window, size=size):
            if is_by(day.event.actor, by, also_as=also_as) and is_done(day.event.outcome):
                yield day

    return Answer(
        reader,
        searched=window,
        size=size,
        find=find,
        is_known=knower(reader, by, also_as=also_as),
        find_entries=lambda: chain(
            (entry.index for entry, _ in found()), (day.entry.index for day in days())
        ),
    )


def _count(tally: Tally[_Record], entry: StoredEntry, view: RecordsView, doubt: str | None) -> None:
    changed = view.kind == "change"
    for rows in view.targets:
        kind = rows.kind
        why = doubt if rows.coverage == "exact" else doubt or coverage_doubt((rows,))
        ids: Iterable[Id | None] = rows.ids
        if rows.ids_before:
            ids = dict.fromkeys((*rows.ids, *rows.ids_before))
        elif rows.coverage != "exact" and (rows.coverage == "statement" or not rows.ids):
            ids = (None, *rows.ids)
        certain = why is None
        keys = [(certain, kind, row_id, False) for row_id in ids]
        tally.add(keys, view.time, entry.index, changed=changed, why=why)


def _count_day(tally: Tally[_Record], day: Day) -> None:
    """Whose data it was, and of which kinds rows that belong to nobody."""
    named: list[tuple[str, Id | None, str | None]] = [
        (each.kind, None if each.id is None else (each.id,), day.doubt)
        for each in day.event.subjects
    ]
    told = {each.kind for each in day.event.subjects}
    for rows in day.event.targets:
        if rows.coverage == "exact" and rows.kind in told:
            continue
        why = day.doubt or coverage_doubt((rows,))
        named.append((rows.kind, None, why))
        named += [
            (each.kind, None if each.id is None else (each.id,), why)
            for each in rows.possible_subjects
        ]
    for kind, row_id, why in named:
        key = (why is None, kind, row_id, True)
        tally.add([key], day.time, day.entry.index, changed=False, why=why)


def _finding(line: Line[_Record]) -> AccessFinding:
    certain, kind, row_id, by_day = line.key
    return AccessFinding(
        kind=kind,
        id=row_id,
        first=line.first[0],
        last=line.last[0],
        reads=line.reads,
        changes=line.changes,
        indexes=line.indexes,
        resolution="day" if by_day else "exact",
        certain=certain,
        why=line.why,
    )

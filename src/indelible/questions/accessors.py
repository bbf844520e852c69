"""Who read or changed a subject's data: one finding an actor."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from indelible.events.model import Actor, Subject
from indelible.questions.answer import Answer
from indelible.questions.commits import Commits, doubt_of_view
from indelible.questions.daily import Day, daily_accesses
from indelible.questions.events import row_terms
from indelible.questions.findings import AccessorFinding
from indelible.questions.judging import concerns_subject, coverage_doubt, has_row, is_done
from indelible.questions.reading import (
    SubjectsView,
    is_in_window,
    is_repeated,
    search_window,
    view_records,
    view_subjects,
)
from indelible.questions.tally import MAX_KEYS, Line, Tally
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.store.terms import inexact_term, subject_term


class _Accessor(NamedTuple):
    """What findings are told apart by: names as (kind, id)."""

    certain: bool
    actor: tuple[str, str] | None
    through: tuple[str, str] | None
    database_role: str | None
    by_day: bool = False


_decoder: Final[msgspec.json.Decoder[_Accessor]] = msgspec.json.Decoder(_Accessor)


def accessors(
    reader: TrailReader,
    *,
    of: Subject,
    window: Window,
    kinds: Collection[str] = (),
    also_as: bool = False,
    max_keys: int = MAX_KEYS,
) -> Answer[AccessorFinding]:
    """Everybody who read or changed `of`'s data in the window, one finding an actor.

    By time of the first access, then by index. `kinds` are those of the tables whose rows belong
    to subjects of this kind (the policy knows them): what touched such a table without being seen
    exactly is possible. The row `of.kind:of.id` itself counts as `of`'s data. With `also_as`,
    somebody on whose behalf another acted has a finding too, with `through`. Of what retention left
    of accesses, which are days, there are findings of their own.
    """
    size = reader.size
    of = named_subject(reader, of)
    kinds = frozenset(kinds)

    def find() -> Iterator[AccessorFinding]:
        with Tally(_decoder, max_keys) as tally:
            for entry, view, why in touching(reader, of=of, window=window, kinds=kinds, size=size):
                keys = _keys(view.actor, view.database_role, why is None, also_as)
                changed = view.kind == "change"
                tally.add(keys, view.time, entry.index, changed=changed, why=why)
            for day, doubt in days(window):
                why = day.doubt or doubt
                event = day.event
                keys = _keys(event.actor, event.database_role, why is None, also_as, by_day=True)
                tally.add(keys, day.time, day.entry.index, changed=False, why=why)
            for line in tally.lines():
                yield _finding(line)

    def days(window: Window) -> Iterator[tuple[Day, str | None]]:
        for day in daily_accesses(reader, _terms(of, kinds), window, size=size):
            event = day.event
            is_of, why = concerns_subject(event.subjects, event.targets, of, kinds)
            if is_of and is_done(event.outcome):
                yield day, why

    def is_known() -> bool:
        return any(
            _judge(reader, entry, view_subjects(entry.body, reader.names), of, kinds)
            == (True, None)
            for entry in search_window(reader, _sure_terms(of), Window(), size=size)
        ) or any(why is None for _, why in days(Window()))

    return Answer(
        reader,
        searched=window,
        size=size,
        find=find,
        is_known=is_known,
        find_entries=lambda: chain(
            (entry.index for entry, _, _ in _found(reader, of, window, kinds, size)),
            (day.entry.index for day, _ in days(window)),
        ),
    )


def named_subject(reader: TrailReader, of: Subject) -> Subject:
    """`of` by name, also where a token was asked for; by `erased:TOKEN` who was erased."""
    names = reader.names
    return of if names is None else names.subjects((of,))[0]


def touching(
    reader: TrailReader, *, of: Subject, window: Window, kinds: Collection[str], size: int
) -> Iterator[tuple[StoredEntry, SubjectsView, str | None]]:
    """Each access and change that `accessors` counts, once, and why it is only possible or None.

    `of` is by name (`named_subject`). Of an event that was cut into parts the entry is that of the
    first.
    """
    commits = Commits(reader)
    for entry, view, doubt in _found(reader, of, window, frozenset(kinds), size):
        if not is_repeated(view):
            yield entry, view, doubt_of_view(entry, view, commits) or doubt


def _found(
    reader: TrailReader, of: Subject, window: Window, kinds: frozenset[str], size: int
) -> Iterator[tuple[StoredEntry, SubjectsView, str | None]]:
    for entry in search_window(reader, _terms(of, kinds), window, size=size):
        view = view_subjects(entry.body, reader.names)
        if (
            view.kind in ("access", "change")
            and is_in_window(entry, view.time, window)
            and is_done(view.outcome)
        ):
            is_of, why = _judge(reader, entry, view, of, kinds)
            if is_of:
                yield entry, view, why


def _terms(of: Subject, kinds: frozenset[str]) -> list[bytes]:
    unknown = subject_term(Subject(of.kind, None))
    return [*_sure_terms(of), unknown, *map(inexact_term, sorted(kinds | {of.kind}))]


def _sure_terms(of: Subject) -> list[bytes]:
    own_row = [] if of.id is None else row_terms(of.kind, (of.id,))
    return [subject_term(of), *own_row]


def _judge(
    reader: TrailReader,
    entry: StoredEntry,
    view: SubjectsView,
    of: Subject,
    kinds: frozenset[str],
) -> tuple[bool, str | None]:
    found, why = concerns_subject(view.subjects, view.targets, of, kinds)
    if found and why is None:
        return True, None
    if of.id is not None and any(rows.kind == of.kind for rows in view.targets):
        for rows in view_records(entry.body, reader.names).targets:
            if rows.kind == of.kind and (
                has_row(rows.ids, of.id) or has_row(rows.ids_before, of.id)
            ):
                return True, coverage_doubt((rows,))
    return found, why


def _keys(
    actor: Actor | None, role: str | None, certain: bool, also_as: bool, *, by_day: bool = False
) -> Iterator[_Accessor]:
    if actor is None:
        yield _Accessor(certain, None, None, role, by_day)
        return
    through = (actor.kind, actor.id)
    yield _Accessor(certain, through, None, None, by_day)
    while also_as and actor.on_behalf_of is not None:
        actor = actor.on_behalf_of
        yield _Accessor(certain, (actor.kind, actor.id), through, None, by_day)


def _finding(line: Line[_Accessor]) -> AccessorFinding:
    key = line.key
    return AccessorFinding(
        actor=None if key.actor is None else Actor(*key.actor),
        through=None if key.through is None else Actor(*key.through),
        database_role=key.database_role,
        first=line.first[0],
        last=line.last[0],
        reads=line.reads,
        changes=line.changes,
        indexes=line.indexes,
        resolution="day" if key.by_day else "exact",
        certain=key.certain,
        why=line.why,
    )

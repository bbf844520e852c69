"""Questions whose findings are events: `changes`, `events`, `access_events`, `history`.

Findings stand in the order of the trail (its index), which for one source is the order in which it
made them; `newest_first` turns that round. Times may differ from it by what delivery took.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from indelible.errors import QueryError
from indelible.events.model import INCARNATION_OPENED, RESTORED, Actor, Event, Kind, Target
from indelible.events.values import Id, format_id
from indelible.questions.answer import Answer
from indelible.questions.commits import Commits
from indelible.questions.decisions import Decisions, Ruling, ruling_of
from indelible.questions.findings import Finding
from indelible.questions.judging import (
    NOT_COMMITTED,
    concerns_target,
    coverage_doubt,
    has_row,
    is_by,
    is_done,
    outcome_doubt,
)
from indelible.questions.reading import KINDS, Seen, read_events
from indelible.questions.restores import restore_of
from indelible.questions.row_change import Position, row_change_of
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.store.terms import (
    action_term,
    actor_term,
    inexact_term,
    noun_term,
    on_behalf_of_term,
    row_term,
)

EXPLICIT: Final[frozenset[Kind]] = frozenset({"event", "decision", "system"})
"""What an application says, and what the trail says of itself: the rest is captured."""

CHANGES: Final[frozenset[Kind]] = frozenset({"change"})
ACCESSES: Final[frozenset[Kind]] = frozenset({"access", "change"})

Judge = Callable[[Event], tuple[bool, str | None]]


def changes(
    reader: TrailReader,
    *,
    by: Actor,
    window: Window,
    also_as: bool = False,
    newest_first: bool = False,
) -> Answer[Finding]:
    """Every change that `by` made in the window: one finding an event, for captured writes a row.

    With `also_as` those that others made on behalf of `by` too. Denied ones are none; failed ones,
    and explicit ones in a transaction that isn't known to have committed, are possible.
    """

    def judge(event: Event) -> tuple[bool, str | None]:
        found = is_by(event.actor, by, also_as=also_as) and is_done(event.outcome)
        return found, outcome_doubt(event.outcome) or coverage_doubt(event.targets)

    terms = actor_terms(by, CHANGES, also_as=also_as)
    search = _Search(terms, CHANGES, window, newest_first)
    return _answer(reader, search, judge, knower(reader, by, also_as=also_as))


def access_events(
    reader: TrailReader,
    *,
    by: Actor,
    window: Window,
    also_as: bool = False,
    newest_first: bool = False,
) -> Answer[Finding]:
    """Every event by which `by` read or changed records in the window: `accesses`, undigested.

    Reads that returned no row are there too.
    """

    def judge(event: Event) -> tuple[bool, str | None]:
        found = is_by(event.actor, by, also_as=also_as) and is_done(event.outcome)
        return found, outcome_doubt(event.outcome) or coverage_doubt(event.targets)

    terms = actor_terms(by, ACCESSES, also_as=also_as)
    search = _Search(terms, ACCESSES, window, newest_first)
    return _answer(reader, search, judge, knower(reader, by, also_as=also_as))


def events(
    reader: TrailReader,
    *,
    window: Window,
    by: Actor | None = None,
    action: str | None = None,
    kinds: frozenset[Kind] = EXPLICIT,
    also_as: bool = False,
    newest_first: bool = False,
) -> Answer[Finding]:
    """Events of these kinds in the window, of any outcome, by `by` and of `action` where named.

    `action` is one action, or all of a noun's (`user.*`). Raises `QueryError` for any other
    pattern. Without `by`, captured kinds are found by reading every event of the window.
    """
    prefix = None
    if action is not None and "*" in action:
        prefix = action.removesuffix("*")
        if "*" in prefix or not prefix.endswith(".") or prefix == ".":
            raise QueryError(
                f'expected an action like "user.logged_in" or "user.*", got {action!r}'
            )

    def judge(event: Event) -> tuple[bool, str | None]:
        found = (by is None or is_by(event.actor, by, also_as=also_as)) and (
            event.action.startswith(prefix)
            if prefix is not None
            else action in (None, event.action)
        )
        return found, None

    terms: Sequence[bytes] = ()
    if by is not None:
        terms = actor_terms(by, kinds, also_as=also_as)
    elif action is not None and kinds <= EXPLICIT:
        noun = action.partition(".")[0]
        terms = [action_term(action) if prefix is None else noun_term(noun)]
    is_known = (lambda: True) if by is None else knower(reader, by, also_as=also_as)
    return _answer(reader, _Search(terms, kinds, window, newest_first), judge, is_known)


def history(
    reader: TrailReader, *, target: Target, window: Window, newest_first: bool = False
) -> Answer[Finding]:
    """Everything that was done to `target` in the window, reads included, by anybody.

    So is the restore of a backup that took back changes of it.
    Possible are events that touched rows of its kind and couldn't tell which.
    """

    @functools.cache
    def positions() -> tuple[Position, ...]:
        seen = read_events(reader, rows[:1], Window(), size=size, kinds=CHANGES)
        changes = (row_change_of(each.event, each.indexes[0]) for each in seen)
        name = format_id(target.row_id)
        return tuple(
            one.position
            for one in changes
            if one and one.kind == target.kind and has_row((one.id, one.id_before), name)
        )

    def judge(event: Event) -> tuple[bool, str | None]:
        if event.kind == "system" and event.action == RESTORED:
            return False, None  # ends the baseline of a table: of this row it says nothing
        restore = restore_of(event)
        if restore is not None:
            return any(map(restore.took_back, positions())), None
        found, why = concerns_target(event, target)
        return found, why or outcome_doubt(event.outcome)

    def is_known() -> bool:
        seen = read_events(reader, rows, Window(), size=size)
        return any(concerns_target(each.event, target) == (True, None) for each in seen)

    size = reader.size
    rows = row_terms(target.kind, target.row_id)
    terms = [*rows, inexact_term(target.kind), action_term(INCARNATION_OPENED)]
    search = _Search(terms, KINDS, window, newest_first)
    return _answer(reader, search, judge, is_known)


def actor_terms(by: Actor, kinds: frozenset[Kind], *, also_as: bool) -> list[bytes]:
    """Where the index has what `by` did, as far as it is of these kinds."""
    terms = []
    for changes in (True, False):
        if kinds & CHANGES if changes else kinds - CHANGES:
            terms.append(actor_term(by, changes=changes))
            if also_as:
                terms.append(on_behalf_of_term(by, changes=changes))
    return terms


def row_terms(kind: str, row_id: Id) -> list[bytes]:
    """Where the index has what was done to this row, changes and all else."""
    return [row_term(kind, row_id, changes=changes) for changes in (True, False)]


def knower(reader: TrailReader, by: Actor, *, also_as: bool) -> Callable[[], bool]:
    """Asks whether the trail has anything by this actor, in any window."""

    def is_known() -> bool:
        terms = actor_terms(by, KINDS, also_as=also_as)
        seen = read_events(reader, terms, Window(), size=reader.size)
        return any(is_by(each.event.actor, by, also_as=also_as) for each in seen)

    return is_known


class _Search(NamedTuple):
    """What to read: the events of `kinds` in the window that may have one of `terms`."""

    terms: Sequence[bytes]
    kinds: frozenset[Kind]
    window: Window
    newest_first: bool


def _answer(
    reader: TrailReader, search: _Search, judge: Judge, is_known: Callable[[], bool]
) -> Answer[Finding]:
    size = reader.size

    def find() -> Iterator[Finding]:
        commits, decisions = Commits(reader), Decisions(reader, size)
        for seen in read_events(
            reader,
            search.terms,
            search.window,
            size=size,
            kinds=search.kinds,
            newest_first=search.newest_first,
        ):
            found, why = judge(seen.event)
            if found:
                rulings = _rulings(seen, decisions)
                yield _finding(seen, why, commits.committed(seen.event), rulings)

    return Answer(reader, searched=search.window, size=size, find=find, is_known=is_known)


def _rulings(seen: Seen, decisions: Decisions) -> tuple[Ruling, ...]:
    if seen.event.kind == "decision":
        return (ruling_of(seen.event, seen.indexes[0]),)
    return decisions.rulings(seen.event) if seen.event.decision is not None else ()


def _finding(
    seen: Seen, why: str | None, committed: bool | None, rulings: tuple[Ruling, ...]
) -> Finding:
    event = seen.event
    why = seen.doubt or why
    if why is None and committed is False and event.kind == "change":
        why = NOT_COMMITTED
    return Finding(
        event=event,
        indexes=seen.indexes,
        received=seen.received,
        certain=why is None,
        why=why,
        committed=committed,
        rulings=rulings,
    )

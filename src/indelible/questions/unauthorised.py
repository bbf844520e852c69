"""What was read or changed under no decision, or under one that didn't allow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from indelible.errors import MalformedEventError
from indelible.events.codec import UNDECODABLE, decode_event
from indelible.events.model import Actor, TargetRows
from indelible.events.values import Id
from indelible.questions.answer import Answer
from indelible.questions.commits import Commits, doubt_of_view
from indelible.questions.decisions import Decisions, Deed, InForce, Ruling, deed_of
from indelible.questions.events import ACCESSES, actor_terms, knower
from indelible.questions.findings import Finding, target_names
from indelible.questions.judging import coverage_doubt, is_by, is_done
from indelible.questions.reading import (
    RecordsView,
    RowIdsView,
    is_in_window,
    is_repeated,
    search_window,
    whole_event,
)
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader


class UnauthorisedFinding(Finding, frozen=True, kw_only=True):
    """Rows that one event read or changed without being allowed to.

    `targets` are those rows alone; empty where the event names none. `rulings` are the decisions
    that covered them; where `undecided`, some of the rows were covered by none.
    """

    targets: tuple[TargetRows, ...] = ()
    undecided: bool = False

    @property
    def target_text(self) -> str:
        return ", ".join(name for target in self.targets for name in target_names(target))

    @property
    def lack_text(self) -> str:
        """What the rows were under: `no decision`, `deny by …`."""
        texts = [ruling.text for ruling in self.rulings]
        return "; ".join(["no decision", *texts] if self.undecided else texts)


class _View(RecordsView, gc=False):
    """Who did what, to which rows, under which decision."""

    decision: dict[str, str] | None = None
    statement: msgspec.Raw = msgspec.Raw()


class _Lack(NamedTuple):
    """What of one target isn't allowed: which of its rows, and why that is only possible."""

    place: int | None
    ids: tuple[Id, ...]
    rulings: tuple[Ruling, ...]
    undecided: bool
    why: str | None


_decoder: Final = msgspec.json.Decoder(_View)


def unauthorised(
    reader: TrailReader, *, window: Window, by: Actor | None = None, also_as: bool = False
) -> Answer[UnauthorisedFinding]:
    """Every event of the window by which somebody, or `by`, touched rows without being allowed to.

    One finding an event, in the order of the trail; two where some of its rows are certainly and
    others possibly not allowed. Possible is what wasn't seen exactly, and what refers to a decision
    that isn't in the trail. Without `by` every access and change of the window is looked at.
    """
    size = reader.size
    terms: Sequence[bytes] = ()
    if by is not None:
        terms = actor_terms(by, ACCESSES, also_as=also_as)

    def find() -> Iterator[UnauthorisedFinding]:
        commits, decisions = Commits(reader), Decisions(reader, size)
        for entry in search_window(reader, terms, window, size=size):
            view = _view(entry.body)
            if (
                view.kind in ("access", "change")
                and is_in_window(entry, view.time, window)
                and (by is None or is_by(view.actor, by, also_as=also_as))
                and is_done(view.outcome)
                and not is_repeated(view)
            ):
                lacks = _lacks(view, decisions.in_force(view.decision))
                if lacks:
                    doubt = doubt_of_view(entry, view, commits)
                    yield from _findings(reader, entry, lacks, doubt, commits)

    is_known = (lambda: True) if by is None else knower(reader, by, also_as=also_as)
    return Answer(reader, searched=window, size=size, find=find, is_known=is_known)


def _view(body: bytes) -> _View:
    try:
        return _decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None


def _lacks(view: _View, in_force: InForce) -> list[_Lack]:
    deed = deed_of(view.actor, view.kind, view.action)
    if view.targets:
        return [
            lack
            for place, rows in enumerate(view.targets)
            for lack in _lacks_of(place, rows, deed, in_force)
        ]
    if view.statement:
        return []  # tables were consulted, and no row was handed out
    general, doubt = in_force.general(deed, None), in_force.doubt
    if general is not None and general.effect == "allow" and not doubt:
        return []
    return [_Lack(None, (), (general,) if general else (), general is None, doubt)]


def _lacks_of(place: int, rows: RowIdsView, deed: Deed, in_force: InForce) -> Iterator[_Lack]:
    """Those rows whose decision is known first, then those of which it may be another."""
    kind = rows.kind
    ids = rows.ids_before or rows.ids
    general = in_force.general(deed, kind)
    covering: dict[Id | None, Ruling | None] = {**dict.fromkeys(ids, general)}
    unsure: set[Id | None] = set(ids) if in_force.doubt else set()
    for each in ids if in_force.names_rows(deed, kind) else ():
        named = in_force.of_row(deed, kind, each)
        if named is not None:
            covering[each] = named
            unsure.discard(each)
    if rows.coverage != "exact" and (rows.coverage == "statement" or not ids):
        # It may be any row: also one that was denied.
        denies = [one for one in in_force.of_rows(deed, kind) if one.effect != "allow"]
        covering[None] = denies[0] if denies else general
        if in_force.doubt:
            unsure.add(None)
    coverage = coverage_doubt((rows,))
    for is_unsure in (False, True):
        lacking = {
            each: ruling
            for each, ruling in covering.items()
            if (each in unsure) is is_unsure
            and (is_unsure or ruling is None or ruling.effect != "allow")
        }
        if lacking:
            yield _Lack(
                place,
                tuple(each for each in lacking if each is not None),
                tuple({ruling: None for ruling in lacking.values() if ruling is not None}),
                None in lacking.values(),
                coverage or (in_force.doubt if is_unsure else None),
            )


def _findings(
    reader: TrailReader,
    entry: StoredEntry,
    lacks: Sequence[_Lack],
    doubt: str | None,
    commits: Commits,
) -> Iterator[UnauthorisedFinding]:
    seen = whole_event(reader, entry, decode_event(entry.body))
    doubt = doubt or seen.doubt
    for certain in (True, False):
        some = [lack for lack in lacks if ((doubt or lack.why) is None) is certain]
        if not some:
            continue
        yield UnauthorisedFinding(
            event=seen.event,
            indexes=seen.indexes,
            received=seen.received,
            certain=certain,
            why=None if certain else doubt or some[0].why,
            committed=commits.committed(seen.event),
            rulings=tuple(dict.fromkeys(one for lack in some for one in lack.rulings)),
            targets=tuple(
                _only(seen.event.targets[lack.place], lack.ids)
                for lack in some
                if lack.place is not None
            ),
            undecided=any(lack.undecided for lack in some),
        )


def _only(target: TargetRows, ids: tuple[Id, ...]) -> TargetRows:
    return msgspec.structs.replace(target, ids=ids, ids_before=())

"""From the store's entries to the events of a window: decoded once, parts joined, doubts named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from indelible.errors import MalformedEventError
from indelible.events.codec import UNDECODABLE, decode_event, join_parts
from indelible.events.model import Actor, Event, Kind, Outcome, Part, Subject, Timestamp
from indelible.events.values import Id
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.tlog import Index

if TYPE_CHECKING:
    # It has a keystore open, which whoever only verifies needs not.
    from indelible.store.names import Names

KINDS: Final[frozenset[Kind]] = frozenset(("change", "access", "event", "decision", "system"))


class Seen(NamedTuple):
    """An event of the window. `doubt` says why it is only possibly in it."""

    event: Event
    indexes: tuple[Index, ...]
    received: Timestamp
    doubt: str | None


class _Glance(msgspec.Struct):
    """The least of an event."""

    kind: Kind
    time: Timestamp


class RowsView(msgspec.Struct, gc=False):
    """`TargetRows` without its rows."""

    kind: str
    coverage: str = "exact"
    why: str | None = None
    possible_subjects: tuple[Subject, ...] = ()


class RowIdsView(RowsView, gc=False):
    """`TargetRows` with its rows."""

    ids: tuple[Id, ...] = ()
    ids_before: tuple[Id, ...] = ()


class EventView(msgspec.Struct, gc=False):
    """Of an event only what tells who did what: parsing the rest takes most time."""

    kind: Kind
    time: Timestamp
    action: str
    outcome: Outcome = Outcome.SUCCESS
    actor: Actor | None = None
    transaction: str | None = None
    part: Part | None = None
    fragment: str | None = None
    database_role: str | None = None


class SubjectsView(EventView, gc=False):
    """Who did what, and whose data it was."""

    targets: tuple[RowsView, ...] = ()
    subjects: tuple[Subject, ...] = ()


class RecordsView(EventView, gc=False):
    """Who did what, to which rows."""

    targets: tuple[RowIdsView, ...] = ()


_glance_decoder = msgspec.json.Decoder(_Glance)
_subjects_decoder = msgspec.json.Decoder(SubjectsView)
_records_decoder = msgspec.json.Decoder(RecordsView)


def view_subjects(body: bytes, names: Names | None = None) -> SubjectsView:
    """The narrow view of an event's bytes, with `names` for tokens.

    Raises `MalformedEventError`.
    """
    try:
        view = _subjects_decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None
    if names is not None:
        view.actor = view.actor and names.actor(view.actor)
        view.subjects = names.subjects(view.subjects)
        for rows in view.targets:
            rows.possible_subjects = names.subjects(rows.possible_subjects)
    return view


def view_records(body: bytes, names: Names | None = None) -> RecordsView:
    """The view with rows of an event's bytes, with `names` for tokens.

    Raises `MalformedEventError`.
    """
    try:
        view = _records_decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None
    if names is not None:
        view.actor = view.actor and names.actor(view.actor)
        for rows in view.targets:
            rows.ids = names.ids(rows.kind, rows.ids)
            rows.ids_before = names.ids(rows.kind, rows.ids_before)
    return view


def glance(body: bytes) -> tuple[Kind, Timestamp]:
    """Kind and time: most candidates need no more to be passed over."""
    try:
        glance = _glance_decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None
    return glance.kind, glance.time


class PartOfEvent(Protocol):
    """What tells a part of a cut event from a later chunk of a read."""

    @property
    def part(self) -> Part | None: ...
    @property
    def fragment(self) -> object: ...


def is_repeated(event: PartOfEvent) -> bool:
    """Whether this entry only repeats what the first part of its event names.

    Parts of an event that was cut carry a fragment; a later chunk of a read has rows of its own.
    """
    return event.part is not None and event.part.n > 1 and event.fragment is not None


def is_in_window(entry: StoredEntry, claimed: Timestamp, window: Window) -> bool:
    """Whether the event belongs to the window, be it only possibly."""
    return claimed in window or (entry.doubtful and entry.received in window)


def doubt_of(entry: StoredEntry, claimed: Timestamp) -> str | None:
    """Why the event's time can't be taken at its word; None where it can."""
    if not entry.doubtful:
        return None
    return f"its time is doubtful: it claims {claimed} and was received at {entry.received}"


def search_window(
    reader: TrailReader,
    any_of: Sequence[bytes],
    window: Window,
    *,
    size: int,
    newest_first: bool = False,
    known: Set[int] = frozenset(),
) -> Iterator[StoredEntry]:
    """The store's candidates for the window among the first `size` entries."""
    entries = reader.search(
        any_of, since=window.since, until=window.until, newest_first=newest_first, known=known
    )
    return (entry for entry in entries if entry.index < size)


def read_events(
    reader: TrailReader,
    any_of: Sequence[bytes],
    window: Window,
    *,
    size: int,
    kinds: Collection[Kind] = KINDS,
    newest_first: bool = False,
    known: Set[int] = frozenset(),
    is_opened: bool = True,
) -> Iterator[Seen]:
    """The events of `kinds` and the window that may have one of these terms, whole, by index.

    Without those that begin at `known` indexes. `is_opened` as in `whole_event`.
    """
    for entry in search_window(
        reader, any_of, window, size=size, newest_first=newest_first, known=known
    ):
        kind, time = glance(entry.body)
        if kind in kinds and is_in_window(entry, time, window):
            event = decode_event(entry.body)
            if not is_repeated(event):
                yield whole_event(reader, entry, event, is_opened=is_opened)


def whole_event(
    reader: TrailReader, entry: StoredEntry, event: Event, *, is_opened: bool = True
) -> Seen:
    """`event` with what was cut from it, where `entry` holds the first of its parts; what was
    sealed is opened where `reader` can, unless it isn't to be (`is_opened`).

    Where a part is missing what is there is given, with a doubt.
    """
    doubt = doubt_of(entry, event.time)
    if event.fragment is None or event.part is None:
        event = reader.opened(event) if is_opened else event
        return Seen(event, (entry.index,), entry.received, doubt)
    last = entry.index + event.part.of - 1
    entries = [entry, *reader.entries(entry.index + 1, last)]
    indexes = tuple(each.index for each in entries)
    try:
        event = join_parts([decode_event(each.body) for each in entries])
    except MalformedEventError:
        doubt = doubt or "a part of the event is missing"
    event = reader.opened(event) if is_opened else event
    return Seen(event, indexes, entry.received, doubt)

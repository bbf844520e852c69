"""Index terms: under what an entry is found. Pure, and the same for writing and asking.

A term is bytes; the index keeps its 32-bit hash, so a hit may be another term's: whoever asks
checks the body. Ids are named as a person names them (`format_id`), so 42 and "42" share a term.

What a change did has terms of its own, beside those of all other events: there are many times more
reads, and who asks for changes needn't look at one. Terms that are asked for by the hundred, or
that few events have (rows changed, what wasn't seen exactly, reversals), have hashes without the
highest bit, all others with it: in a sorted run they stand on a page or two. The two hashes of an
actor differ in their lowest bit, so that both stand on one page. What is known by day only has the
lowest hashes to itself: where a run's first is above them, nothing of it is in there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from indelible.events.model import Actor, Event, Subject, TargetRows
from indelible.events.values import Id, format_id

DAILY: Final = "retention.daily"
"""Of the `system` entry that says whose data an actor accessed on a day, the detail being gone."""


def daily_term(term: bytes) -> bytes:
    """What `term` finds, as far as it is known by day only."""
    return _BY_DAY + term


def actor_term(actor: Actor, *, changes: bool = False) -> bytes:
    """What `actor` changed, or what else they did."""
    return _frequent_term("A" if changes else "a", actor.kind, actor.id)


def on_behalf_of_term(actor: Actor, *, changes: bool = False) -> bytes:
    """What was changed on behalf of `actor`, or what else was done."""
    return _term("B" if changes else "b", actor.kind, actor.id)


def subject_term(subject: Subject) -> bytes:
    """What concerned `subject`'s data; an id of None: that of some subject of this kind."""
    return _term("u", subject.kind) if subject.id is None else _term("s", subject.kind, subject.id)


def row_term(kind: str, row_id: Id, *, changes: bool = False) -> bytes:
    """What changed this target, or what else was done to it."""
    return _term("T" if changes else "t", kind, format_id(row_id))


def inexact_term(kind: str) -> bytes:
    """Every event whose rows of this kind aren't known exactly."""
    return _term("x", kind)


def action_term(action: str) -> bytes:
    """Events, decisions and system entries of this action."""
    return _frequent_term("n", action)


def noun_term(noun: str) -> bytes:
    """Events, decisions and system entries whose action begins with `noun.`"""
    return _frequent_term("o", noun)


def transaction_term(transaction: str) -> bytes:
    """Changes and explicit events of this transaction."""
    return _term("y", transaction)


def reverses_term(event_id: str) -> bytes:
    """What reverses this event."""
    return _term("r", event_id)


class Named(NamedTuple):
    """A term of somebody or of a row: `tag` says of what, `by_day` that of `daily_term`."""

    tag: str
    kind: str
    name: str
    by_day: bool = False

    @property
    def is_row(self) -> bool:
        return self.tag in _ROW_TAGS

    @property
    def term(self) -> bytes:
        term = _term(self.tag, self.kind, self.name)
        return daily_term(term) if self.by_day else term


def named_in(term: bytes) -> Named | None:
    """Whom the term names; None for a term of something else."""
    by_day = term.startswith(_BY_DAY)
    text = term.removeprefix(_BY_DAY).decode("utf-8", "surrogatepass")
    tag, _, rest = text.partition("\0")
    kind, _, name = rest.partition("\0")
    return Named(tag, kind, name, by_day) if name and tag in _NAMING_TAGS else None


def terms_of(event: Event) -> list[bytes]:
    """Every term of `event`, each once."""
    if event.action == DAILY and event.kind == "system":
        access = msgspec.structs.replace(event, kind="access")
        return [*_terms_of_the_doing(event)[-2:], *map(daily_term, terms_of(access))]
    changes = event.kind == "change"
    terms = _terms_of_the_doing(event)
    if event.transaction is not None and event.kind != "access":
        terms.append(transaction_term(event.transaction))
    terms += [reverses_term(reversed_id) for reversed_id in event.reverses]
    terms += [subject_term(subject) for subject in event.subjects]
    for target in event.targets:
        for row_id in (*target.ids, *target.ids_before):
            terms.append(row_term(target.kind, row_id, changes=changes))
        terms += _terms_of_the_unseen(target)
    return list(dict.fromkeys(terms))


def _terms_of_the_doing(event: Event) -> list[bytes]:
    """Who did it and what it was: many events share each of these."""
    terms = []
    changes = event.kind == "change"
    actor = event.actor
    if actor is not None:
        terms.append(actor_term(actor, changes=changes))
        while (actor := actor.on_behalf_of) is not None:
            terms.append(on_behalf_of_term(actor, changes=changes))
    if not changes and event.kind != "access":
        terms += (action_term(event.action), noun_term(event.action.partition(".")[0]))
    return terms


def _terms_of_the_unseen(target: TargetRows) -> list[bytes]:
    terms = [subject_term(subject) for subject in target.possible_subjects]
    if target.coverage != "exact":
        terms.append(inexact_term(target.kind))
    return terms


def hash_terms(terms: Iterable[bytes]) -> list[int]:
    """The 32-bit hashes under which the index keeps `terms`."""
    return [_hash(term) for term in terms]


def _hash(term: bytes) -> int:
    tag = term[:1]
    if tag in _LOW_TAGS:
        return _low(crc32(term))
    if tag in _CHANGES_OF:
        return crc32(term[1:], crc32(_CHANGES_OF[tag])) | _HIGH_BIT | 1
    if tag in _OTHERS_OF:
        return (crc32(term) | _HIGH_BIT) & ~1
    if term.startswith(_BY_DAY):
        return crc32(term) & _BY_DAY_MASK
    return crc32(term) | _HIGH_BIT


def _low(value: int) -> int:
    value &= _LOW
    return value if value > _BY_DAY_MASK else value | _BY_DAY_MASK + 1


def term_hashes_of(event: Event) -> list[int]:
    """`hash_terms(terms_of(event))` in any order, and three times as fast for long events.

    The hash of a term is that of its beginning continued, so rows and subjects of one kind share
    the work. A test holds the two together.
    """
    if event.action == DAILY and event.kind == "system":
        return list(set(hash_terms(terms_of(event))))
    changes = event.kind == "change"
    high: list[int] = []
    low: list[int] = []
    rest: list[bytes] = []
    if event.transaction is not None and event.kind != "access":
        high.append(crc32(transaction_term(event.transaction)))
    if event.subjects:
        known = _subject_hashes(event.subjects)
        if known is None:
            rest += map(subject_term, event.subjects)
        else:
            high += known
    for target in event.targets:
        rows = _row_hashes(_beginning("T" if changes else "t", target.kind), target)
        if changes:
            low += rows
        else:
            high += rows
        if target.possible_subjects or target.coverage != "exact":
            rest += _terms_of_the_unseen(target)
    hashes = {each | _HIGH_BIT for each in high}
    hashes.update(map(_low, low))
    if event.reverses:
        rest += map(reverses_term, event.reverses)
    hashes.update(map(_frequent_hash, _terms_of_the_doing(event)))
    if rest:
        hashes.update(hash_terms(rest))
    return list(hashes)


def _subject_hashes(subjects: Sequence[Subject]) -> list[int] | None:
    """None unless they are known and all of one kind, as they nearly always are."""
    kind = subjects[0].kind
    begun = _beginning("s", kind)
    try:
        hashes = [
            crc32(_ENCODERS[type(each.id)](each.id), begun)
            for each in subjects
            if each.kind == kind
        ]
    except (KeyError, ValueError):
        return None
    return hashes if len(hashes) == len(subjects) else None


def _row_hashes(begun: int, target: TargetRows) -> list[int]:
    ids = target.ids if not target.ids_before else (*target.ids, *target.ids_before)
    try:
        # Nearly every key is one integer or one text.
        return [crc32(_ENCODERS[type(only)](only), begun) for (only,) in ids]
    except (KeyError, ValueError):
        names = map(format_id, ids)
        return [crc32(name.encode("utf-8", "surrogatepass"), begun) for name in names]


_HIGH_BIT: Final = 1 << 31
_LOW: Final = _HIGH_BIT - 1
_BY_DAY_MASK: Final = (1 << 24) - 1
_LOW_TAGS: Final = frozenset((b"T", b"x", b"u", b"r"))
_BY_DAY: Final = b"d\0"
_ROW_TAGS: Final = frozenset("tT")
_NAMING_TAGS: Final = frozenset("saAbB") | _ROW_TAGS
_CHANGES_OF: Final = {b"A": b"a", b"B": b"b"}
_OTHERS_OF: Final = frozenset(_CHANGES_OF.values())
_ENCODERS: dict[type, Callable[..., bytes]] = {int: b"%d".__mod__, str: str.encode}


@lru_cache(maxsize=1_024)
def _beginning(tag: str, kind: str) -> int:
    """The hash of a term as far as the kind, to be continued with the id."""
    return crc32(_term(tag, kind, ""))


@lru_cache(maxsize=4_096)
def _frequent_hash(term: bytes) -> int:
    return _hash(term)


@lru_cache(maxsize=4_096)
def _frequent_term(tag: str, *names: str) -> bytes:
    return _term(tag, *names)


def _term(tag: str, *names: str) -> bytes:
    return "\0".join((tag, *names)).encode("utf-8", "surrogatepass")

"""Index terms: under what an entry is found. Pure, and the same for writing and asking.

A term is bytes; the index keeps its 32-bit hash, so a hit may be another term's: whoever asks
checks the body. Ids are named as a person names them (`format_id`), so 42 and "42" share a term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from zlib import crc32

from indelible.events.model import Actor, Event, Subject, TargetRows
from indelible.events.values import Id, format_id


def actor_term(actor: Actor) -> bytes:
    """What `actor` did."""
    return _frequent_term("a", actor.kind, actor.id)


def on_behalf_of_term(actor: Actor) -> bytes:
    """What was done on behalf of `actor`."""
    return _term("b", actor.kind, actor.id)


def subject_term(subject: Subject) -> bytes:
    """What concerned `subject`'s data; an id of None: that of some subject of this kind."""
    return _term("u", subject.kind) if subject.id is None else _term("s", subject.kind, subject.id)


def row_term(kind: str, row_id: Id) -> bytes:
    """What was done to this target."""
    return _term("t", kind, format_id(row_id))


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


def terms_of(event: Event) -> list[bytes]:
    """Every term of `event`, each once."""
    terms = _terms_of_the_doing(event)
    terms += [subject_term(subject) for subject in event.subjects]
    for target in event.targets:
        terms += [row_term(target.kind, row_id) for row_id in target.ids]
        terms += [row_term(target.kind, row_id) for row_id in target.ids_before]
        terms += _terms_of_the_unseen(target)
    return list(dict.fromkeys(terms))


def _terms_of_the_doing(event: Event) -> list[bytes]:
    """All but those of subjects and targets."""
    terms = []
    actor = event.actor
    if actor is not None:
        terms.append(actor_term(actor))
        while (actor := actor.on_behalf_of) is not None:
            terms.append(on_behalf_of_term(actor))
    if event.kind not in ("access", "change"):
        terms += (action_term(event.action), noun_term(event.action.partition(".")[0]))
    if event.transaction is not None and event.kind != "access":
        terms.append(transaction_term(event.transaction))
    terms += [reverses_term(reversed_id) for reversed_id in event.reverses]
    return terms


def _terms_of_the_unseen(target: TargetRows) -> list[bytes]:
    terms = [subject_term(subject) for subject in target.possible_subjects]
    if target.coverage != "exact":
        terms.append(inexact_term(target.kind))
    return terms


def hash_terms(terms: Iterable[bytes]) -> list[int]:
    """The 32-bit hashes under which the index keeps `terms`."""
    return [crc32(term) for term in terms]


def term_hashes_of(event: Event) -> list[int]:
    """`hash_terms(terms_of(event))` in any order, and three times as fast for long events.

    The hash of a term is that of its beginning continued, so rows and subjects of one kind share
    the work. A test holds the two together.
    """
    hashes = set(map(crc32, _terms_of_the_doing(event)))
    if event.subjects:
        hashes.update(_subject_hashes(event.subjects))
    for target in event.targets:
        begun = _beginning("t", target.kind)
        hashes.update(_row_hashes(begun, target.ids))
        if target.ids_before:
            hashes.update(_row_hashes(begun, target.ids_before))
        if target.possible_subjects or target.coverage != "exact":
            hashes.update(map(crc32, _terms_of_the_unseen(target)))
    return list(hashes)


def _subject_hashes(subjects: Sequence[Subject]) -> list[int]:
    kind = subjects[0].kind
    begun = _beginning("s", kind)
    try:
        # Nearly always they are known, and all of one kind.
        hashes = [
            crc32(_ENCODERS[type(each.id)](each.id), begun)
            for each in subjects
            if each.kind == kind
        ]
        if len(hashes) == len(subjects):
            return hashes
    except (KeyError, ValueError):
        pass
    return [crc32(subject_term(subject)) for subject in subjects]


def _row_hashes(begun: int, ids: Iterable[Id]) -> list[int]:
    try:
        # Nearly every key is one integer or one text.
        return [crc32(_ENCODERS[type(only)](only), begun) for (only,) in ids]
    except (KeyError, ValueError):
        names = map(format_id, ids)
        return [crc32(name.encode("utf-8", "surrogatepass"), begun) for name in names]


_ENCODERS: dict[type, Callable[..., bytes]] = {int: b"%d".__mod__, str: str.encode}


@lru_cache(maxsize=1_024)
def _beginning(tag: str, kind: str) -> int:
    """The hash of a term as far as the kind, to be continued with the id."""
    return crc32(_term(tag, kind, ""))


@lru_cache(maxsize=4_096)
def _frequent_term(tag: str, *names: str) -> bytes:
    return _term(tag, *names)


def _term(tag: str, *names: str) -> bytes:
    return "\0".join((tag, *names)).encode("utf-8", "surrogatepass")

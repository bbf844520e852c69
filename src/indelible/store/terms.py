"""Index terms: under what an entry is found. Pure, and the same for writing and asking.

A term is bytes; the index keeps its 32-bit hash, so a hit may be another term's: whoever asks
checks the body. Ids are named as a person names them (`format_id`), so 42 and "42" share a term.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from zlib import crc32

import msgspec

from indelible.events.model import Actor, Event, Subject
from indelible.events.values import Id, format_id


def actor_term(actor: Actor) -> bytes:
    """What `actor` did."""
    return _term("a", actor.kind, actor.id)


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
    return _term("n", action)


def noun_term(noun: str) -> bytes:
    """Events, decisions and system entries whose action begins with `noun.`"""
    return _term("o", noun)


def transaction_term(transaction: str) -> bytes:
    """Changes and explicit events of this transaction."""
    return _term("y", transaction)


def reverses_term(event_id: str) -> bytes:
    """What reverses this event."""
    return _term("r", event_id)


def terms_of(event: Event) -> list[bytes]:
    """Every term of `event`, each once."""
    terms: dict[bytes, None] = {}
    actor = event.actor
    if actor is not None:
        terms[actor_term(actor)] = None
        while (actor := actor.on_behalf_of) is not None:
            terms[on_behalf_of_term(actor)] = None
    for subject in event.subjects:
        terms[subject_term(subject)] = None
    for target in event.targets:
        for row_id in target.ids:
            terms[row_term(target.kind, row_id)] = None
        for row_id in target.ids_before:
            terms[row_term(target.kind, row_id)] = None
        for subject in target.possible_subjects:
            terms[subject_term(subject)] = None
        if target.coverage != "exact":
            terms[inexact_term(target.kind)] = None
    if event.kind not in ("access", "change"):
        terms[action_term(event.action)] = None
        terms[noun_term(event.action.partition(".")[0])] = None
    if event.transaction is not None and event.kind != "access":
        terms[transaction_term(event.transaction)] = None
    for reversed_id in event.reverses:
        terms[reverses_term(reversed_id)] = None
    return list(terms)


def hash_terms(terms: Iterable[bytes]) -> list[int]:
    """The 32-bit hashes under which the index keeps `terms`."""
    return [crc32(term) for term in terms]


def term_hashes_of(event: Event) -> list[int]:
    """`hash_terms(terms_of(event))` in any order, and three times as fast for long events.

    The hash of a term is that of its beginning continued, so rows and subjects of one kind share
    the work. A test holds the two together.
    """
    rest = (
        msgspec.structs.replace(event, targets=(), subjects=())
        if event.targets or event.subjects
        else event
    )
    hashes = set(hash_terms(terms_of(rest)))
    beginnings: dict[str, int] = {}
    for subject in event.subjects:
        if subject.id is None:
            hashes.add(crc32(subject_term(subject)))
            continue
        begun = beginnings.get(subject.kind)
        if begun is None:
            begun = beginnings[subject.kind] = crc32(_term("s", subject.kind, ""))
        hashes.add(crc32(subject.id.encode("utf-8", "surrogatepass"), begun))
    for target in event.targets:
        begun = crc32(_term("t", target.kind, ""))
        for row_id in chain(target.ids, target.ids_before):
            name = format_id(row_id)
            hashes.add(crc32(name.encode("utf-8", "surrogatepass"), begun))
        for subject in target.possible_subjects:
            hashes.add(crc32(subject_term(subject)))
        if target.coverage != "exact":
            hashes.add(crc32(inexact_term(target.kind)))
    return list(hashes)


def _term(tag: str, *names: str) -> bytes:
    return "\0".join((tag, *names)).encode("utf-8", "surrogatepass")

"""Evidence for a finding: the entry that it stands on, and that this is in the signed trail."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from indelible.errors import EventError, QueryError
from indelible.events.codec import PartsJoiner, decode_event
from indelible.events.model import Event, Timestamp
from indelible.events.personal import Told
from indelible.integrity.assurance import cosigned_note
from indelible.integrity.evidence import FORMAT, Header, ProvenEntry
from indelible.integrity.rotations import keys_in
from indelible.integrity.seen import Progress
from indelible.integrity.verifier import Verification
from indelible.questions.answer import Answer
from indelible.store.openings import Opening
from indelible.store.protocol import TrailReader
from indelible.tlog import (
    InclusionProver,
    Index,
    Size,
    TlogProof,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_trust_policy,
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, openly: `head` is what was hashed; `salt` and `body` are what it commits to.

    `proof` leads from the head's leaf hash to the root that the trail signed.
    """

    index: Index
    head: bytes
    salt: bytes
    body: bytes
    proof: TlogProof


class NotCheckpointedError(QueryError):
    """The entry is numbered, but no signed checkpoint covers it yet: ask again shortly."""


def prove(reader: TrailReader, indexes: tuple[Index, ...]) -> tuple[Evidence, ...]:
    """Evidence for each of these entries, all under the trail's last checkpoint.

    Nothing is verified here: whoever gets it verifies it (`tlog.verify_proof`) with a key of their
    own. Raises `NotCheckpointedError` for an entry that no checkpoint covers yet.
    """
    note, size = _checkpoint(reader)
    _check_covered(max(indexes), size)
    prover = InclusionProver(reader, size)
    return tuple(_evidence(reader, prover, index, note) for index in indexes)


def gather(
    reader: TrailReader,
    answer: Answer[Any],
    question: Sequence[str],
    *,
    made: Timestamp,
    verified: Verification | None = None,
    policy: str | None = None,
    recipient: str | None = None,
    open_values: Callable[[Event], tuple[Opening, ...]] = lambda event: (),
    tell_names: Callable[[Event], tuple[Told, ...]] = lambda event: (),
    progress: Progress = lambda done, of: None,
) -> tuple[Header, Iterable[ProvenEntry]]:
    """What a file of evidence for `answer` holds (`indelible.integrity.evidence`).

    `question` is how it is asked for. Under the trail's last checkpoint, or under that which was
    `verified`, and then of the entries that it covers. `policy` is the text of a trust policy:
    where it asks for a quorum, under the last checkpoint that one cosigned. With `open_values` what
    was sealed stands opened beside each event, for `recipient`, and with `tell_names` whose its
    tokens are. Only the entries' indexes are held
    at once; going over the entries again gives the same. Raises `NotCheckpointedError`, also where
    no quorum cosigned all of them yet.
    """
    entries = sorted(set(answer.entries()))
    if verified is None:
        note, size = _checkpoint(reader)
        if entries:
            _check_covered(entries[-1], size)
    else:
        note, size = verified.checkpoint.encode(), Size(verified.size)
        entries = [index for index in entries if index < size]
    trust = None if policy is None else parse_trust_policy(policy.encode())
    if trust is not None and trust.quorum is not None:
        cosigned = cosigned_note(reader.witnesses(), trust)
        if cosigned is None or (entries and entries[-1] >= cosigned[1]) or cosigned[1] > size:
            raise NotCheckpointedError(
                f"expected a quorum of witnesses to have cosigned {len(entries)} entries, it "
                "hasn't yet: ask again shortly, or look at `indelible status`"
            )
        note, size = cosigned
    header = Header(
        format=FORMAT,
        question=tuple(question),
        made=made,
        checkpoint=note.decode(),
        key=str(_key_of(note, reader)),
        policy=policy,
        rotations=tuple(note.decode() for note in keys_in(reader).notes(size)),
        recipient=msgspec.UNSET if recipient is None else recipient,
    )

    def prove_each() -> Iterator[ProvenEntry]:
        prover = InclusionProver(reader, size)
        joiner = PartsJoiner()
        for done, index in enumerate(entries):
            progress(done, len(entries))
            evidence = _evidence(reader, prover, index, note)
            event = _decoded(evidence.body)
            opened = () if event is None else _opened(joiner, event, open_values)
            named = () if event is None else tell_names(event)
            yield _as_line(evidence, opened, named)

    return header, _Anew(prove_each)


class _Anew:
    """What `make` gives, each time that it is gone over."""

    def __init__(self, make: Callable[[], Iterator[ProvenEntry]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[ProvenEntry]:
        return self._make()


class Disclosure(NamedTuple):
    """How much of what was sealed stands opened beside entries.

    `events` have values that were opened, `values` of them, of so many `subjects`; others were
    `erased`, or are `sealed` still, as their key isn't there. So many who go by tokens are named.
    """

    entries: int
    events: int
    values: int
    subjects: int
    erased: int
    sealed: int
    named: int


def disclosure_of(entries: Iterable[ProvenEntry]) -> Disclosure:
    """Goes over the entries; of what it saw it holds the subjects' tokens."""
    count = events = values = erased = sealed = 0
    tokens: set[str] = set()
    named: set[str] = set()
    for entry in entries:
        count += 1
        opened = [each for each in entry.opened if each.key is not None]
        gone = sum(each.is_erased for each in entry.opened)
        tokens.update(each.token for each in opened)
        events += bool(opened)
        values += len(opened)
        erased += gone
        sealed += len(entry.opened) - len(opened) - gone
        named.update(each.token for each in entry.named if each.name is not None)
    return Disclosure(count, events, values, len(tokens), erased, sealed, len(named))


def _decoded(body: bytes) -> Event | None:
    try:
        return decode_event(body)
    except EventError:
        return None


def _opened(
    joiner: PartsJoiner, part: Event, open_values: Callable[[Event], tuple[Opening, ...]]
) -> tuple[Opening, ...]:
    """Of the event that is whole with this part; of one that lacks a part nothing can be told."""
    try:
        whole = joiner.add(part)
    except EventError:
        return ()
    return () if whole is None else open_values(whole)


def _key_of(note: bytes, reader: TrailReader) -> VerifierKey:
    """The newest of the trail's keys that signed the note, as it says."""
    newest = VerifierKey.parse(reader.vkey)
    if not note:
        return newest
    keys = keys_in(reader)
    signed = {(each.name, each.key_id) for each in parse_note(note).signatures}
    claimed = (key for key in (newest, *keys.earlier) if (key.name, key.key_id) in signed)
    return next(claimed, newest)


def _checkpoint(reader: TrailReader) -> tuple[bytes, Size]:
    note = reader.state().checkpoint
    return note or b"", Size(0) if note is None else parse_checkpoint(parse_note(note).text).size


def _check_covered(last: Index, size: Size) -> None:
    if last >= size:
        raise NotCheckpointedError(
            f"expected a checkpoint that covers entry {last}, the last one covers {size}: "
            "ask again when the sequencer has signed"
        )


def _evidence(reader: TrailReader, prover: InclusionProver, index: Index, note: bytes) -> Evidence:
    return Evidence(
        index=index,
        head=reader.head(index),
        salt=reader.salt(index),
        body=reader.entry(index).body,
        proof=TlogProof(index=index, hashes=prover.prove(index), signed_checkpoint=note),
    )


def _as_line(
    evidence: Evidence, opened: tuple[Opening, ...], named: tuple[Told, ...]
) -> ProvenEntry:
    return ProvenEntry(
        index=evidence.index,
        head=evidence.head.decode(),
        salt=b64encode(evidence.salt).decode(),
        body=evidence.body.decode(),
        proof=tuple(b64encode(each).decode() for each in evidence.proof.hashes),
        opened=opened,
        named=named,
    )

"""Evidence: the entries that an answer stands on, in one file that is checked without the trail.

Lines of JSON: what was asked, and the signed checkpoint; each entry in the order of the trail,
openly, with its inclusion proof; the end. `docs/reference/evidence.md` has them field by field.

The file proves that each entry is in the trail: *included*. That there are no others, only somebody
can say who had all of them: the end may hold a verifier's signature over the file, which says that
they built the index of the trail again from its entries, and that the question finds these.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import BinaryIO, Final, TypeVar

import msgspec

from indelible.errors import BoxError, EventError, VerificationError
from indelible.events.codec import MAX_EVENT_BYTES, UNDECODABLE, PartsJoiner, decode_event
from indelible.events.model import Event, Timestamp
from indelible.events.personal import TOKEN_FORM, Told
from indelible.integrity.assurance import Witnessed, is_quorum, judge
from indelible.integrity.faults import UnwitnessedError
from indelible.integrity.rotations import KeyLine, check_listed
from indelible.store.entry import format_head, format_stem
from indelible.store.openings import Opening, check_openings
from indelible.tlog import (
    MAX_PROOF_HASHES,
    Checkpoint,
    Index,
    Note,
    SigningKey,
    TrustPolicy,
    VerifierKey,
    format_note,
    leaf_hash,
    open_checkpoint,
    parse_note,
    parse_trust_policy,
    sign_note,
    verify_inclusion,
    verify_note,
)
from indelible.tlog.strict_text import parse_base64, parse_hash

T = TypeVar("T")
FORMAT: Final = "indelible-evidence/1"
MAX_LINE_BYTES: Final = 128 * MAX_EVENT_BYTES
"""A body of control characters takes six bytes for one; of thousands of columns each may be opened.
"""
_STATEMENT: Final = "indelible-evidence-complete/1"


class MalformedEvidenceError(VerificationError):
    """Not a file of evidence, or not a whole one."""


class EvidenceMismatchError(VerificationError):
    """An entry isn't what the checkpoint was signed over, or the file isn't what was attested."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line. `question` is the command that asks it, with the instants searched; `key` is
    what the checkpoint claims to be signed with; `made` is the exporter's clock; `policy` the trust
    policy that names the trail's witnesses, where it has any; `rotations` are those of the trail's
    keys that led to `key`; `recipient` is for whom sealed values and names were opened."""

    format: str
    question: tuple[str, ...]
    made: Timestamp
    checkpoint: str
    key: str
    policy: str | None = None
    rotations: tuple[str, ...] = ()
    recipient: str | msgspec.UnsetType = msgspec.UNSET


class ProvenEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One entry: `head` was hashed into the tree, and commits to `salt` (base64) and `body`.

    `proof` are the hashes (base64) of RFC 6962 section 2.1.1, from the leaf to the signed root.
    `opened` are the sealed values of the event that is whole with this entry, where somebody opened
    them for the recipient, and `named` says whose the tokens in `body` are, which stays as it was
    committed to.
    """

    index: Index
    head: str
    salt: str
    body: str
    proof: tuple[str, ...]
    opened: tuple[Opening, ...] = ()
    named: tuple[Told, ...] = ()


class End(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last line: how many entries there are, and perhaps a verifier's signed note."""

    entries: int
    attestation: str | None = None


_headers: Final = msgspec.json.Decoder(Header)
_entries: Final = msgspec.json.Decoder(ProvenEntry)
_ends: Final = msgspec.json.Decoder(End)


def write_evidence(
    header: Header, entries: Iterable[ProvenEntry], *, attest: SigningKey | None = None
) -> Iterator[bytes]:
    """The lines of the file.

    `attest` is the key of whoever verified the trail up to this checkpoint, its index built again
    and compared, and had these entries found by the question.
    """
    digest = sha256()
    count = 0

    def line(item: msgspec.Struct) -> bytes:
        encoded = msgspec.json.encode(item) + b"\n"
        digest.update(encoded)
        return encoded

    yield line(header)
    for entry in entries:
        yield line(entry)
        count += 1
    signed = None
    if attest is not None:
        text = _statement(digest.digest())
        signed = format_note(Note(text, (sign_note(text, attest),))).decode()
    yield line(End(entries=count, attestation=signed))


class Included(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of which the file proves that it is in the trail.

    `opened` are sealed values of it (or of all of its parts), which opened as the file says. Whose
    the tokens in it are, `named`, is the file's own word: a token commits to no name.
    """

    index: Index
    event: Event
    opened: tuple[Opening, ...] = ()
    named: tuple[Told, ...] = ()


class EvidenceReader:
    """One pass over a file of evidence, which verifies what it hands out.

    Iterating gives the entries; when it ends without an error the file is whole. Raises
    `MalformedEvidenceError`, `EvidenceMismatchError`, and what `open_checkpoint` and
    `verify_inclusion` raise. Memory is bounded by one event.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        key: VerifierKey | None = None,
        verifier: VerifierKey | None = None,
        trust: TrustPolicy | None = None,
    ) -> None:
        """`key` is the trail's and `trust` names its witnesses, from whom you trust: without them
        the file's own are believed. `verifier` is the key of somebody whose word on completeness
        counts. Raises `UnwitnessedError` where the policy asks for a quorum that didn't cosign.
        """
        self._file = file
        self._number = 0
        self._digest = sha256()
        self._verifier = verifier
        self.header = self._header()
        notes = [_utf8(each, "line 1") for each in self.header.rotations]
        line = KeyLine.of(key or VerifierKey.parse(self.header.key), notes)
        self.key = line.newest
        """Which signed the checkpoint: `key`, or what the file's rotations lead to from there."""
        self.witnessed: Witnessed | None = None
        """By whom the checkpoint is cosigned; None without a policy."""
        if trust is None and self.header.policy is not None:
            trust = parse_trust_policy(_utf8(self.header.policy, "line 1"))
        self.checkpoint = self._opened(trust, line.keys)
        self.count = 0
        self._joiner = PartsJoiner()
        self.is_attested = False
        """After the last entry: whether `verifier` signed that there are no others."""

    def __iter__(self) -> Iterator[Included]:
        last = -1
        while True:
            above = self._digest.digest()
            line = self._line()
            if line.startswith(b'{"entries":'):
                break
            entry = self._decoded(line, _entries)
            if entry.index <= last:
                raise MalformedEvidenceError(
                    f"line {self._number}: expected entries by index, each once, came entry "
                    f"{entry.index} behind entry {last}"
                )
            last = entry.index
            self.count += 1
            yield self._verified(entry)
        end = self._decoded(line, _ends)
        if end.entries != self.count:
            raise MalformedEvidenceError(
                f"line {self._number}: expected {end.entries} entries above, came {self.count}"
            )
        if self._file.read(1):
            raise MalformedEvidenceError(
                f"expected nothing behind the end in line {self._number}, came more"
            )
        self._check_attestation(end, above)

    def _opened(self, trust: TrustPolicy | None, keys: Sequence[VerifierKey]) -> Checkpoint:
        opened = open_checkpoint(
            _utf8(self.header.checkpoint, "line 1"),
            origin=self.key.name,
            log_key=self.key,
            witness_keys=() if trust is None else trust.witness_keys,
        )
        size = opened.checkpoint.size
        if trust is not None:
            check_listed(trust, keys)
            cosigned = {each.key: (size, each.time or 0) for each in opened.cosignatures}
            self.witnessed = judge(cosigned, trust)
            if trust.quorum is not None and not is_quorum(trust, tuple(cosigned)):
                raise UnwitnessedError(
                    0,
                    f"expected cosignatures by a quorum ({trust.quorum!r} of the trust policy), "
                    f"there are {len(cosigned)} of {len(trust.witnesses)} witnesses",
                )
        return opened.checkpoint

    def _header(self) -> Header:
        line = self._line()
        if not line.startswith(f'{{"format":"{FORMAT}",'.encode()):
            raise MalformedEvidenceError(
                f"line 1: expected a file of evidence ({FORMAT}), came something else"
            )
        return self._decoded(line, _headers)

    def _line(self) -> bytes:
        self._number += 1
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
            came = "a longer one" if len(line) > MAX_LINE_BYTES else "the end of the file"
            raise MalformedEvidenceError(
                f"line {self._number}: expected a line of at most {MAX_LINE_BYTES} bytes, came "
                f"{came}: the file was cut, or is another"
            )
        self._digest.update(line)
        return line

    def _decoded(self, line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
        try:
            return decoder.decode(line)
        except UNDECODABLE:
            # Its message may quote what was captured.
            raise MalformedEvidenceError(
                f"line {self._number}: expected the JSON of {decoder.type.__name__}, came other "
                "JSON or none"
            ) from None

    def _verified(self, entry: ProvenEntry) -> Included:
        where = f"entry {entry.index}"
        salt = parse_base64(entry.salt, what=f"{where}, salt", error=MalformedEvidenceError)
        proof = [
            parse_hash(each, what=f"{where}, proof", error=MalformedEvidenceError)
            for each in entry.proof[: MAX_PROOF_HASHES + 1]
        ]
        head, body = _utf8(entry.head, where), _utf8(entry.body, where)
        try:
            event = decode_event(body)
        except EventError:
            raise MalformedEvidenceError(
                f"{where}: expected a body that is an event, came another"
            ) from None
        if head != format_head(format_stem(event.producer, event.kind), salt, body):
            raise EvidenceMismatchError(
                f"{where}: expected the body that its head commits to, came another: it was edited"
            )
        verify_inclusion(
            leaf=leaf_hash(head),
            index=entry.index,
            size=self.checkpoint.size,
            root=self.checkpoint.root,
            proof=proof,
        )
        tokens = {each.token for each in entry.named if TOKEN_FORM.fullmatch(each.token)}
        if len(tokens) < len(entry.named) or any(each not in entry.body for each in tokens):
            raise EvidenceMismatchError(
                f"{where}: expected a name each for tokens of its body, came others: the file was "
                "edited"
            )
        opened = self._opened_as_sealed(event, entry.opened, where)
        return Included(index=entry.index, event=event, opened=opened, named=entry.named)

    def _opened_as_sealed(
        self, event: Event, opened: tuple[Opening, ...], where: str
    ) -> tuple[Opening, ...]:
        try:
            whole = self._joiner.add(event)
        except EventError:
            whole = None
        if not opened:
            return ()
        if whole is None:
            raise MalformedEvidenceError(
                f"{where}: expected opened values beside the last part of an event, came some "
                "beside another"
            )
        try:
            return check_openings(whole, opened)
        except BoxError as error:
            raise EvidenceMismatchError(f"{where}: {error}: the file was edited") from None

    def _check_attestation(self, end: End, above: bytes) -> None:
        verifier = self._verifier
        if verifier is None:
            return
        if end.attestation is None:
            raise EvidenceMismatchError(
                f"expected the signature of {verifier} on completeness, the file has none"
            )
        note = parse_note(_utf8(end.attestation, "the end"))
        if not verify_note(note, (verifier,)):
            raise EvidenceMismatchError(
                f"expected the signature of {verifier} on completeness, came others"
            )
        if note.text != _statement(above):
            raise EvidenceMismatchError(
                "expected a statement on completeness that is about this file, came one about "
                "another: entries were taken out, put in or exchanged"
            )
        self.is_attested = True


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedEvidenceError(f"{where}: expected UTF-8, came a lone surrogate") from None


def _statement(above: bytes) -> str:
    """Two lines, so that no one can take it for a checkpoint, which has three or more."""
    return f"{_STATEMENT}\n{b64encode(above).decode()}\n"

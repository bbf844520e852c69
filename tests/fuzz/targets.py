"""What takes bytes from outside: any bytes are taken, or refused with an error of ours.

A target is given what a stranger could send. Whatever else it raises is a bug, as is an answer that
takes more than a second or 100 MB for at most 64 KiB, and an error that shows what is secret.
"""

from __future__ import annotations

import contextlib
import io
import resource
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from indelible.errors import IndelibleError
from indelible.events.codec import decode_event, encode_draft, seal_parts
from indelible.events.model import Actor, Event, Producer, TargetRows, Timestamp
from indelible.events.values import Value
from indelible.integrity.anchor_file import FileAnchor
from indelible.integrity.anchor_rfc3161 import Rfc3161Anchor
from indelible.integrity.anchor_s3 import S3Anchor
from indelible.integrity.authorisations import (
    Act,
    Authorisers,
    check_authorised,
    format_act,
    pack_note,
    parse_act,
    unpack_note,
)
from indelible.integrity.evidence import (
    FORMAT,
    EvidenceReader,
    Header,
    ProvenEntry,
    write_evidence,
)
from indelible.integrity.key_ring import key_text, load_signers
from indelible.integrity.passphrases import PEM_BEGIN, PEM_END
from indelible.integrity.pins import load_pin, store_pin
from indelible.integrity.resources import encode_bodies, format_path, parse_bodies, parse_path
from indelible.integrity.retention import AUTHORISED as RETAINED
from indelible.integrity.retention import (
    DROPPED,
    RetentionAct,
    Rules,
    dropped_entry,
    format_retention,
    parse_retention,
    read_bits,
)
from indelible.integrity.retention_ledger import RetentionLedger
from indelible.integrity.rotations import ROTATED, SigningKeys, open_by
from indelible.integrity.seen import Seen
from indelible.integrity.signer import CheckpointGuard
from indelible.integrity.tokens import Token, read_token_file
from indelible.integrity.witness import Witness
from indelible.policy.anchors import FileSettings, Rfc3161Settings, S3Settings
from indelible.store.blocks import encode_frame, encode_stems
from indelible.store.entry import format_head, format_stem, parse_head
from indelible.store.protocol import AnchorRow
from indelible.store.segment import SealedBlock, decode_parts, format_block
from indelible.tlog import (
    EMPTY_ROOT,
    AddCheckpoint,
    Checkpoint,
    Index,
    Note,
    Rotation,
    SigningKey,
    Size,
    TlogProof,
    VerifierKey,
    add_signatures,
    cosign_note,
    encode_bundle,
    format_add_checkpoint,
    format_checkpoint,
    format_note,
    format_proof,
    format_rotation,
    format_rotations,
    format_signatures,
    leaf_hash,
    open_checkpoint,
    open_cosignature,
    open_rotation,
    parse_add_checkpoint,
    parse_bundle,
    parse_known_size,
    parse_note,
    parse_proof,
    parse_rotation,
    parse_rotations,
    parse_signatures,
    parse_trust_policy,
    sign_checkpoint,
    sign_note,
    sign_rotation,
)
from indelible.transport.journal_frames import (
    FrameKind,
    JournalHeader,
    check_magic,
    format_event_frame,
    format_file_start,
    format_frame,
    last_seq,
    parse_header,
    scan_frames,
)

MOST_BYTES: Final = 64 * 1024
MOST_S: Final = 1.0
MOST_MB: Final = 100


class Target(NamedTuple):
    take: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


class Bug(AssertionError):
    """What a target did that it mustn't."""


def run(target: Target, raw: bytes) -> None:
    """Raise `Bug`, or what leaked, unless `raw` is taken or refused as it should be."""
    raw = raw[:MOST_BYTES]
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with contextlib.suppress(IndelibleError):
        target.take(raw)
    took = time.process_time() - began
    if took > MOST_S:
        raise Bug(f"took {took:.1f} s")
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb) // 1024
    if grown_mb > MOST_MB:
        raise Bug(f"took {grown_mb} MB")


KEY = SigningKey.parse(
    "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
)
WITNESS = SigningKey.parse(
    "PRIVATE+KEY+witness.example/w+7a9ce77d+BHjUWs+S9JvKNSpfW7JW14A+iAnve7Ls5rAgmbPRtaST"
)
NEXT = SigningKey.parse(
    "PRIVATE+KEY+example.com/log/testdata+f62fa074+AVl87mRTTMh5kLGqtPg+BgCzlGpeNpAwtZ2KRN4Y6MHr"
)
CHECKPOINT = Checkpoint(origin=KEY.name, size=Size(1), root=leaf_hash(b"one"))
NOTE = sign_checkpoint(CHECKPOINT, KEY)
COSIGNATURE = cosign_note(parse_note(NOTE).text, WITNESS, time=1_800_000_000)
COSIGNED = format_note(add_signatures(parse_note(NOTE), [COSIGNATURE]))
TIME = Timestamp("2026-11-30T20:00:00.000000Z")
PRODUCER = Producer("a" * 16, 1_700_000_000_000_000, 7)
EVENT = Event(
    action="invoice.update",
    kind="change",
    actor=Actor("staff", "alice", Actor("staff", "bob")),
    targets=(TargetRows("invoice", ((1,), ("x", None))),),
    changes={"total": (1, True), "name": (None, "Zara")},
    details={"n": 2**53 - 1},
)
BODY = seal_parts(encode_draft(EVENT), TIME, PRODUCER)[0]


def text_of(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def note(raw: bytes) -> None:
    parsed = parse_note(raw)
    if parse_note(format_note(parsed)) != parsed:
        raise Bug("another note than was written")


def checkpoint(raw: bytes) -> None:
    open_checkpoint(
        raw, origin=KEY.name, log_key=KEY.verifier_key, witness_keys=[WITNESS.verifier_key]
    )


def vkey(raw: bytes) -> None:
    key = VerifierKey.parse(text_of(raw))
    if VerifierKey.parse(str(key)) != key:
        raise Bug("another key than was written")


def hides(secret: str, take: Callable[[], object]) -> None:
    """No twelve characters of it are in an error, its cause or its context."""
    try:
        take()
    except IndelibleError as error:
        shown = "".join(str(each) for each in (error, error.__cause__, error.__context__))
        for at in range(max(0, len(secret) - 11)):
            if secret[at : at + 12] in shown:
                raise Bug("an error shows what it was given") from None
        raise


def private_key(raw: bytes) -> None:
    text = text_of(raw)
    # What stands before the base64 is public: a name, and its key id.
    hides(text.rpartition("+")[2], lambda: SigningKey.parse(text))


def token(raw: bytes) -> None:
    if Token("x" * 64).is_in(raw.decode("latin-1")) and b"x" * 64 not in raw:
        raise Bug("let in without the token")
    with kept(raw) as path:
        hides(text_of(raw), lambda: read_token_file(path))


def tiles(raw: bytes) -> None:
    with contextlib.suppress(IndelibleError):
        if encode_bundle(parse_bundle(raw[1:], raw[0] + 1 if raw else 1)) != raw[1:]:
            raise Bug("another bundle than was written")
    with contextlib.suppress(IndelibleError):
        if encode_bodies(parse_bodies(raw[1:], raw[0] + 1 if raw else 1)) != raw[1:]:
            raise Bug("other bodies than were written")
    path = text_of(raw)
    if format_path(parse_path(path)) != path:
        raise Bug("a second spelling of a path")


def proof(raw: bytes) -> None:
    if format_proof(parse_proof(raw)) != raw:
        raise Bug("another proof than was written")


def trust(raw: bytes) -> None:
    parse_trust_policy(raw)


def witness_message(raw: bytes) -> None:
    for take in (
        parse_add_checkpoint,
        parse_known_size,
        lambda body: open_cosignature(body, NOTE, WITNESS.verifier_key),
    ):
        with contextlib.suppress(IndelibleError):
            take(raw)


_WITNESS: list[Witness] = []


def witness(raw: bytes) -> None:
    """A real one, with its file: whatever comes has one of the answers of the specification."""
    if not _WITNESS:
        _WITNESS.append(Witness.create(Path(_KEPT.name) / "w", "witness.example/w"))
        _WITNESS[0].file.add_tlog(KEY.name, KEY.verifier_key, 1)
    answer = _WITNESS[0].add_checkpoint(raw)
    if answer.status not in (200, 400, 403, 404, 409, 422):
        raise Bug(f"status {answer.status}")


def rotations(raw: bytes) -> None:
    """What is served, and what an entry holds: also for who follows it."""
    with contextlib.suppress(IndelibleError):
        if format_rotation(parse_rotation(text_of(raw))) != text_of(raw):
            raise Bug("a second spelling of a rotation")
    notes = parse_rotations(raw)
    if format_rotations(notes) != raw:
        raise Bug("other rotations than came")
    for number, each in enumerate(notes):
        keys = SigningKeys(KEY.verifier_key)
        keys.add(number, Event(action=ROTATED, kind="system", details={"rotation": text_of(each)}))
        if keys.newest not in (KEY.verifier_key, NEXT.verifier_key):
            raise Bug("a key that nobody signed")
    for each in notes:
        open_rotation(each)


def act(raw: bytes) -> None:
    """Of an authorisation, as somebody hands it in; and its note as an entry has it."""
    with contextlib.suppress(IndelibleError):
        if format_act(parse_act(text_of(raw))) != text_of(raw):
            raise Bug("a second spelling of an act")
    with contextlib.suppress(IndelibleError):
        unpack_note(text_of(raw))
    check_authorised(raw, Authorisers(1, (KEY.verifier_key,)), origin=KEY.name)


def retention(raw: bytes) -> None:
    """What is to be dropped, as somebody hands it in; bits and heads as a trail has them."""
    with contextlib.suppress(IndelibleError):
        if format_retention(parse_retention(text_of(raw))) != text_of(raw):
            raise Bug("a second spelling of an act")
    with contextlib.suppress(IndelibleError):
        dropped = parse_head(raw)
        if not raw.startswith(format_stem(dropped.producer, dropped.kind)):
            raise Bug("another head than came")
    with contextlib.suppress(IndelibleError):
        details: dict[str, Value] = {"block": 256, "bits": text_of(raw)}
        bits = read_bits(Event(action=DROPPED, kind="system", details=details))
        if not all(256 <= block < 512 for block in bits):
            raise Bug("bits of other blocks")
    ledger = RetentionLedger(None, origin=KEY.name)
    told: dict[str, Value] = {"nonce": "1" * 32, "note": pack_note(raw)}
    ledger.add(9, Event(action=RETAINED, kind="system", details=told))
    ledger.finish(lambda block: EMPTY_ROOT)


def segment(raw: bytes) -> None:
    """A block of a segment's file, of the lengths that the trail's own says, and that place."""
    with contextlib.suppress(IndelibleError):
        if SealedBlock.unpack(raw).pack() != raw:
            raise Bug("another place than was kept")
    decode_parts(BLOCK.parts(raw))


def key_ring(raw: bytes) -> None:
    """A file of keys; without its passphrase, for deriving a key takes as long as it says."""
    with kept(raw) as path:
        for key in (KEY, NEXT):
            secret = key.export_private().rpartition("+")[2]
            hides(secret, lambda: load_signers(path))


_SIGNER: list[CheckpointGuard] = []


def signer(raw: bytes) -> None:
    """A real one, with its folder; then what its client takes for an answer."""
    if not _SIGNER:
        folder = Path(_KEPT.name) / "s"
        _SIGNER.append(CheckpointGuard.create(folder, KEY, key_text(KEY, None)))
    answer = _SIGNER[0].sign(raw)
    if answer.status not in (200, 400, 404, 409, 422):
        raise Bug(f"status {answer.status}")
    for take in (parse_signatures, parse_known_size, parse_rotations):
        with contextlib.suppress(IndelibleError):
            take(raw)


_ANCHORS: list[Rfc3161Anchor] = []


def anchor(raw: bytes) -> None:
    """What stands in its file, what it is said to have answered, and a timestamp's token."""
    if not _ANCHORS:
        ca = Path(_KEPT.name) / "ca.pem"
        ca.write_bytes(certificate())
        settings = Rfc3161Settings(name="tsa", url="http://localhost/", ca_file=ca)
        _ANCHORS.append(Rfc3161Anchor(settings, Path(_KEPT.name) / "tokens"))
    row = AnchorRow("a", Size(1), 1, NOTE, raw, outside=True)
    with kept(raw) as path:
        file = FileAnchor(FileSettings(name="a", path=path), KEY.name)
        for whole in (True, False):
            for held in file.read_back(None, whole=whole).held:
                open_by(held.note(), KEY.name, [KEY.verifier_key])
        with contextlib.suppress(IndelibleError):
            file.read_back(row)
    for take in (
        lambda: S3Anchor(S3Settings(name="a", bucket="b"), KEY.name)._found_before(row),
        lambda: _ANCHORS[0].read_back(row),
    ):
        with contextlib.suppress(IndelibleError):
            take()


def certificate() -> bytes:
    """Of an authority that never signed anything."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tsa")])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2126, 1, 1, tzinfo=UTC),
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def evidence(raw: bytes) -> None:
    for _ in EvidenceReader(io.BytesIO(raw), key=None, verifier=None):
        pass


def frames(raw: bytes) -> None:
    with contextlib.suppress(IndelibleError):
        check_magic(raw[:64], "a file")
    for is_end in (False, True):
        scan = scan_frames(raw, is_end=is_end, limit=1_000, max_bytes=1 << 20)
        if scan.end > len(raw):
            raise Bug("behind the end")
        for frame in scan.frames:
            with contextlib.suppress(IndelibleError):
                parse_header(frame)
            if frame.kind is FrameKind.EVENT:
                _ = frame.bodies
    last_seq(raw)


def event(raw: bytes) -> None:
    decoded = decode_event(raw)
    if decode_event(seal_parts(encode_draft(decoded), TIME, PRODUCER)[0]).action != decoded.action:
        raise Bug("another event than was written")


def pin(raw: bytes) -> None:
    directory = Path(_KEPT.name)
    seen = Seen(origin="o", size=1, root=bytes(32), vkey=str(KEY.verifier_key))
    path = store_pin(directory, seen, TIME)
    path.write_bytes(raw)
    found = load_pin(directory, "o")
    if found is not None:
        _ = found.seen


_KEPT: Final = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


@contextlib.contextmanager
def kept(raw: bytes) -> Iterator[Path]:
    path = Path(_KEPT.name) / "kept"
    path.touch(mode=0o600)
    path.write_bytes(raw)
    yield path


JOURNAL: Final = b"".join(
    (
        format_file_start(
            JournalHeader(
                producer=PRODUCER.id,
                epoch=PRODUCER.epoch,
                number=1,
                service="s",
                boot="b",
                pid_space="p",
                pid=1,
                started=2,
                heartbeat_s=60.0,
            ),
            0,
        ),
        format_event_frame(1, [BODY]),
        format_event_frame(2, [BODY, BODY]),
        format_frame(FrameKind.CLOSED, 2, b""),
    )
)
POLICY: Final = (
    f"# one\nlog {KEY.verifier_key} https://log.example\n"
    f"witness w {WITNESS.verifier_key} https://w.example\ngroup g 1 w\nquorum g\n"
).encode()
REQUEST: Final = format_add_checkpoint(AddCheckpoint(old=Size(0), proof=(), signed_checkpoint=NOTE))
LATER: Final = format_add_checkpoint(
    AddCheckpoint(old=Size(1), proof=(EMPTY_ROOT,), signed_checkpoint=NOTE)
)
PROOF: Final = format_proof(TlogProof(index=Index(0), hashes=(), signed_checkpoint=COSIGNED))
SALT: Final = bytes(16)
HEAD: Final = format_head(format_stem(PRODUCER, "change"), SALT, BODY)
SIGNED: Final = sign_checkpoint(
    Checkpoint(origin=KEY.name, size=Size(1), root=leaf_hash(HEAD)), KEY
)
EVIDENCE: Final = b"".join(
    write_evidence(
        Header(
            format=FORMAT,
            question=("changes",),
            made=TIME,
            checkpoint=SIGNED.decode(),
            key=str(KEY.verifier_key),
        ),
        [
            ProvenEntry(
                index=Index(0),
                head=HEAD.decode(),
                salt=b64encode(SALT).decode(),
                body=BODY.decode(),
                proof=(),
            )
        ],
        attest=KEY,
    )
)
ROTATION: Final = sign_rotation(
    Rotation(
        origin=KEY.name,
        size=Size(1),
        root=CHECKPOINT.root,
        old=KEY.verifier_key,
        new=NEXT.verifier_key,
        time=TIME,
        until=TIME,
    ),
    KEY,
    NEXT,
)
ACT: Final = format_act(
    Act(
        act="subject.erase",
        origin=KEY.name,
        token="0" * 32,
        nonce="1" * 32,
        time=TIME,
        reason="request 4411",
    )
)
AUTHORISED: Final = format_note(Note(ACT, (sign_note(ACT, KEY),)))
RETENTION: Final = format_retention(
    RetentionAct(
        origin=KEY.name,
        rules=Rules(access_detail=TIME),
        through=7,
        held=0,
        dropped=1,
        root=EMPTY_ROOT,
        said=1,
        digest=EMPTY_ROOT,
        nonce="1" * 32,
        time=TIME,
        reason="as every month",
    )
)
TO_DROP: Final = format_note(Note(RETENTION, (sign_note(RETENTION, KEY),)))
BITS: Final = str((dropped_entry("1" * 32, 0, 1, {256: 5}).details or {})["bits"])
SEALED, BLOCK = format_block(
    0,
    [encode_frame([BODY] * 64) or b""] * 4,
    encode_stems([format_stem(PRODUCER, "change")] * 256),
    bytes(16 * 256),
)
UNSIGNED: Final = format_add_checkpoint(
    AddCheckpoint(old=Size(0), proof=(), signed_checkpoint=format_checkpoint(CHECKPOINT).encode())
)
URI: Final = "pkcs11:token=a;object=b?module-path=/none.so&pin-source=env:NO_PIN"
TARGETS: Final = {
    "rotations": Target(rotations, (ROTATION, ROTATION * 2)),
    "act": Target(act, (AUTHORISED, ACT.encode(), pack_note(AUTHORISED).encode())),
    "retention": Target(retention, (TO_DROP, RETENTION.encode(), BITS.encode(), HEAD)),
    "segment": Target(segment, (SEALED, BLOCK.pack())),
    "key-ring": Target(
        key_ring,
        (
            f"{NEXT.export_private()}\n{KEY.export_private()}\n".encode(),
            f"{KEY.verifier_key}\n{PEM_BEGIN}\nMIG=\n{PEM_END}\n".encode(),
            f"{KEY.verifier_key}\n{URI}\n".encode(),
        ),
    ),
    "signer": Target(
        signer, (UNSIGNED, format_signatures(parse_note(NOTE).signatures), b"17\n", ROTATION)
    ),
    "anchor": Target(
        anchor,
        (
            b'{"time":1,"checkpoint":%s}\n' % msgspec.json.encode(NOTE.decode()),
            b'{"bytes":1,"sha256":"00"}',
            b'{"key":"k","version":"v","until":1,"where":"b at AWS","tested":"deletes"}',
            bytes.fromhex("30153003020101300e06092a864886f70d010702a0013000"),
        ),
    ),
    "note": Target(note, (NOTE, COSIGNED)),
    "checkpoint": Target(checkpoint, (NOTE, COSIGNED)),
    "vkey": Target(vkey, (str(KEY.verifier_key).encode(), str(WITNESS.verifier_key).encode())),
    "private-key": Target(private_key, (KEY.export_private().encode(),)),
    "token": Target(token, (b"Bearer " + b"x" * 64, b"0123456789abcdef" * 4 + b"\n")),
    "tiles": Target(
        tiles,
        (
            b"\x01" + encode_bundle([b"one", b"two"]),
            b"\x00" + encode_bodies([(bytes(16), BODY)]),
            b"tile/entries/x001/000.p/9",
            b"bodies/000",
        ),
    ),
    "proof": Target(proof, (PROOF,)),
    "trust-policy": Target(trust, (POLICY,)),
    "witness-message": Target(
        witness_message, (REQUEST, LATER, b"17\n", format_signatures([COSIGNATURE]))
    ),
    "witness": Target(witness, (REQUEST, LATER)),
    "evidence": Target(evidence, (EVIDENCE,)),
    "journal": Target(frames, (JOURNAL,)),
    "event": Target(event, (BODY,)),
    "pin": Target(
        pin, (b'{"origin":"o","size":1,"root":"AAAA","vkey":"k","time":"2026-11-30T20:00:00Z"}',)
    ),
}

"""Keys and signed notes: who signed what, and everything that must not pass for that."""

import copy
import pickle
import traceback
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import IndelibleError
from indelible.tlog import (
    Algorithm,
    AmbiguousKeyError,
    InvalidSignatureError,
    MalformedKeyError,
    MalformedNoteError,
    Note,
    NoteSignature,
    SigningKey,
    UnknownKeyError,
    VerifierKey,
    add_signatures,
    cosign_note,
    format_note,
    format_signatures,
    parse_note,
    parse_signatures,
    sign_note,
    verify_note,
)

TEXT = "trail.example\n3\nroot\n"
KEY = SigningKey.generate("trail.example")
WITNESS = SigningKey.generate("witness.example", Algorithm.COSIGNATURE_V1)
STRANGER = SigningKey.generate("stranger.example")
SIGNED = Note(TEXT, (sign_note(TEXT, KEY),))

names = st.text(
    st.characters(exclude_categories=("Z", "C"), exclude_characters="+"), min_size=1, max_size=20
)
note_texts = st.text(
    st.one_of(st.characters(exclude_categories=("C",)), st.just("\n")), max_size=60
).map(lambda text: text + "\n")
signatures = st.builds(
    NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
notes = st.builds(Note, note_texts, st.lists(signatures, min_size=1, max_size=20).map(tuple))


def test_a_note_says_which_of_the_known_keys_signed_it() -> None:
    """A trail's signature and a witness's, with its time, are both found."""
    note = add_signatures(SIGNED, [cosign_note(TEXT, WITNESS, time=1_700_000_000)])

    found = verify_note(parse_note(format_note(note)), [KEY.verifier_key, WITNESS.verifier_key])

    assert [(each.key, each.time) for each in found] == [
        (KEY.verifier_key, None),
        (WITNESS.verifier_key, 1_700_000_000),
    ]


def test_a_cosignature_signs_the_words_of_the_specification() -> None:
    """The signed bytes are c2sp.org/tlog-cosignature's, built here by hand."""
    line = cosign_note(TEXT, WITNESS, time=1_679_315_147)

    assert line.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    Ed25519PublicKey.from_public_bytes(WITNESS.verifier_key.public_key).verify(
        line.signature[8:], b"cosignature/v1\ntime 1679315147\ntrail.example\n3\nroot\n"
    )


def test_signatures_of_unknown_keys_are_ignored() -> None:
    """Name or key id alone don't make a key known, and what strangers signed changes nothing."""
    key_id = KEY.verifier_key.key_id
    note = add_signatures(
        SIGNED,
        [
            sign_note(TEXT, STRANGER),
            NoteSignature(KEY.name, b"\0\0\0\0", b"same name, other id"),
            NoteSignature("other.example", key_id, b"same id, other name"),
        ],
    )

    assert [each.key for each in verify_note(note, [KEY.verifier_key])] == [KEY.verifier_key]


def test_a_note_without_a_known_signature_is_refused() -> None:
    """The error names the keys that were expected and those that signed."""
    expected, came = STRANGER.verifier_key, KEY.verifier_key
    with pytest.raises(UnknownKeyError) as caught:
        verify_note(SIGNED, [expected])

    message = str(caught.value)
    assert f"expected a signature by one of '{expected.name}+{expected.key_id.hex()}'" in message
    assert f"came '{came.name}+{came.key_id.hex()}'" in message
    with pytest.raises(UnknownKeyError):
        verify_note(SIGNED, [])


def test_one_invalid_signature_of_a_known_key_condemns_the_note() -> None:
    """Even beside valid ones, before or after them."""
    valid = SIGNED.signatures[0]
    forged = NoteSignature(KEY.name, KEY.verifier_key.key_id, bytes(64))
    for lines in ([forged], [valid, forged], [forged, valid]):
        with pytest.raises(InvalidSignatureError, match=KEY.name):
            verify_note(Note(TEXT, tuple(lines)), [KEY.verifier_key])


def test_any_changed_character_of_the_text_is_found() -> None:
    """What was signed can't be edited."""
    for at in range(len(TEXT) - 1):
        changed = TEXT[:at] + chr(ord("A") + (TEXT[at] == "A")) + TEXT[at + 1 :]
        with pytest.raises(InvalidSignatureError):
            verify_note(Note(changed, SIGNED.signatures), [KEY.verifier_key])


def test_any_changed_bit_of_a_cosignature_is_found() -> None:
    """Neither a witness's stated time nor its signature can be edited, shortened or lengthened."""
    line = cosign_note(TEXT, WITNESS, time=1_700_000_000)
    for at in range(len(line.signature)):
        changed = bytearray(line.signature)
        changed[at] ^= 1
        refuse_cosignature(bytes(changed))
    refuse_cosignature(line.signature[:-1])
    refuse_cosignature(line.signature + b"\0")
    refuse_cosignature(line.signature[:5])


def refuse_cosignature(signature: bytes) -> None:
    line = NoteSignature(WITNESS.name, WITNESS.verifier_key.key_id, signature)
    with pytest.raises(InvalidSignatureError):
        verify_note(Note(TEXT, (line,)), [WITNESS.verifier_key])


def test_a_trail_s_signature_is_no_cosignature_of_the_same_secret() -> None:
    """One secret in both roles has two key ids, and neither signature passes for the other."""
    both = KEY.as_cosigner()
    cosignature = cosign_note(TEXT, both, time=5)

    assert both.verifier_key.key_id != KEY.verifier_key.key_id
    with pytest.raises(UnknownKeyError):
        verify_note(Note(TEXT, (cosignature,)), [KEY.verifier_key])
    with pytest.raises(UnknownKeyError):
        verify_note(SIGNED, [both.verifier_key])


def test_a_key_counts_once_however_often_it_signed() -> None:
    """A quorum can't be reached by repeating lines; of a witness's times the latest stands."""
    times = [cosign_note(TEXT, WITNESS, time=time) for time in (10, 30, 20)]
    note = Note(TEXT, (*SIGNED.signatures, *SIGNED.signatures, *times, times[0]))

    found = verify_note(note, [KEY.verifier_key, WITNESS.verifier_key])

    assert [(each.key.name, each.time) for each in found] == [(KEY.name, None), (WITNESS.name, 30)]


def test_keys_that_can_t_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two public keys under one name and key id would make a signature mean either."""
    monkeypatch.setattr(VerifierKey, "key_id", b"same")
    other = SigningKey.generate(KEY.name).verifier_key

    with pytest.raises(AmbiguousKeyError, match="one key for each name and id"):
        verify_note(SIGNED, [KEY.verifier_key, other])


def test_many_signatures_are_read() -> None:
    """16 must be, and 100 are; one more is refused unread."""
    lines = [sign_note(TEXT, SigningKey.generate(f"key{n}")) for n in range(99)]
    note = Note(TEXT, (*lines, *SIGNED.signatures))
    raw = format_note(note)

    assert [each.key for each in verify_note(parse_note(raw), [KEY.verifier_key])] == [
        KEY.verifier_key
    ]
    with pytest.raises(MalformedNoteError, match="1 to 100"):
        parse_note(raw + format_signatures(lines[:1]))
    with pytest.raises(MalformedNoteError, match="at most 1000000 bytes"):
        parse_note(b"x" * 1_000_001)


LINE = format_signatures(SIGNED.signatures).decode()
ENCODED = LINE.split(" ")[2].strip()


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n",
        "text\n",
        "text\n\n",
        f"text\n{LINE}",
        f"text\n\n{LINE[:-1]}",
        f"text\n\n{LINE}\n",
        f"text\n\n{LINE}more\n",
        f"te\txt\n\n{LINE}",
        f"text\r\n\r\n{LINE}",
        f"te\0xt\n\n{LINE}",
        f"text\n\n- name {ENCODED}\n",
        f"text\n\n—  {ENCODED}\n",
        f"text\n\n—name {ENCODED}\n",
        f"text\n\n— na+me {ENCODED}\n",
        f"text\n\n— na\u00a0me {ENCODED}\n",
        f"text\n\n— na\u3000me {ENCODED}\n",
        f"text\n\n— name  {ENCODED}\n",
        f"text\n\n— name {ENCODED} \n",
        "text\n\n— name\n",
        "text\n\n— name \n",
        f"text\n\n— name {ENCODED[:-1]}\n",
        f"text\n\n— name {ENCODED.rstrip('=')}\n",
        f"text\n\n— name {ENCODED[:8]}-{ENCODED[9:]}\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAA==\n",
        f"text\n\n— name {b64encode(b'1234').decode()}\n",
    ],
)
def test_what_breaks_a_rule_of_the_format_is_no_note(raw: str) -> None:
    """Blank line, whole lines, names, controls, base64: each rule of c2sp.org/signed-note."""
    with pytest.raises(MalformedNoteError, match="expected"):
        parse_note(raw.encode())


def test_a_note_that_isn_t_utf_8_is_refused() -> None:
    """Bytes of another encoding don't get a UnicodeDecodeError out of us."""
    with pytest.raises(MalformedNoteError, match="expected UTF-8, came another byte at 2"):
        parse_note(b"te\xff\n\n" + LINE.encode())


def test_the_text_ends_at_the_last_blank_line() -> None:
    """A text with blank lines, even with lines that look like signatures, is kept whole."""
    text = f"first\n\n{LINE}\n\nlast\n"

    assert parse_note(f"{text}\n{LINE}".encode()) == Note(text, SIGNED.signatures)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "\ud800\n"])
def test_a_text_that_can_t_be_a_note_s_is_never_signed(text: str) -> None:
    """Neither a trail nor a witness puts its name under it."""
    with pytest.raises(MalformedNoteError, match="expected"):
        sign_note(text, KEY)
    with pytest.raises(MalformedNoteError, match="expected"):
        cosign_note(text, WITNESS, time=1)
    with pytest.raises(MalformedNoteError, match="expected"):
        format_note(Note(text, SIGNED.signatures))


def test_a_key_signs_only_in_its_role() -> None:
    """A witness's key doesn't sign as a trail, nor a trail's as a witness; times are POSIX."""
    with pytest.raises(MalformedNoteError, match="type ED25519, came witness"):
        sign_note(TEXT, WITNESS)
    with pytest.raises(MalformedNoteError, match="type COSIGNATURE_V1, came trail"):
        cosign_note(TEXT, KEY, time=1)
    for time in (-1, 2**63):
        with pytest.raises(MalformedNoteError, match=f"came {time}"):
            cosign_note(TEXT, WITNESS, time=time)


@pytest.mark.parametrize(
    "line",
    [
        NoteSignature("", b"1234", b"x"),
        NoteSignature("two words", b"1234", b"x"),
        NoteSignature("a+b", b"1234", b"x"),
        NoteSignature("name\n", b"1234", b"x"),
        NoteSignature("\ud800", b"1234", b"x"),
        NoteSignature("name", b"123", b"x"),
        NoteSignature("name", b"1234", b""),
    ],
)
def test_a_signature_line_that_can_t_be_read_back_is_never_written(line: NoteSignature) -> None:
    """Writing refuses what reading would."""
    with pytest.raises(MalformedNoteError, match="signatures: expected"):
        format_note(Note(TEXT, (line,)))
    with pytest.raises(MalformedNoteError, match="signatures: expected"):
        format_note(Note(TEXT, ()))


@given(notes)
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    """Formatting and parsing are inverse, and so are signature lines alone."""
    assert parse_note(format_note(note)) == note
    assert parse_signatures(format_signatures(note.signatures)) == note.signatures


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_our_error(raw: bytes) -> None:
    """No bytes get another exception out of the parser, and what parses is canonical."""
    for candidate in (raw, b"text\n\n" + raw, "text\n\n— ".encode() + raw + b"\n"):
        try:
            note = parse_note(candidate)
        except MalformedNoteError:
            continue
        assert format_note(note) == candidate


@given(names, st.sampled_from(Algorithm), st.binary(min_size=32, max_size=32))
def test_a_vkey_is_read_as_it_was_written(name: str, algorithm: Algorithm, public: bytes) -> None:
    """Formatting and parsing a public key are inverse."""
    key = VerifierKey(name, algorithm, public)

    assert VerifierKey.parse(str(key)) == key


VKEY = str(KEY.verifier_key)
NAME, KEY_ID, MATERIAL = VKEY.split("+", 2)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        NAME,
        f"{NAME}+{KEY_ID}",
        f"{NAME}+{KEY_ID}+",
        f"{NAME}+00000000+{MATERIAL}",
        f"{NAME}+{KEY_ID.upper()}x+{MATERIAL}",
        f"other.example+{KEY_ID}+{MATERIAL}",
        f"+{KEY_ID}+{MATERIAL}",
        f"two words+{KEY_ID}+{MATERIAL}",
        f"{NAME}+{KEY_ID}+{MATERIAL[:-4]}",
        f"{NAME}+{KEY_ID}+{MATERIAL}\n",
        f" {VKEY}",
        f"{NAME}+{KEY_ID}+{b64encode(bytes([6]) + bytes(32)).decode()}",
    ],
    ids=range(13),  # the key is another each time
)
def test_what_is_no_vkey_is_refused(vkey: str) -> None:
    """Another id, another name, a cut key, an unknown type, stray spaces."""
    with pytest.raises(MalformedKeyError):
        VerifierKey.parse(vkey)


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_our_error(text: str) -> None:
    """No text gets another exception out of either key parser."""
    for candidate in (text, f"{NAME}+{text}", f"{NAME}+{KEY_ID}+{text}"):
        with pytest.raises(MalformedKeyError):
            VerifierKey.parse(candidate)
        with pytest.raises(MalformedKeyError):
            SigningKey.parse("PRIVATE+KEY+" + candidate)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_private_key_comes_back_from_its_text_form(algorithm: Algorithm) -> None:
    """Written to a key file and read again it signs the same."""
    key = SigningKey.generate("trail.example", algorithm)

    again = SigningKey.parse(key.export_private())

    assert again.verifier_key == key.verifier_key
    assert again.sign_bytes(b"message") == key.sign_bytes(b"message")


def test_a_private_key_shows_nowhere() -> None:
    """Not in repr, str, a copy, a pickle, nor in an error about a damaged or misplaced key."""
    exported = KEY.export_private()
    secret = exported.split("+", 4)[4]

    assert secret not in repr(KEY) + str(KEY) + f"{KEY}"
    assert KEY.name in repr(KEY)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled or copied"):
            attempt(KEY)
    with pytest.raises(AttributeError, match="can't be changed"):
        KEY.verifier_key = STRANGER.verifier_key  # type: ignore[misc]

    # Each is built here and handed over at once, so that only the package's frames could show it.
    for damaged in (exported[:-1], exported + "=", exported.replace("+", "+x", 3)):
        assert_silent(SigningKey.parse, damaged, secret[:20])
    assert_silent(VerifierKey.parse, exported, secret[:20])


def assert_silent(parse: object, text: str, secret: str) -> None:
    try:
        parse(text)  # type: ignore[operator]
    except MalformedKeyError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in report.stack if "indelible" in frame.filename]
        ours = [frame for frame in frames if "tests" not in frame.filename]
        assert ours
        assert error.__context__ is None
        assert secret not in str(error)
        assert not any(secret in value for frame in ours for value in (frame.locals or {}).values())
    else:
        pytest.fail("accepted")


def test_every_refusal_is_an_indelible_error() -> None:
    """One `except IndelibleError` sees them all."""
    for error in (
        MalformedNoteError,
        MalformedKeyError,
        UnknownKeyError,
        InvalidSignatureError,
        AmbiguousKeyError,
    ):
        assert issubclass(error, IndelibleError)

"""Lines that can't be forged, and what their numbers tell."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import LogFrameError
from indelible.logs.following import Following, Irregular
from indelible.logs.frames import (
    MAX_LINE_BYTES,
    TRAILER_BYTES,
    Frame,
    LineReader,
    StreamId,
    StreamKeys,
    Unsigned,
)

MASTER = bytes(range(32))
STREAM = StreamId("6b0d7d90deadbeef")
BODY = '{"v":1,"c":"L","m":"order placed"'


def sealed(body: str = BODY, seq: int = 1, *, master: bytes = MASTER) -> bytes:
    line_class = body[12]
    return StreamKeys(master, STREAM).seal(line_class, body, seq)  # type: ignore[arg-type]


def read(line: bytes, master: bytes = MASTER) -> list[Frame | Unsigned]:
    return list(LineReader(master).read(line.rstrip(b"\n")))


def test_a_line_is_plain_json_and_comes_back() -> None:
    """Whoever has no key reads the line as JSON; whoever has it knows who wrote it."""
    line = sealed()

    assert json.loads(line)["m"] == "order placed"
    assert len(line) == len(BODY) + TRAILER_BYTES
    assert read(line) == [Frame("L", STREAM, 1, BODY.encode())]


def test_the_mac_is_hmac_sha256() -> None:
    """An independent implementation of RFC 2104 makes the same trailer."""
    import hashlib
    import hmac

    key = hmac.new(MASTER, b"indelible log v1|L|" + STREAM.encode(), hashlib.sha256).digest()
    signed, _, mac = sealed().rpartition(b".")

    assert mac[:32].decode() == hmac.new(key, signed + b".", hashlib.sha256).hexdigest()[:32]


@settings(max_examples=300)
@given(st.data())
def test_any_other_byte_is_found(data: st.DataObject) -> None:
    """No byte of a line can be changed, left out or put in unnoticed."""
    line = bytearray(sealed().rstrip(b"\n"))
    place = data.draw(st.integers(0, len(line) - 1))
    how = data.draw(st.sampled_from(("change", "drop", "insert")))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte not in (line[place], 10)))
    if how == "change":
        line[place] = other
    elif how == "drop":
        del line[place]
    else:
        line.insert(place, other)

    found = read(bytes(line))

    frames = [each for each in found if isinstance(each, Frame)]
    # What is put before a frame doesn't belong to it; the frame itself is whole.
    assert frames == [] or (place == 0 and how == "insert")


@pytest.mark.parametrize("other", [bytes(range(1, 33)), bytes(32)])
def test_another_key_makes_no_line_of_ours(other: bytes) -> None:
    """Without the key nothing passes, whatever it looks like."""
    assert read(sealed(master=other)) == [Unsigned(sealed(master=other).rstrip(), "forged")]


def test_a_line_of_the_application_is_no_audit_line() -> None:
    """The classes have keys apart: a signed application line whose class is changed is forged."""
    line = sealed().replace(b'"c":"L"', b'"c":"A"')

    assert read(line) == [Unsigned(line.rstrip(), "forged")]


def test_what_is_glued_before_a_frame_takes_nothing_away() -> None:
    """An unterminated fragment of another writer leaves the frame behind it whole."""
    line = sealed()
    for before in (b"Traceback (most", b'{"v":1,"c":"A","e":{', line.rstrip()[:40]):
        first, frame = read(before + line)

        assert isinstance(first, Unsigned)
        assert first.text == before
        assert frame == Frame("L", STREAM, 1, BODY.encode())


def test_a_duplicate_key_changes_nothing() -> None:
    """JSON whose later `c` says another class is still what its first bytes say."""
    body = '{"v":1,"c":"L","f":{"c":"A"},"c":"A"'
    (frame,) = read(sealed(body))

    assert isinstance(frame, Frame)
    assert frame.line_class == "L"


def test_a_short_key_is_refused() -> None:
    """A key of another length is an error, not a weaker MAC."""
    with pytest.raises(LogFrameError, match="expected a key of 32 bytes, got 5"):
        StreamKeys(b"short", STREAM)


def test_the_longest_body_fits_a_pipe() -> None:
    """What the stream writes at once is never longer than a pipe takes in one piece."""
    body = BODY + ',"x":"' + "x" * (MAX_LINE_BYTES - TRAILER_BYTES - len(BODY) - 7) + '"'

    assert len(sealed(body)) == MAX_LINE_BYTES


@given(st.lists(st.sampled_from(("keep", "drop", "twice", "again")), max_size=30))
def test_every_gap_and_every_repetition_is_told(what: list[str]) -> None:
    """Any lines dropped, doubled or played again: each is told, and no line is taken twice."""
    following = Following()
    taken: list[int] = []
    told: list[Irregular] = []
    dropped: list[int] = []
    last = 0
    for seq, fate in enumerate(what, 1):
        frame = Frame("L", STREAM, seq, b"%d" % seq)
        if fate == "drop":
            dropped.append(seq)
            continue
        again = [Frame("L", STREAM, last, b"%d" % last)] if fate == "again" and last else []
        for each in (*again, frame, *([frame] if fate == "twice" else [])):
            irregular, is_new = following.take(each)
            taken += [each.seq] if is_new else []
            told += [irregular] if irregular else []
        last = seq

    missing = {
        n for each in told if each.what == "missing" for n in range(each.first, each.last + 1)
    }
    assert missing == {seq for seq in dropped if seq < last}
    assert taken == sorted(set(taken))
    assert sum(each.what in ("duplicated", "replayed") for each in told) == len(
        [fate for fate in what if fate == "twice"]
    ) + sum(
        fate == "again" and any(other != "drop" for other in what[:place])
        for place, fate in enumerate(what)
    )


def test_nothing_comes_behind_the_end() -> None:
    """A whole stream played again after its end is a replay, line by line."""
    following = Following()
    frame = Frame("L", STREAM, 1, b"x")
    following.take(frame)
    following.end(STREAM)

    assert following.take(Frame("L", STREAM, 2, b"y")) == (
        Irregular("replayed", STREAM, 2, 2),
        False,
    )
    assert following.unended() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 2)),
        st.tuples(st.sampled_from(("line", "end", "replay")), st.integers(0, 40)),
        st.tuples(st.sampled_from(("silence", "restart")), st.just(0)),
    ),
    max_size=120,
)


@given(STEPS)
def test_no_line_is_taken_twice_whatever_was_forgotten(steps: list[tuple[str, int]]) -> None:
    """Streams that begin, go on, end and fall silent, a tee that starts again at any time, and old
    lines played at any time, while of those that are over only four are remembered."""
    following = Following(max_remembered=4)
    last_of: dict[StreamId, int] = {}
    played: list[Frame] = []
    taken: list[tuple[StreamId, int]] = []
    second = 0x6B0D7D90
    for what, number in steps:
        if what == "begin":
            second += number  # several in one second, too
            last_of[StreamId(f"{second:08x}{len(last_of):08x}")] = 0
        elif what == "restart":
            following = Following(following.positions(), following.forgotten, max_remembered=4)
        elif what == "silence":
            following.silent()
        elif what == "replay" and played:
            frame = played[number % len(played)]
            taken += [(frame.stream, frame.seq)] if following.take(frame)[1] else []
        elif what in ("line", "end") and last_of:
            stream = list(last_of)[number % len(last_of)]
            last_of[stream] += 1
            frame = Frame("L", stream, last_of[stream], b"x")
            played.append(frame)
            if following.take(frame)[1]:
                taken.append((stream, frame.seq))
                if what == "end":
                    following.end(stream)
        following.forget()
        over = [at for at in following.positions().values() if at.has_ended or at.is_silent]
        assert len(over) <= 4

    assert len(taken) == len(set(taken))


@given(st.lists(st.sampled_from(("end", "kill", "go on")), min_size=1, max_size=60))
def test_what_began_later_is_never_refused(fates: list[str]) -> None:
    """Streams that begin one after the other, of which some end, some break off and some go on for
    ever: every line is new, however many were forgotten."""
    following = Following(max_remembered=2)
    living: list[StreamId] = []
    for number, fate in enumerate(fates):
        stream = StreamId(f"{0x6B0D7D90 + number:08x}00000000")
        assert following.take(Frame("L", stream, 1, b"x")) == (None, True)
        if fate == "end":
            following.end(stream)
        elif fate == "go on":
            living.append(stream)
        for turn in (1, 2):
            for each in living:
                seq = following.positions()[each].seq + 1
                assert following.take(Frame("L", each, seq, b"%d" % turn)) == (None, True)
            following.silent()
        following.forget()


def test_one_that_was_forgotten_is_not_begun_again() -> None:
    """Neither by a line that it never had, nor under another name of that second; younger ones
    are new."""
    following = Following(max_remembered=1)
    first, same = StreamId("6b0d7d90bbbbbbbb"), StreamId("6b0d7d90aaaaaaaa")
    second, third = StreamId("6b0d7d91aaaaaaaa"), StreamId("6b0d7d92aaaaaaaa")
    for name in (first, second):
        following.take(Frame("L", name, 1, b"x"))
        following.end(name)
    following.forget()

    for name in (first, same, second):
        refused = Irregular("replayed", name, 7, 7)
        assert following.take(Frame("L", name, 7, b"y")) == (refused, False)
    assert following.take(Frame("L", third, 1, b"z")) == (None, True)

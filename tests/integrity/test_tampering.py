"""Whoever edits a trail's file behind our back is found, and the first wrong index is named."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from indelible.errors import VerificationError
from indelible.events.model import Event
from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    ForkError,
    HeadMismatchError,
    IndexMismatchError,
    MissingEntryError,
    NumberingError,
    RollbackError,
    StrayEntryError,
    TileMismatchError,
    TrailFaultError,
    UncheckpointedError,
)
from indelible.integrity.verifier import verify_trail
from indelible.store.index import decode_page, encode_pages
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery, Gap, Remark
from tests.integrity.trails import EPOCH, ORIGIN, SOURCE, Maker

Tamper = Callable[[sqlite3.Connection], object]
SIZE = 702
"""Entries of the trail below: 700 events and two `batch.sequenced`."""


@pytest.fixture
def trail(maker: Maker) -> Maker:
    maker.fill([400, 300])
    return maker


@contextlib.contextmanager
def behind_the_back(path: Path):  # type: ignore[no-untyped-def]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def change_lines(connection: sqlite3.Connection, n: int, column: str, change) -> None:  # type: ignore[no-untyped-def]
    """Unpack, change and pack again, as an attacker who knows the format does."""
    raw = connection.execute(f"SELECT {column} FROM block WHERE n = ?", (n,)).fetchone()[0]
    lines = zstandard.ZstdDecompressor().decompress(raw).split(b"\n")
    packed = zstandard.ZstdCompressor().compress(b"\n".join(change(lines)))
    connection.execute(f"UPDATE block SET {column} = ? WHERE n = ?", (packed, n))


def replace_in(place: int, old: bytes, new: bytes):  # type: ignore[no-untyped-def]
    def change(lines: list[bytes]) -> list[bytes]:
        assert old in lines[place]
        lines[place] = lines[place].replace(old, new, 1)
        return lines

    return change


def edit_a_body(c: sqlite3.Connection) -> None:
    change_lines(c, 1, "frame0", replace_in(7, b"actor", b"actus"))


def edit_a_head(c: sqlite3.Connection) -> None:
    change_lines(c, 1, "stems", replace_in(70, b"change", b"access"))


def renumber(c: sqlite3.Connection) -> None:
    change_lines(c, 0, "stems", replace_in(9, b",10]", b",11]"))


def edit_a_salt(c: sqlite3.Connection) -> None:
    salts = bytearray(c.execute("SELECT salts FROM block WHERE n = 2").fetchone()[0])
    salts[16 * 5] ^= 1
    c.execute("UPDATE block SET salts = ? WHERE n = 2", (bytes(salts),))


def swap_two(c: sqlite3.Connection) -> None:
    def swap(lines: list[bytes]) -> list[bytes]:
        lines[3], lines[4] = lines[4], lines[3]
        return lines

    change_lines(c, 0, "frame0", swap)
    change_lines(c, 0, "stems", swap)
    salts = c.execute("SELECT salts FROM block WHERE n = 0").fetchone()[0]
    swapped = salts[:48] + salts[64:80] + salts[48:64] + salts[80:]
    c.execute("UPDATE block SET salts = ? WHERE n = 0", (swapped,))


def delete_one(c: sqlite3.Connection) -> None:
    """The last block closes up behind the entry that is gone."""

    def drop(lines: list[bytes]) -> list[bytes]:
        return lines[:20] + lines[21:]

    change_lines(c, 2, "stems", drop)
    rows = c.execute(
        "SELECT salts, count, frame0, frame1, frame2 FROM block WHERE n = 2"
    ).fetchone()
    bodies = [
        body
        for frame in rows[2:]
        for body in zstandard.ZstdDecompressor().decompress(frame).split(b"\n")
    ]
    bodies = drop(bodies)
    frames = [
        zstandard.ZstdCompressor().compress(b"\n".join(bodies[at : at + 64]))
        for at in range(0, 192, 64)
    ]
    c.execute(
        "UPDATE block SET salts = ?, count = ?, frame0 = ?, frame1 = ?, frame2 = ? WHERE n = 2",
        (rows[0][:320] + rows[0][336:], rows[1] - 1, *frames),
    )


def insert_one(c: sqlite3.Connection) -> None:
    change_lines(c, 0, "frame1", lambda lines: [*lines[:10], lines[10], *lines[10:63]])


def change_a_tile(c: sqlite3.Connection) -> None:
    hashes = bytearray(c.execute("SELECT hashes FROM tile WHERE id = 1").fetchone()[0])
    hashes[40] ^= 1
    c.execute("UPDATE tile SET hashes = ? WHERE id = 1", (bytes(hashes),))


def change_an_upper_tile(c: sqlite3.Connection) -> None:
    c.execute("UPDATE tile SET hashes = zeroblob(64) WHERE id = 1 << 48")


def drop_a_run(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM run WHERE id = (SELECT min(id) FROM run)")


def edit_only_an_index_row(c: sqlite3.Connection) -> None:
    """Hide entry 5 from whoever asks for one of its terms."""
    pages = c.execute("SELECT id, data FROM page ORDER BY id").fetchall()
    key, refs, hidden = next(
        (key, refs, ref)
        for key, refs in ((key, decode_page(data)) for key, data in pages)
        for ref in refs
        if ref & 0xFFFFFFFF == 5
    )
    refs[refs.index(hidden)] = hidden ^ 0x100  # it finds entry 261 instead
    (page,) = encode_pages(sorted(refs))
    c.execute("UPDATE page SET data = ? WHERE id = ?", (page.data, key))


def move_a_position(c: sqlite3.Connection) -> None:
    c.execute("UPDATE span SET first_index = first_index + 1 WHERE count > 100")


def forget_a_source(c: sqlite3.Connection) -> None:
    c.execute("UPDATE source SET ranges = zeroblob(0) WHERE producer LIKE 'a%'")


def narrow_a_block(c: sqlite3.Connection) -> None:
    c.execute("UPDATE block SET max_time = min_time WHERE n = 1")


def drop_a_batch(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM batch WHERE first = 401")


def cut_the_tail(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM block WHERE n = 2")


def cut_the_tail_and_the_size(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM block WHERE n = 2")
    c.execute("UPDATE trail SET size = 512")


def add_a_block(c: sqlite3.Connection) -> None:
    c.execute(
        "INSERT INTO block SELECT 3, count, min_time, max_time, doubtful, stems, salts, "
        "frame0, frame1, frame2, frame3, sealed FROM block WHERE n = 1"
    )


def add_a_tile(c: sqlite3.Connection) -> None:
    c.execute("INSERT INTO tile (id, hashes) VALUES (9, zeroblob(8192))")


def hide_a_notice(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM notice")


@pytest.mark.parametrize(
    ("tamper", "error", "index"),
    [
        (edit_a_body, EntryMismatchError, 263),
        (edit_a_head, EntryMismatchError, 326),
        (renumber, EntryMismatchError, 9),
        (edit_a_salt, EntryMismatchError, 517),
        (swap_two, EntryMismatchError, 3),
        (delete_one, EntryMismatchError, 532),
        (insert_one, EntryMismatchError, 75),
        (change_a_tile, TileMismatchError, 256),
        (change_an_upper_tile, TileMismatchError, 0),
        (drop_a_run, IndexMismatchError, SIZE),
        (edit_only_an_index_row, IndexMismatchError, 5),
        (move_a_position, NumberingError, 0),
        (forget_a_source, NumberingError, SIZE),
        (narrow_a_block, IndexMismatchError, 256),
        (drop_a_batch, NumberingError, 401),
        (cut_the_tail, MissingEntryError, 512),
        (cut_the_tail_and_the_size, MissingEntryError, 512),
        (add_a_block, StrayEntryError, 768),
        (add_a_tile, StrayEntryError, 2304),
    ],
)
def test_each_edit_is_named_with_its_index(
    trail: Maker, tamper: Tamper, error: type[TrailFaultError], index: int
) -> None:
    """`verify` passes before and names the spot after."""
    verify_trail(trail.path, trail.key.verifier_key)
    with behind_the_back(trail.path) as connection:
        tamper(connection)
    with pytest.raises(error, match=f"index {index}: ") as found:
        verify_trail(trail.path, trail.key.verifier_key)
    assert found.value.index == index


def widen_a_gap(c: sqlite3.Connection) -> None:
    c.execute("UPDATE gap SET last = last + 1")


def acknowledge_behind_the_back(c: sqlite3.Connection) -> None:
    c.execute("UPDATE notice SET acknowledged = 4 WHERE action = 'journal.damaged'")


def reopen_what_was_acknowledged(c: sqlite3.Connection) -> None:
    c.execute("UPDATE notice SET acknowledged = NULL")


def say_it_is_complete_for_longer(c: sqlite3.Connection) -> None:
    c.execute(
        "UPDATE source SET last_time = '2039-01-01T00:00:00.000000Z' WHERE producer LIKE 'a%'"
    )


def swap_the_bytes_set_aside(c: sqlite3.Connection) -> None:
    c.execute("UPDATE quarantine SET bodies = zeroblob(length(bodies))")


@pytest.mark.parametrize(
    ("tamper", "index"),
    [
        (hide_a_notice, 3),
        (widen_a_gap, 3),
        (acknowledge_behind_the_back, 5),
        (reopen_what_was_acknowledged, 3),
        (say_it_is_complete_for_longer, 11),
        (swap_the_bytes_set_aside, 9),
    ],
)
def test_what_was_noticed_cannot_be_hushed_up(maker: Maker, tamper: Tamper, index: int) -> None:
    """Notices, gaps, acknowledgements and what was set aside are held against their entries."""
    maker.fill([2])
    maker.sequencer.deliver((), gaps=[Gap(SOURCE, EPOCH, 7, 9, "the journal was removed")])
    maker.sequencer.deliver((), remarks=[Remark("journal.damaged", "a frame was cut short")])
    acknowledgement = Event(action="notice.acknowledged", kind="system", details={"index": 3})
    maker.sequencer.deliver([maker.delivery(acknowledgement)])
    maker.sequencer.deliver([Delivery(SOURCE, EPOCH, 4, (b"no event",))])
    assert [(n.index, n.acknowledged) for n in maker.store.notices()] == [
        (3, 7),
        (5, None),
        (9, None),
    ]
    verify_trail(maker.path, maker.key.verifier_key)
    with behind_the_back(maker.path) as connection:
        tamper(connection)
    with pytest.raises(TrailFaultError, match=f"index {index}: "):
        verify_trail(maker.path, maker.key.verifier_key)


def test_an_acknowledgement_of_what_is_yet_to_come_counts_for_nothing(maker: Maker) -> None:
    """Nobody can hush up a notice before it is made."""
    early = Event(action="notice.acknowledged", kind="system", details={"index": 1})
    damaged = Event(action="journal.damaged", kind="system")
    maker.sequencer.deliver([maker.delivery(early), maker.delivery(damaged)])
    assert [(n.index, n.acknowledged) for n in maker.store.notices()] == [(1, None)]
    verify_trail(maker.path, maker.key.verifier_key)


def test_an_older_checkpoint_is_found_by_who_remembers(trail: Maker, tmp_path: Path) -> None:
    """A whole older copy verifies by itself, and not for a verifier that has seen more."""
    older = tmp_path / "older.db"
    with behind_the_back(trail.path) as connection:
        connection.execute("VACUUM INTO ?", (str(older),))
    trail.fill([10])
    seen = verify_trail(trail.path, trail.key.verifier_key).seen
    verify_trail(older, trail.key.verifier_key)
    with pytest.raises(RollbackError, match="last seen size 713, offered 702") as found:
        verify_trail(older, trail.key.verifier_key, seen=seen)
    assert (found.value.last_seen, found.value.offered) == (713, 702)


def test_only_the_checkpoint_replaced_by_an_older_one(trail: Maker) -> None:
    """Entries beyond the checkpoint that is there are named as unsigned."""
    older = trail.store.state().checkpoint
    trail.fill([10])
    with behind_the_back(trail.path) as connection:
        connection.execute("UPDATE trail SET checkpoint = ?", (older,))
    with pytest.raises(UncheckpointedError, match="index 702: "):
        verify_trail(trail.path, trail.key.verifier_key)


def test_a_trail_signed_by_another_key_is_not_this_one(trail: Maker) -> None:
    """Who owns the file but not the key can't sign another history."""
    stranger = SigningKey.generate(ORIGIN)
    with pytest.raises(CheckpointError, match="expected a checkpoint signed by"):
        verify_trail(trail.path, stranger.verifier_key)


def test_a_history_rewritten_with_the_stolen_key_is_found_by_who_remembers(
    trail: Maker, tmp_path: Path
) -> None:
    """The thief of the key can sign a fork; a pin kept elsewhere tells it from the trail."""
    seen = verify_trail(trail.path, trail.key.verifier_key).seen
    (tmp_path / "fork").mkdir()
    fork = Maker(tmp_path / "fork" / "trail.db", trail.key)
    fork.fill([400, 300, 20])
    verify_trail(fork.path, trail.key.verifier_key)
    with pytest.raises(ForkError, match="history was rewritten"):
        verify_trail(fork.path, trail.key.verifier_key, seen=seen)
    fork.close()


def test_head_and_body_must_tell_of_the_same_event(maker: Maker, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A sequencer that lies in the head is found though its signature is right."""
    import indelible.integrity.numbering as numbering

    real = numbering.format_stem
    monkeypatch.setattr(
        numbering,
        "format_stem",
        lambda producer, kind: real(producer, kind).replace(b"change", b"event"),
    )
    maker.fill([3])
    with pytest.raises(HeadMismatchError, match="index 0: "):
        verify_trail(maker.path, maker.key.verifier_key)


def test_no_byte_of_the_file_can_be_flipped_without_an_error_or_no_effect(
    trail: Maker, tmp_path: Path
) -> None:
    """A flipped bit anywhere either changes nothing that is stored, or doesn't verify."""
    trail.store.close()
    with behind_the_back(trail.path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    whole = trail.path.read_bytes()
    copy = tmp_path / "flipped.db"
    found = 0
    for at in range(100, len(whole), len(whole) // 50):
        copy.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            verification = verify_trail(copy, trail.key.verifier_key)
        except VerificationError:
            found += 1
        else:
            assert verification.root == verify_trail(trail.path, trail.key.verifier_key).root
        for leftover in tmp_path.glob("flipped.db*"):
            leftover.unlink()
    assert found > 10
    shutil.rmtree(tmp_path, ignore_errors=True)

"""Sealed entries are read as others are, from files that others can read, and are checked."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.errors import StoreBusyError, VerificationError
from indelible.integrity.faults import CheckpointError
from indelible.integrity.published import PublishedTrail
from indelible.integrity.static_export import export_tree
from indelible.integrity.verifier import verify_trail
from indelible.store import sqlite_search
from indelible.store.errors import (
    MalformedBlockError,
    SegmentDamagedError,
    SegmentMissingError,
    SegmentUnreachableError,
)
from indelible.store.sqlite import SqliteTrail
from indelible.testing import tamper
from indelible.tlog import SigningKey
from tests.integrity.trails import EPOCH, ORIGIN, SOURCE, Maker
from tests.store.sealing import PLACE, all_answers, all_that_is_read, files, seal

SECOND = 1_000_000


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    made = Maker(tmp_path / "trail.db")
    yield made
    made.close()


def fill(maker: Maker, count: int, batch: int = 150) -> None:
    maker.fill([min(batch, count - at) for at in range(0, count, batch)])


def test_sealed_entries_are_read_as_before(maker: Maker) -> None:
    """Entries, heads, salts, leaves and answers are the same, and the trail verifies."""
    fill(maker, 2_000)
    before = all_that_is_read(maker.store)
    answers = all_answers(maker.store, [(None, None)])
    segments = list(seal(maker.store, blocks=3))
    assert [(each.first, each.last) for each in segments] == [(0, 767), (768, 1_535)]
    assert all_that_is_read(maker.store) == before
    assert all_answers(maker.store, [(None, None)]) == answers
    found = verify_trail(maker.path, maker.key.verifier_key)
    assert found.size == maker.store.size


def test_a_torn_file_of_the_right_name_is_named(maker: Maker) -> None:
    """Nothing of it is used; once it is removed the next run goes on."""
    fill(maker, 600)
    before = all_that_is_read(maker.store)
    copy = maker.path.parent / "copy" / "trail.db"
    copy.parent.mkdir()
    with contextlib.closing(sqlite3.connect(maker.path)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    with contextlib.closing(SqliteTrail(copy)) as other:
        names = [each.name for each in seal(other)]
    torn = maker.path.parent / PLACE / names[0]
    torn.parent.mkdir()
    torn.write_bytes((copy.parent / PLACE / names[0]).read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(
            SegmentDamagedError, match=rf"{PLACE}/{torn.name} is another.*remove it and seal again"
        ):
            list(seal(maker.store))
        assert all_that_is_read(maker.store) == before
    torn.unlink()
    assert [each.name for each in seal(maker.store)] == names
    assert all_that_is_read(maker.store) == before


def test_the_trail_goes_on_behind_what_is_sealed(maker: Maker) -> None:
    """The same sequencer, and one that starts anew, append; all of it is found and verifies."""
    fill(maker, 1_500)
    list(seal(maker.store))
    fill(maker, 400)
    maker.open()
    fill(maker, 700)
    list(seal(maker.store))
    fill(maker, 300)
    verify_trail(maker.path, maker.key.verifier_key)
    received = maker.store.received(SOURCE, EPOCH)
    assert received.ranges == ((1, 2_900),)
    found = [entry.index for entry in maker.store.search([b"a\0staff\0nobody"])]
    assert found == sorted(set(found))


def test_zstd_reads_a_segment(maker: Maker) -> None:
    """`zstd -dc` gives the events, one a line, in order."""
    fill(maker, 1_100)
    (segment, *_) = seal(maker.store)
    lines = subprocess.run(
        ["zstd", "-dc", "--", maker.path.parent / PLACE / segment.name],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.splitlines()
    assert lines == [entry.body for entry in maker.store.entries(segment.first, segment.last)]


def test_the_file_shrinks(maker: Maker) -> None:
    """What was sealed is given back to the disk."""
    fill(maker, 20_000, batch=2_000)
    with contextlib.closing(sqlite3.connect(maker.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = maker.path.stat().st_size
    list(seal(maker.store, blocks=32))
    with contextlib.closing(sqlite3.connect(maker.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert maker.path.stat().st_size < before * 0.6


def test_what_is_sealed_is_old_signed_and_whole(maker: Maker) -> None:
    """Nothing younger than asked for, nothing beyond the checkpoint, no part of a block."""
    fill(maker, 600)
    middle = maker.store.entry(500).received
    fill(maker, 600)
    assert [each.last for each in seal(maker.store, blocks=1, before=middle)] == [255]
    assert list(seal(maker.store, blocks=1, before=middle)) == []
    assert list(seal(maker.store, blocks=8)) == []
    (rest,) = seal(maker.store, blocks=8, only_full=False)
    assert (rest.first, (rest.last + 1) % 256) == (256, 0)
    assert rest.last < maker.store.size


def test_a_trail_that_another_key_signed_isn_t_sealed(maker: Maker) -> None:
    """The checkpoint has to be by the trail's key."""
    fill(maker, 600)
    from indelible.integrity.sealing import seal_trail
    from indelible.store.places import open_place

    other = SigningKey.generate(ORIGIN).verifier_key
    sealing = seal_trail(
        maker.store, [other], open_place(PLACE, maker.path), PLACE, before="~", most_blocks=1
    )  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="expected a checkpoint signed by"):
        list(sealing)
    assert files(maker.path.parent) == []


def test_what_was_changed_isn_t_sealed(maker: Maker) -> None:
    """An entry that isn't what the tree says stays where it is, to be looked at."""
    fill(maker, 1_200)
    tamper.edit_body(maker.path, 700)
    sealing = seal(maker.store, blocks=2)
    assert next(sealing).last == 511
    with pytest.raises(MalformedBlockError, match="expected block 2 as the tree has it"):
        next(sealing)
    with contextlib.closing(SqliteTrail(maker.path)) as store:
        assert [tier.first for tier in store.tiers()] == [0, 512]


def test_a_search_under_way_isn_t_disturbed(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that are sealed between two steps are found as if they weren't, in both orders."""
    # Every run is read in a step of its own, none at the beginning.
    monkeypatch.setattr(sqlite_search, "_RUNS_A_STEP", 1)
    monkeypatch.setattr(sqlite_search, "MERGED_REFS", 1)
    fill(maker, 5_000, batch=500)
    for newest_first in (False, True):
        for at in (1, 300, 1_100):
            whole = [e.index for e in maker.store.search([], newest_first=newest_first)]
            by_term = seek(maker, newest_first)
            terms = list(seek(maker, newest_first))
            scan = maker.store.search([], newest_first=newest_first)
            got = [next(scan).index for _ in range(at)]
            hits = [next(by_term) for _ in range(min(at, len(terms) - 300))]
            list(itertools.islice(seal(maker.store, blocks=3 + at % 3), 2))
            fill(maker, 900)
            assert got + [e.index for e in scan] == whole
            assert hits + list(by_term) == terms


def seek(maker: Maker, newest_first: bool) -> Iterator[object]:
    from indelible.events.model import Actor
    from indelible.store.terms import actor_term

    terms = [actor_term(Actor("staff", f"actor{n}"), changes=True) for n in (1, 2)]
    return maker.store.search(terms, newest_first=newest_first)


def test_two_at_once_don_t_meet(maker: Maker) -> None:
    """The second is told so, and nothing happens to the first."""
    fill(maker, 1_500)
    first = seal(maker.store)
    next(first)
    with pytest.raises(StoreBusyError, match="another process is"):
        list(seal(maker.store))
    rest = list(first)
    assert rest
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_static_export_is_the_same(maker: Maker, tmp_path: Path) -> None:
    """Tiles and heads of sealed entries are published as they were."""
    fill(maker, 1_500)
    trees = []
    for name in ("before", "after"):
        export_tree(PublishedTrail(maker.store), tmp_path / name)
        trees.append(
            {
                str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in sorted((tmp_path / name / "tile").rglob("*"))
                if path.is_file()
            }
        )
        list(seal(maker.store))
    assert trees[0] == trees[1]


# -- what can happen to a segment ---------------------------------------------------------------


def damage(path: Path, at: int) -> None:
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_any_byte_that_changed_is_found(maker: Maker) -> None:
    """`verify` names the segment wherever it is damaged: its blocks, its index, its directory."""
    fill(maker, 600)
    (segment,) = seal(maker.store, blocks=2)
    path = maker.path.parent / PLACE / segment.name
    whole = path.read_bytes()
    rng = random.Random(5)
    for at in [0, len(whole) - 1, *rng.sample(range(len(whole)), 12)]:
        damage(path, at)
        with pytest.raises(SegmentDamagedError, match=segment.name) as raised:
            verify_trail(maker.path, maker.key.verifier_key)
        assert "entries 0 to 511" in str(raised.value)
        path.write_bytes(whole)
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_damaged_segment_is_named_by_the_answers_that_need_it(maker: Maker) -> None:
    """An answer that needs the damaged part fails and names it; one that doesn't is as before."""
    fill(maker, 1_400)
    first, second = seal(maker.store, blocks=2)
    last = list(maker.store.entries(1_024, maker.store.size - 1))
    path = maker.path.parent / PLACE / first.name
    damage(path, 200)
    with pytest.raises(SegmentDamagedError, match=r"entries 0 to 511.*whole copy"):
        list(maker.store.entries(0, 10))
    with pytest.raises(SegmentDamagedError, match=first.name):
        all_answers(maker.store, [(None, None)])
    assert list(maker.store.entries(1_024, maker.store.size - 1)) == last
    assert len(list(maker.store.entries(second.first, second.last))) == 512


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_segment_that_was_cut_short(maker: Maker, size: int) -> None:
    """Answers and `verify` name it."""
    fill(maker, 600)
    (segment,) = seal(maker.store, blocks=2)
    path = maker.path.parent / PLACE / segment.name
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:size])
    with pytest.raises(SegmentDamagedError, match=segment.name):
        verify_trail(maker.path, maker.key.verifier_key)
    if size >= 0:
        with pytest.raises(SegmentDamagedError, match="ends too early"):
            list(maker.store.entries(500, 511))


def test_a_segment_that_is_gone(maker: Maker) -> None:
    """One that is missing is evidence that is missing; a folder that is, may not be mounted."""
    fill(maker, 600)
    (segment,) = seal(maker.store, blocks=2)
    path = maker.path.parent / PLACE / segment.name
    kept = path.rename(maker.path.parent / "kept")
    with pytest.raises(SegmentMissingError, match=f"expected segment {segment.name}"):
        maker.store.entry(3)
    with pytest.raises(SegmentMissingError, match="until a copy is put there"):
        verify_trail(maker.path, maker.key.verifier_key)
    path.parent.rmdir()
    with pytest.raises(SegmentUnreachableError, match="is it mounted"):
        maker.store.entry(3)
    path.parent.mkdir()
    kept.rename(path)
    assert maker.store.entry(3).index == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE segment SET max_time = '2001-01-01T00:00:00.000000Z'",
        "UPDATE segment SET bytes = 7",
        "UPDATE segment SET last = 255",
        "UPDATE segment SET sha256 = zeroblob(32)",
        "DELETE FROM segment",
        "DELETE FROM block WHERE n = 1",
        "UPDATE block SET max_time = '2001-01-01T00:00:00.000000Z' WHERE n = 1",
        "UPDATE block SET doubtful = zeroblob(32) WHERE n = 0",
        "UPDATE block SET sealed = zeroblob(108) WHERE n = 0",
        "UPDATE block SET sealed = randomblob(108) WHERE n = 0",
        "DELETE FROM run WHERE first = 0",
        "UPDATE run SET first = 1 WHERE first = 0",
        "DELETE FROM page WHERE id = (SELECT min(id) FROM page)",
        "UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE id = 1 << 48",
        "INSERT INTO tile (id, hashes) VALUES (0, zeroblob(8192))",
    ],
)
def test_what_the_file_says_of_a_segment_is_checked(maker: Maker, sql: str) -> None:
    """Each edit of its rows is found by `verify`; what else there is isn't read as an entry."""
    fill(maker, 900)
    list(seal(maker.store, blocks=2))
    verify_trail(maker.path, maker.key.verifier_key)
    with contextlib.closing(sqlite3.connect(maker.path, isolation_level=None)) as connection:
        assert connection.execute(sql).rowcount == 1
    with pytest.raises(VerificationError):
        verify_trail(maker.path, maker.key.verifier_key)


def test_whoever_writes_both_files_is_found_by_the_tree(maker: Maker) -> None:
    """Segment, its hash and its parts' hashes replaced by another body's: the leaf isn't signed."""
    fill(maker, 600)
    (segment,) = seal(maker.store, blocks=2)
    forge(maker.path, maker.path.parent / PLACE / segment.name)
    with pytest.raises(Exception, match=r"index 256: .*one of the 256 entries from here on"):
        verify_trail(maker.path, maker.key.verifier_key)


def forge(trail: Path, path: Path) -> None:
    """Put other bodies into block 1, and everything beside them right."""
    from hashlib import sha256

    from indelible.store.blocks import decode_frame, encode_frame
    from indelible.store.segment import (
        BlockTimes,
        SealedBlock,
        format_block,
        format_end,
        format_header,
    )

    raw = path.read_bytes()
    with contextlib.closing(sqlite3.connect(trail, isolation_level=None)) as connection:
        rows = connection.execute("SELECT * FROM block WHERE sealed IS NOT NULL").fetchall()
        (run,) = connection.execute("SELECT id FROM run ORDER BY first LIMIT 1").fetchone()
        bounds = (run << 16, (run << 16) + 0xFFFF)
        pages = connection.execute("SELECT data FROM page WHERE id BETWEEN ? AND ?", bounds)
        tile = connection.execute("SELECT hashes FROM tile WHERE id = 1 << 48").fetchone()[0]
        out = format_header(ORIGIN, 0, 511)
        blocks = []
        for row in rows:
            block = SealedBlock.unpack(row[11])
            *frames, heads = block.parts(raw[block.offset : block.offset + block.length])
            if row[0] == 1:
                bodies = decode_frame(frames[2], 64)
                bodies[5] = bodies[5].replace(b"actor", b"other")
                frames[2] = encode_frame(bodies)
            more, block = format_block(len(out), frames, heads[:-4_096], heads[-4_096:])
            out += more
            root = tile[row[0] * 32 : row[0] * 32 + 32]
            blocks.append((block, BlockTimes(row[2], row[3], row[4], root)))
            connection.execute("UPDATE block SET sealed = ? WHERE n = ?", (block.pack(), row[0]))
        out += format_end(len(out), blocks, [page for (page,) in pages])
        digest = sha256(out).digest()
        connection.execute("UPDATE segment SET sha256 = ?, bytes = ?", (digest, len(out)))
    path.chmod(0o600)
    path.write_bytes(out)

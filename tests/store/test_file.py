"""A trail's file that is missing, foreign, newer, locked, full or read-only: a clear error each."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.errors import (
    NoTrailError,
    StoreBusyError,
    StoreFullError,
    TrailExistsError,
    TrailFormatError,
)
from indelible.integrity.sequencer import Sequencer
from indelible.integrity.verifier import verify_trail
from indelible.store.errors import NoSuchEntryError, StoreReadOnlyError
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_file import FORMAT, open_connection
from indelible.tlog import MalformedTileError
from tests.integrity.trails import EPOCH, SOURCE, Maker, delivery_at


@pytest.fixture
def maker(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Maker(tmp_path / "trail.db")
    yield made
    made.close()


def reopen(maker: Maker, connect: Callable[[Path], sqlite3.Connection]) -> SqliteTrail:
    maker.store.close()
    maker.store = SqliteTrail(maker.path, connect=connect)
    return maker.store


def test_opening_never_makes_a_trail(tmp_path: Path) -> None:
    """No file: an error that names `indelible init`, and still no file."""
    path = tmp_path / "none.db"
    with pytest.raises(NoTrailError, match="indelible init"):
        SqliteTrail(path)
    assert not path.exists()


def test_a_trail_is_never_made_over_another_file(maker: Maker) -> None:
    """`init` where there is something already changes nothing."""
    before = maker.path.read_bytes()
    with pytest.raises(TrailExistsError, match="there is one already"):
        SqliteTrail.create(maker.path, origin="x", vkey="y", source_id="z")
    assert maker.path.read_bytes() == before


def test_a_database_that_is_no_trail(tmp_path: Path) -> None:
    """The application's own database, or any other file, is refused as such."""
    path = tmp_path / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customer (id)")
        connection.commit()
    with pytest.raises(TrailFormatError, match="another SQLite database"):
        SqliteTrail(path)
    path.write_bytes(b"not a database at all, but long enough to have a header" * 20)
    with pytest.raises(TrailFormatError, match="expected a trail"):
        SqliteTrail(path)


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1])
def test_a_trail_of_another_format(maker: Maker, version: int) -> None:
    """A file that another version wrote, older or newer, is left alone."""
    maker.store.close()
    with contextlib.closing(sqlite3.connect(maker.path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    with pytest.raises(TrailFormatError, match=f"has format {version}: use the Indelible that"):
        SqliteTrail(maker.path)


def test_a_full_disk_loses_nothing(maker: Maker) -> None:
    """What doesn't fit isn't acknowledged; once there is room it goes in, and once only."""
    maker.fill([50])

    def small(path: Path) -> sqlite3.Connection:
        connection = open_connection(path)
        connection.execute("PRAGMA max_page_count = 40")
        return connection

    store = reopen(maker, small)
    maker.open()
    batch = [delivery_at(seq) for seq in range(51, 2_000)]
    with pytest.raises(StoreFullError, match="make room"):
        maker.sequencer.deliver(batch)
    assert store.received(SOURCE, EPOCH).ranges == ((1, 50),)
    verify_trail(maker.path, maker.key.verifier_key)
    reopen(maker, open_connection)
    maker.open()
    maker.sequencer.deliver(batch)
    assert maker.store.received(SOURCE, EPOCH).ranges == ((1, 1_999),)
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_sequencer_goes_on_after_the_disk_was_full(maker: Maker) -> None:
    """The same process delivers again as soon as there is room."""
    limits: list[sqlite3.Connection] = []

    def limited(path: Path) -> sqlite3.Connection:
        limits.append(open_connection(path))
        return limits[-1]

    reopen(maker, limited)
    maker.open()
    for connection in limits:
        connection.execute("PRAGMA max_page_count = 40")
    batch = [delivery_at(seq) for seq in range(1, 2_000)]
    with pytest.raises(StoreFullError):
        maker.sequencer.deliver(batch)
    for connection in limits:
        connection.execute("PRAGMA max_page_count = 1000000")
    maker.sequencer.deliver(batch)
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_file_locked_for_too_long(maker: Maker) -> None:
    """Somebody else's long transaction: nothing is acknowledged, and later it goes in."""

    def impatient(path: Path) -> sqlite3.Connection:
        connection = open_connection(path)
        connection.execute("PRAGMA busy_timeout = 50")
        return connection

    reopen(maker, impatient)
    maker.open()
    with contextlib.closing(sqlite3.connect(maker.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="another process holds it"):
            maker.sequencer.deliver([delivery_at(1)])
        other.execute("ROLLBACK")
    maker.sequencer.deliver([delivery_at(1)])
    assert verify_trail(maker.path, maker.key.verifier_key).size == 2


def test_a_trail_that_may_only_be_read(maker: Maker) -> None:
    """It answers and verifies; appending says what is wrong."""
    maker.fill([3])

    def read_only(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    store = reopen(maker, read_only)
    assert store.size == 4
    with pytest.raises(StoreReadOnlyError, match="expected to be allowed to write"):
        store.acquire_lease("reader", now=maker.clock(), lease_s=0)


def test_an_index_that_is_not_there(maker: Maker) -> None:
    """Asking for an entry beyond the end says how many there are."""
    maker.fill([3])
    for read in (maker.store.entry, maker.store.head, maker.store.salt):
        with pytest.raises(NoSuchEntryError, match="below 4"):
            read(4)


def test_a_trail_with_damaged_tiles_takes_nothing_more(maker: Maker) -> None:
    """A sequencer that finds the right edge wrong stops rather than sign it."""
    maker.fill([3])
    with contextlib.closing(sqlite3.connect(maker.path, isolation_level=None)) as connection:
        connection.execute("UPDATE tile SET hashes = zeroblob(length(hashes))")
    lease = maker.store.acquire_lease("next", now=maker.clock(), lease_s=0)
    assert lease is not None
    with pytest.raises(MalformedTileError, match="expected root"):
        Sequencer(maker.store, lease, maker.key)

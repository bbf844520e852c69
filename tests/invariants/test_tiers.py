"""Sealed entries that are gone, changed or out of reach, and entries that were rewritten."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from botocore.exceptions import ClientError

from indelible import Trail
from indelible.store.blocks import FRAME_ENTRIES
from indelible.store.places import SegmentFiles
from indelible.store.segment import SealedBlock, Segment
from indelible.store.sqlite import SqliteTrail
from tests.s3_server import APP, SECRET, S3Server
from tests.s3_server import s3 as s3  # a fixture
from tests.servers import free_port
from tests.store.sealing import PLACE, seal

from .bench import ALL, CANT_TELL, HOLDS, SHORT, Bench
from .site import Site
from .test_command import indelible

LONG = {"enumerable", "changes-only", "accessors", "retained"}
"""What reaches back to the sealed entries of a year ago."""


def reopen(bench: Bench) -> None:
    """As the next process does: nothing that was fetched before is known."""
    bench.history.store.close()
    bench.history.store = SqliteTrail(bench.history.path)


def sealed(bench: Bench, place: str = PLACE) -> list[Segment]:
    """All blocks but the last are sealed, eight (four months) a segment."""
    segments = list(seal(bench.history.store, blocks=8, name=place))
    reopen(bench)
    return segments


def test_sealed_whole_all_holds(bench: Bench) -> None:
    """Where entries are kept makes no difference; sampled answers are derived from segments."""
    before = bench.judge()
    assert len(sealed(bench)) == 10
    after = bench.judge()
    assert after == before
    assert {each.verdict for each in after.values()} == {HOLDS, "holds so far"}


def harm(bench: Bench, segment: Segment, part: int | None) -> None:
    """One bit of a part (a frame, or 4: heads) of the segment's third block; None: all of it is
    gone."""
    path = bench.directory / PLACE / segment.name
    if part is None:
        path.unlink()
        return
    with contextlib.closing(sqlite3.connect(bench.history.path)) as connection:
        (raw,) = connection.execute(
            "SELECT sealed FROM block WHERE n = ?", (segment.first // 256 + 2,)
        ).fetchone()
    offset, length = SealedBlock.unpack(raw).part(part)
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[offset + length // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("part", "days"),
    [(None, 107), (0, 3), (2, 4), (4, 13)],
    ids=["gone", "first frame", "third frame", "heads"],
)
def test_a_segment_that_is_not_what_was_sealed(part: int | None, days: int, bench: Bench) -> None:
    """What reaches back so far falls short, by the time of the entries that can't be read, or
    proven."""
    segment = sealed(bench)[7]
    harm(bench, segment, part)

    verdicts = bench.judge()

    for name in LONG:
        found = verdicts[name]
        assert found.verdict == SHORT, found.words
        assert "can't be read" in found.words
        assert found.figure == pytest.approx(days * 86_400, abs=86_400)
        assert found.example is not None
        assert segment.first <= found.example <= segment.last
    assert verdicts["forgotten"].verdict == CANT_TELL
    for name in set(ALL) - LONG - {"forgotten"}:
        assert verdicts[name].verdict == HOLDS, (name, verdicts[name].words)


@pytest.fixture
def client(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{s3.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", APP)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = s3.client()
    with contextlib.suppress(ClientError):
        client.create_bucket(Bucket="history")
    yield client


def test_a_bucket_out_of_reach(bench: Bench, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether what is there is whole: that can't be told, and is tried once."""
    sealed(bench, "s3://history/trail")
    assert bench.judge()["enumerable"].verdict == HOLDS
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    reopen(bench)
    asked: list[object] = []
    parts = SegmentFiles.parts

    def counted(self: SegmentFiles, wanted: Any) -> Any:
        asked.append(wanted)
        return parts(self, wanted)

    monkeypatch.setattr(SegmentFiles, "parts", counted)

    verdicts = bench.judge()

    for name in (*LONG, "reversible", "complete", "forgotten"):
        found = verdicts[name]
        assert found.verdict == CANT_TELL, (name, found.words)
    assert len(asked) < 100


def test_one_object_of_a_bucket_gone(bench: Bench, client: Any) -> None:
    """The bucket answers that it has it no more: that is no doubt, it falls short."""
    segment = sealed(bench, "s3://history/gone")[7]
    client.delete_object(Bucket="history", Key=f"gone/{segment.name}")
    reopen(bench)
    found = bench.judge()["retained"]
    assert found.verdict == SHORT
    assert found.example == segment.first


# -- entries of the trail's own file ---------------------------------------------------------------


def rewrite(path: Path, index: int, old: bytes, new: bytes) -> None:
    """What somebody does who has the file: another body, in a frame that is whole."""
    frame = f"frame{index % 256 // FRAME_ENTRIES}"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        (data,) = connection.execute(
            f"SELECT {frame} FROM block WHERE n = ?", (index // 256,)
        ).fetchone()
        lines = zstandard.ZstdDecompressor().decompress(data).split(b"\n")
        place = index % FRAME_ENTRIES
        assert old in lines[place]
        lines[place] = lines[place].replace(old, new)
        data = zstandard.ZstdCompressor().compress(b"\n".join(lines))
        connection.execute(f"UPDATE block SET {frame} = ? WHERE n = ?", (data, index // 256))


@pytest.mark.parametrize("garbage", [b"\xff\xfe", b'{"kind":' * 20_000], ids=["text", "depth"])
def test_a_body_that_is_no_json(garbage: bytes, bench: Bench) -> None:
    """It is named, whatever its bytes are, and what counts over its time can't tell."""
    store = bench.history.store
    index = int(store.size) - 40
    body = store.entry(index).body
    rewrite(bench.history.path, index, body, garbage)
    reopen(bench)
    verdicts = bench.judge()
    for name in ("attributed", "forbids", "separates", "limits", "delivered"):
        assert verdicts[name].verdict == CANT_TELL, (name, verdicts[name].words)
        assert "expected the JSON of an event" in verdicts[name].words


@pytest.mark.parametrize("garbage", [b"\xff\xfe", b"[" * 20_000], ids=["text", "depth"])
def test_a_baseline_that_is_no_json(garbage: bytes, bench: Bench) -> None:
    body = bench.history.store.entry(0).body
    rewrite(bench.history.path, 0, body, garbage)
    reopen(bench)
    for name, found in bench.judge().items():
        assert found.verdict != HOLDS or name in ("log_clean", "tamper_evident"), (name, found)


def test_rewritten_bodies_are_found_by_verify_and_then_told(tmp_path: Path) -> None:
    """Until somebody looks nothing holds by cosignatures alone; once it was found it falls short,
    until it is acknowledged."""
    promises = (
        '[[invariant]]\nkind = "complete"\n'
        '[[invariant]]\nkind = "forbids"\naction = "note.read"\nby = "staff:alice"\n'
    )
    site = Site(tmp_path, "CREATE TABLE note (id INTEGER PRIMARY KEY, t)", promises)
    site.run("INSERT INTO note VALUES (1, 'before')")
    site.run("SELECT * FROM note")
    site.trail.flush()
    site.reconcile()
    store = site.trail.reader
    (index,) = [
        int(entry.index)
        for entry in store.entries(0, int(store.size) - 1)
        if b'"action":"note.read"' in entry.body
    ]
    site.stop()
    rewrite(tmp_path / "trail.db", index, b'"id":"alice"', b'"id":"carol"')
    with Trail.open(site.configuration) as trail:
        complete, forbids = trail.check()
        assert (complete.verdict, forbids.verdict) == ("holds so far", "holds so far")

    indelible(tmp_path, "verify", code=3)
    with Trail.open(site.configuration) as trail:
        trail.flush()
        complete, _ = trail.check()
        assert complete.verdict == SHORT
        assert "the trail was verified, and isn't what it should be" in complete.words
        (notice,) = [each for each in trail.notices() if each.action == "trail.not_verified"]
        assert complete.example == notice.index
        trail.acknowledge(notice.index, reason="restored from the backup")
        trail.flush()
        assert trail.check()[0].verdict == "holds so far"

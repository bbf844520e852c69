"""Segments in a bucket of S3 (SeaweedFS): locked, written once, and what happens when it's away."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from indelible.errors import ConfigurationError
from indelible.events.codec import format_time
from indelible.integrity.faults import UnauthorisedActError
from indelible.integrity.verifier import verify_trail
from indelible.store.errors import (
    SegmentDamagedError,
    SegmentMissingError,
    SegmentUnreachableError,
)
from indelible.store.places import Lock, open_place
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_dropping import Dropper
from tests.integrity.anchored import BUCKET, LockingServer, between, weakens
from tests.integrity.trails import Maker
from tests.s3_server import APP, READER, SECRET, Between, S3Server
from tests.s3_server import s3 as s3  # a fixture
from tests.store.sealing import all_answers, all_that_is_read, seal

PLACE = "s3://segments/of/trail"


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    made = Maker(tmp_path / "trail.db")
    made.fill([150] * 8)
    yield made
    made.close()


@pytest.fixture
def client(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket with Object Lock, found as boto3 finds it: by the environment."""
    at_port(monkeypatch, s3.port)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", APP)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = s3.client()
    with contextlib.suppress(ClientError):
        client.create_bucket(Bucket="segments", ObjectLockEnabledForBucket=True)
    with contextlib.suppress(ClientError):
        client.create_bucket(Bucket="unlocked")
    yield client


def at_port(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")


def test_sealed_to_a_bucket_all_is_read_as_before(maker: Maker, client: Any) -> None:
    """Entries, proofs and answers are the same, and the trail verifies, from objects."""
    before, answers = all_that_is_read(maker.store), all_answers(maker.store, [(None, None)])
    segments = list(seal(maker.store, name=PLACE))
    assert [segment.place for segment in segments] == [PLACE, PLACE]
    assert all_that_is_read(maker.store) == before
    assert all_answers(maker.store, [(None, None)]) == answers
    verify_trail(maker.path, maker.key.verifier_key)
    listed = client.list_objects_v2(Bucket="segments", Prefix="of/trail/")["Contents"]
    assert {f"of/trail/{segment.name}" for segment in segments} <= {o["Key"] for o in listed}
    assert not list(maker.path.parent.glob("*unfinished*"))


def test_a_locked_segment_can_t_be_deleted(maker: Maker, client: Any) -> None:
    """The store was told until when, says so, and keeps to it."""
    place = open_place(PLACE, maker.path, Lock("compliance", 30))
    segment = next(seal(maker.store, place=place, name=PLACE))
    key = f"of/trail/{segment.name}"
    head = client.head_object(Bucket="segments", Key=key)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ClientError):
        client.delete_object(Bucket="segments", Key=key, VersionId=head["VersionId"])
    assert list(maker.store.entries(0, 10))


def test_a_bucket_without_lock_isn_t_taken_for_one(maker: Maker, client: Any) -> None:
    """Where the store doesn't say that it is locked, nothing leaves the trail's file."""
    place = open_place("s3://unlocked", maker.path, Lock("governance", 30))
    with pytest.raises((ConfigurationError, SegmentUnreachableError), match=r"(?i)nothing is lost"):
        list(seal(maker.store, place=place, name="s3://unlocked"))
    assert maker.store.segments() == ()
    assert list(maker.store.entries(0, 10))


@pytest.mark.parametrize("before", ["compliance", "governance"])
def test_one_that_is_there_with_a_shorter_lock_gets_the_longer(
    before: Literal["compliance", "governance"], maker: Maker, client: Any
) -> None:
    """What an interrupted run left, days ago or under a weaker lock: it doesn't stop the next."""
    name = f"{PLACE}-{before}"
    first = next(seal(maker.store, place=open_place(name, maker.path, Lock(before, 1)), name=name))
    whole = client.get_object(Bucket="segments", Key=f"of/trail-{before}/{first.name}")["Body"]
    spooled = maker.path.with_name("spooled")
    spooled.write_bytes(whole.read())
    open_place(name, maker.path, Lock("compliance", 30)).put(first.name, spooled)
    head = client.head_object(Bucket="segments", Key=f"of/trail-{before}/{first.name}")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    left = head["ObjectLockRetainUntilDate"] - dt.datetime.now(dt.UTC)
    assert left > dt.timedelta(days=29)
    assert not spooled.exists()


@pytest.fixture(scope="module")
def liar() -> Iterator[LockingServer]:
    """A store that takes locks, says that they hold, and lets them be weakened."""
    server = LockingServer()
    yield server
    server.remove()


def test_a_bucket_that_says_it_locks_is_tried_first(
    maker: Maker, client: Any, liar: LockingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sealed to one that lets go of what it said it would keep."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", liar.url)
    name = f"s3://{BUCKET}/of/trail"
    place = open_place(name, maker.path, Lock("compliance", 30))
    with pytest.raises(ConfigurationError, match=r"it accepted a weaker retention.*still in the"):
        list(seal(maker.store, place=place, name=name))
    assert maker.store.segments() == ()
    with between(liar.url, weakens) as url:  # as one that keeps to it
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        place = open_place(name, maker.path, Lock("compliance", 30))
        assert len(list(seal(maker.store, place=place, name=name))) == 2


def test_whoever_may_delete_nothing_seals_and_is_told(
    maker: Maker,
    client: Any,
    liar: LockingServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refusal shows nothing then: an operator with more rights tries it."""

    def refuses(method: str, path: str) -> bool:
        return method == "DELETE" or weakens(method, path)

    name = f"s3://{BUCKET}/of/trail2"
    with between(liar.url, refuses) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        place = open_place(name, maker.path, Lock("governance", 30))
        assert len(list(seal(maker.store, place=place, name=name))) == 2
    told = [record.getMessage() for record in caplog.records]
    assert len([each for each in told if "isn't shown to be write-once" in each]) == 1


def test_a_bucket_that_goes_away_in_the_middle(
    maker: Maker, s3: S3Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed stays sealed, the rest stays where it is; later it goes on, nothing twice."""
    before = all_that_is_read(maker.store)
    between = Between(s3.port)
    at_port(monkeypatch, between.port)
    sealing = seal(maker.store, blocks=1, name=f"{PLACE}2")
    assert next(sealing).last == 255
    between.close()
    with pytest.raises(SegmentUnreachableError, match="nothing is lost"):
        list(sealing)
    with pytest.raises(SegmentUnreachableError, match=r"can't read segment .*entries 0 to 255"):
        maker.store.entry(3)
    assert maker.store.tiers()[-1].first == 256
    assert maker.store.entry(300).index == 300
    at_port(monkeypatch, s3.port)
    maker.store.close()
    maker.store = SqliteTrail(maker.path)
    list(seal(maker.store, blocks=1, name=f"{PLACE}2"))
    assert all_that_is_read(maker.store) == before
    verify_trail(maker.path, maker.key.verifier_key)
    keys = client.list_objects_v2(Bucket="segments", Prefix="of/trail2/")["Contents"]
    names = {f"of/trail2/{segment.name}" for segment in maker.store.segments()}
    assert {key["Key"] for key in keys} == names


def test_a_block_is_read_in_one_request(
    maker: Maker, s3: S3Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its parts are wanted."""
    before = list(maker.store.entries(0, 1_023))
    list(seal(maker.store, name=f"{PLACE}6"))
    between = Between(s3.port)
    at_port(monkeypatch, between.port)
    maker.store.close()
    maker.store = SqliteTrail(maker.path)
    assert maker.store.entry(300).index == 300
    assert len(between.requests) == 1
    assert list(maker.store.entries(0, 1_023)) == before
    assert len(between.requests) == 1 + 4
    between.close()


def test_an_answer_to_a_put_that_was_lost(
    maker: Maker, s3: S3Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is there, nobody said so: the next run finds it and doesn't write it again."""
    between = Between(s3.port, lost=1)
    at_port(monkeypatch, between.port)
    with contextlib.suppress(SegmentUnreachableError):
        list(seal(maker.store, name=f"{PLACE}3"))
    list(seal(maker.store, name=f"{PLACE}3"))
    between.close()
    versions = client.list_object_versions(Bucket="segments", Prefix="of/trail3/")["Versions"]
    assert sorted(each["Key"] for each in versions) == [
        f"of/trail3/{segment.name}" for segment in maker.store.segments()
    ]


def test_what_was_done_to_objects_is_named(maker: Maker, client: Any) -> None:
    """Replaced by other bytes, cut short, deleted: each by the segment's name."""
    place = f"{PLACE}4"
    first, second = seal(maker.store, name=place)
    key = f"of/trail4/{first.name}"
    whole = client.get_object(Bucket="segments", Key=key)["Body"].read()
    client.put_object(Bucket="segments", Key=key, Body=whole[:100] + b"\0" * (len(whole) - 100))
    with pytest.raises(SegmentDamagedError, match=f"{first.name}.*damaged near"):
        maker.store.entry(3)
    client.put_object(Bucket="segments", Key=key, Body=whole[:200])
    with pytest.raises(SegmentDamagedError, match=f"{first.name}.*ends too early"):
        maker.store.entry(3)
    with pytest.raises(SegmentDamagedError, match="with another hash"):
        verify_trail(maker.path, maker.key.verifier_key)
    client.delete_object(Bucket="segments", Key=key)
    with pytest.raises(SegmentMissingError, match=first.name):
        maker.store.entry(3)
    assert maker.store.entry(second.first).index == second.first


@pytest.mark.usefixtures("client")
def test_a_bucket_that_may_not_be_written(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so; the entries stay."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    with pytest.raises(
        SegmentUnreachableError, match=r"can't write s3://segments/.*nothing is"
    ) as raised:
        list(seal(maker.store, name="s3://segments"))
    assert SECRET not in str(raised.value)
    assert maker.store.segments() == ()
    with pytest.raises(ConfigurationError, match="got no bucket"):
        open_place("s3://", maker.path)


def test_what_retention_drops_leaves_the_bucket(maker: Maker, client: Any) -> None:
    """The old object with all its versions, once it isn't locked any more; before, it stays in use
    by nobody, and is named."""
    locked = open_place(PLACE + "/locked", maker.path, Lock("governance", 30))
    (segment, *_) = seal(maker.store, place=locked, name=PLACE + "/locked")
    dropper = Dropper(maker.path, clock=lambda: format_time(0))
    (new,) = dropper.drop({0: 1})
    assert new.name != segment.name
    with pytest.raises(SegmentUnreachableError, match="Object Lock"):
        dropper.clear()
    client.put_object_retention(
        Bucket="segments",
        Key=f"of/trail/locked/{segment.name}",
        Retention={
            "Mode": "GOVERNANCE",
            "RetainUntilDate": dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2),
        },
        BypassGovernanceRetention=True,
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            dropper.clear()
            break
        except SegmentUnreachableError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    found = client.list_object_versions(Bucket="segments", Prefix="of/trail/locked/")
    names = {each["Key"].rpartition("/")[2] for each in found.get("Versions", ())}
    assert segment.name not in names and new.name in names
    assert not found.get("DeleteMarkers")
    with pytest.raises(UnauthorisedActError, match="index 0: body dropped"):
        verify_trail(maker.path, maker.key.verifier_key)

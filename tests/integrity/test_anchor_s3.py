"""A bucket as an anchor: one that refuses to delete is told from those that only say so."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from indelible.errors import DeliveryError
from indelible.integrity.anchor_s3 import S3Anchor
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import S3Settings
from indelible.store.protocol import AnchorRow
from tests.conftest import go_build
from tests.integrity.anchored import (
    BUCKET,
    Anchored,
    LockingServer,
    between,
    keep,
    s3_client,
    s3_section,
    wait_until_anchored,
    weakens,
)
from tests.integrity.witnessed import ORIGIN, record
from tests.integrity.witnesses import Answer, answering, run, until
from tests.s3_server import APP, SECRET, S3Server
from tests.servers import free_port

PACKAGE = "github.com/versity/versitygw/cmd/versitygw"


@pytest.fixture(scope="module")
def moto() -> Iterator[LockingServer]:
    server = LockingServer()
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A prefix of its own."""
    return f"{tmp_path.name}/"


def anchor_at(
    url: str, prefix: str = "", *, bucket: str = BUCKET, deadline_s: float = 10.0
) -> S3Anchor:
    settings = S3Settings(
        name="vault",
        bucket=bucket,
        prefix=prefix,
        endpoint=url,
        retention_days=7,
        deadline_s=deadline_s,
    )
    return S3Anchor(settings, ORIGIN)


def receipt_of(row: AnchorRow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.receipt)
    return found


# -- the self-test --------------------------------------------------------------------------------


def test_a_store_that_refuses_is_write_once(moto: LockingServer, folder: str) -> None:
    """It is tested once, before its first object, and that stays known."""
    asked: list[str] = []

    def refuses(method: str, path: str) -> bool:
        asked.append(f"{method} {path.partition('?')[0]}")
        return weakens(method, path)

    with between(moto.url, refuses) as url:
        assert anchor_at(url, f"{folder}a/").self_test().verdict == "write-once"
        first = keep(anchor_at(url, folder), 5)
        assert first.outside
        tests = sum("self-test" in each for each in asked)
        assert keep(anchor_at(url, folder), 6, first).outside
        assert sum("self-test" in each for each in asked) == tests
    until = receipt_of(first)["until"]
    assert abs(until - time.time() - 7 * 86_400) < 60


def test_moto_lets_retention_be_weakened_which_is_found(moto: LockingServer, folder: str) -> None:
    """It refuses each deletion, and then takes a retention that ends sooner."""
    found = anchor_at(moto.url, folder).self_test()
    assert found.verdict == "deletes"
    assert found.why == "it accepted a weaker retention, under retention in mode COMPLIANCE"
    with pytest.raises(DeliveryError, match="it isn't write-once: it accepted a weaker retention"):
        keep(anchor_at(moto.url, folder), 5)


def test_seaweedfs_is_write_once(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """A real store, of a version that keeps its word; what it took is read back."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", APP)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    server = S3Server()
    try:
        server.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        check_write_once(anchor_at(f"http://127.0.0.1:{server.port}", folder))
    finally:
        server.remove()


def check_write_once(anchor: S3Anchor) -> None:
    assert anchor.self_test().verdict == "write-once"
    row = keep(anchor, 5)
    assert row.outside
    found = anchor.read_back(row)
    assert [(each.size, each.note()) for each in found.held] == [(5, row.note)]
    assert "write-once by its self-test" in found.shown
    assert found.time is not None
    assert abs(found.time - time.time()) < 60


def test_a_front_that_says_yes_and_deletes_is_found(moto: LockingServer, folder: str) -> None:
    """Or that says yes and doesn't: neither is a refusal."""
    with (
        answering(lambda method, path, body: Answer(200, "application/xml", b"")) as url,
        pytest.raises(DeliveryError, match="versions aren't kept in this bucket"),
    ):
        keep(anchor_at(url, folder), 5)
    with accepting(moto.url) as url:
        found = anchor_at(url, folder).self_test()
        assert (found.verdict, found.why) == (
            "deletes",
            "it accepted a deletion, under retention in mode COMPLIANCE",
        )
        with pytest.raises(DeliveryError, match="isn't write-once"):
            keep(anchor_at(url, folder), 5)


@contextlib.contextmanager
def accepting(url: str) -> Iterator[str]:
    """A store in front of `url` that forgets locks when it is asked to delete."""
    client = s3_client(url)

    def forget(method: str, path: str) -> bool:
        if method == "DELETE":
            key, _, query = path.removeprefix(f"/{BUCKET}/").partition("?")
            version = query.partition("versionId=")[2].partition("&")[0]
            weaken(client, key, version)
        return False

    with between(url, forget) as front:
        yield front


def weaken(client: Any, key: str, version: str) -> None:
    """By what moto has too little of: it takes a retention that is over."""
    client.put_object_retention(
        Bucket=BUCKET,
        Key=key,
        VersionId=version,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": "2020-01-01T00:00:00Z"},
        BypassGovernanceRetention=True,
    )


def test_a_bucket_without_locks(moto: LockingServer, folder: str) -> None:
    """It says so itself, when it is to lock something."""
    moto.make_bucket("plain", locks=False)
    anchor = anchor_at(moto.url, folder, bucket="plain")
    assert "takes no object under Object Lock" in anchor.self_test().why
    with pytest.raises(DeliveryError, match="isn't write-once"):
        keep(anchor, 5)


def test_who_may_delete_nothing_can_t_tell(moto: LockingServer, folder: str) -> None:
    """Then it is anchored, and isn't called write-once, until somebody who may has tested it."""

    def refuses(method: str, path: str) -> bool:
        return method == "DELETE" or weakens(method, path)

    with between(moto.url, refuses) as url, between(moto.url, weakens) as stronger:
        weak = anchor_at(url, folder)
        found = weak.self_test()
        assert found.verdict == "unknown"
        assert "these credentials may not delete what isn't locked, either" in found.why
        row = keep(weak, 5)
        assert not row.outside
        assert "not shown to be write-once" in weak.read_back(row).shown
        # The same bucket at another address: what was found there counts there.
        strong = anchor_at(stronger, folder)
        assert keep(strong, 6, row).outside


def test_an_operator_tests_a_bucket(moto: LockingServer, tmp_path: Path) -> None:
    """By the command, which exits with 1 where it isn't write-once; `status` says so from then."""
    with between(moto.url, weakens) as url:
        anchored = Anchored(tmp_path / "trail", s3_section(url))
        with anchored.open() as trail:
            record(trail)
            wait_until_anchored(trail)
        said = run("anchor", "--self-test", cwd=anchored.directory)
        assert "vault: write-once: it refused to delete, and to shorten, what it keeps" in said
        assert "anchor vault (s3): " in run("status", cwd=anchored.directory)
    anchored.anchor(s3_section(moto.url))
    said = run("anchor", "--self-test", cwd=anchored.directory, exit_code=1)
    assert "vault: deletes: it accepted a weaker retention" in said
    said = run("status", cwd=anchored.directory, exit_code=1)
    assert "it isn't write-once: it accepted a weaker retention" in " ".join(said.split())
    anchored.anchor('[anchors.disk]\nkind = "file"\npath = "lines"\n')
    said = run("anchor", "--self-test", cwd=anchored.directory, exit_code=2)
    assert "expected an anchor of kind s3 with --self-test" in said


# -- what was kept --------------------------------------------------------------------------------


def test_an_object_that_is_hidden_or_written_over_is_still_read(
    moto: LockingServer, folder: str
) -> None:
    """A delete marker and a newer version leave the version that is locked."""
    with between(moto.url, weakens) as url:
        anchor = anchor_at(url, folder)
        row = keep(anchor, 5)
        client = s3_client(url)
        key = receipt_of(row)["key"]
        client.put_object(Bucket=BUCKET, Key=key, Body=b"another")
        client.delete_object(Bucket=BUCKET, Key=key)
        found = anchor.read_back(row)
        assert [each.size for each in found.held] == [5, 5]
        assert {each.note() for each in found.held} == {row.note, b"another"}
        assert "the newest locked until" in found.shown


def test_before_a_checkpoint_no_older_objects_are_listed(moto: LockingServer, folder: str) -> None:
    """Only what is larger than what it took last, which is read itself."""
    with between(moto.url, weakens) as url:
        anchor = anchor_at(url, folder)
        rows = []
        for size in (3, 5, 9, 11):
            rows.append(keep(anchor, size, rows[-1] if rows else None))
        *_, older, row = rows
        assert anchor.read_back(row, whole=False).held == []
        assert [each.size for each in anchor.read_back(older, whole=False).held] == [11]
        assert len(anchor.read_back(None, whole=False).held) == 4
        assert len(anchor.read_back(row).held) == 4


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("deleted", "version .* of 5 entries is gone"),
        ("replaced", "has other bytes than it took"),
        ("weakened", "expected .* locked in mode COMPLIANCE until .*, it is in mode GOVERNANCE"),
    ],
)
def test_a_store_that_broke_its_word(how: str, said: str, moto: LockingServer, folder: str) -> None:
    """What was locked is gone, is another, or isn't locked as it was."""
    with between(moto.url, weakens) as url:
        anchor = anchor_at(url, folder)
        row = keep(anchor, 5)
        client, answer = s3_client(moto.url), receipt_of(row)
        if how == "replaced":
            other = client.put_object(Bucket=BUCKET, Key=answer["key"], Body=b"another")
            row = row._replace(
                receipt=json.dumps({**answer, "version": other["VersionId"]}).encode()
            )
        else:
            weaken(client, answer["key"], answer["version"])
        if how == "deleted":
            client.delete_object(
                Bucket=BUCKET,
                Key=answer["key"],
                VersionId=answer["version"],
                BypassGovernanceRetention=True,
            )
        with pytest.raises(AnchorMismatchError, match=f"anchor vault: .*{said}"):
            anchor.read_back(row)


def test_what_is_gone_behind_its_retention_is_no_fault(moto: LockingServer, folder: str) -> None:
    """A rule of the bucket may delete it then."""
    with between(moto.url, weakens) as url:
        anchor = anchor_at(url, folder)
        row = keep(anchor, 5)
        lost = {**receipt_of(row), "version": "gone", "until": int(time.time()) - 1}
        found = anchor.read_back(row._replace(receipt=json.dumps(lost).encode()))
        assert "the newest gone behind its retention" in found.shown


def page(sizes: range, following: str) -> Answer:
    """A page of a list of versions, and the key after which the next begins."""
    versions = "".join(
        f"<Version><Key>{ORIGIN}/{size:020d}-{'00' * 32}</Key><VersionId>v</VersionId></Version>"
        for size in sizes
    )
    more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{following}</NextKeyMarker>"
    text = f"<ListVersionsResult>{more if following else ''}{versions}</ListVersionsResult>"
    return Answer(200, "application/xml", text.encode())


def test_a_list_of_several_pages() -> None:
    """Is read to its end, and no further where it has none."""

    def pages(method: str, path: str, body: bytes) -> Answer:
        return page(range(3, 5), "") if "key-marker=two" in path else page(range(3), "two")

    with answering(pages) as url:
        found = anchor_at(url).read_back(None)
    assert [each.size for each in found.held] == list(range(5))
    with (
        answering(lambda method, path, body: page(range(3), "two")) as url,
        pytest.raises(DeliveryError, match="came the same page again"),
    ):
        anchor_at(url).read_back(None)


ANSWERS = {
    "an-error": Answer(500, "text/plain", b"sorry"),
    "a-redirect": Answer(302, "text/plain", b""),
    "html": Answer(200, "text/html", b"<html>sorry"),
    "noise": Answer(200, "application/xml", b"\xff\x00" * 100),
    "nothing": Answer(200, "application/xml", b""),
    "denied": Answer(403, "application/xml", b"<Error><Code>AccessDenied</Code></Error>"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_store_that_answers_something_else(name: str, folder: str) -> None:
    """Nothing is believed of it, and nothing counts as kept."""
    with answering(lambda method, path, body: ANSWERS[name]) as url:
        anchor = anchor_at(url, folder)
        with pytest.raises(DeliveryError):
            keep(anchor, 5)
        if name != "nothing":
            with pytest.raises(DeliveryError):
                anchor.read_back(None)


def test_a_store_that_is_silent(folder: str) -> None:
    """It isn't waited for beyond the deadline, nor asked twice."""
    asked: list[str] = []

    def silent(method: str, path: str, body: bytes) -> None:
        asked.append(method)

    begun = time.monotonic()
    with (
        answering(silent) as url,
        pytest.raises(DeliveryError, match="expected an answer of the store: ReadTimeoutError"),
    ):
        keep(anchor_at(url, folder, deadline_s=0.5), 5)
    assert time.monotonic() - begun < 10
    assert asked == ["PUT"]


def test_without_credentials(
    monkeypatch: pytest.MonkeyPatch, moto: LockingServer, folder: str, tmp_path: Path
) -> None:
    """Said by the name that boto3 has for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(DeliveryError, match="NoCredentialsError"):
        keep(anchor_at(moto.url, folder), 5)


@pytest.mark.long
def test_versitygw_is_write_once(tmp_path: Path, folder: str) -> None:
    """Another real store that keeps its word; root on its machine can delete the files."""
    program = go_build(Path(__file__).parent / "versity", PACKAGE, tmp_path / "versitygw")
    port = free_port()
    data, versions = tmp_path / "data", tmp_path / "versions"
    data.mkdir()
    versions.mkdir()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(str(program), "--port", f"127.0.0.1:{port}", "--access", "a", "--secret", "s"),
                *("posix", "--versioning-dir", str(versions), str(data)),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        client = s3_client(f"http://127.0.0.1:{port}")
        until(lambda: is_answering(client))
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        check_write_once(anchor_at(f"http://127.0.0.1:{port}", folder))
    finally:
        server.kill()
        server.wait()


def is_answering(client: Any) -> bool:
    with contextlib.suppress(BotoCoreError):
        client.list_buckets()
        return True
    return False

"""S3 through boto3, on a real server: the same results and errors, each object in the answers."""

from __future__ import annotations

import io
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.client import BaseClient
from tests.capture.reads.host import MemoryHost
from tests.s3_server import APP, READER, SECRET, TIDY, Between, S3Server, s3

from indelible import Actor, Subject, acting_as
from indelible.capture.boto3 import record_objects
from indelible.capture.s3_calls import answered, touches_of
from indelible.errors import CaptureError, DeliveryError
from indelible.events.codec import encode_draft
from indelible.events.explicit import explicit_event
from indelible.events.model import Event, Outcome
from indelible.testing import in_memory_trail

__all__ = ["s3"]

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")
PART = 5 * 1024 * 1024  # the smallest that S3 takes
IN_PARTS = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
LARGE = b"zara" * (PART // 4 * 2 + 1)


class Host(MemoryHost):
    """A trail in memory that takes explicit events."""

    def record(self, action: str, **event: Any) -> str | None:
        return self.journal.append(encode_draft(explicit_event(action, **event)))

    def told(self) -> list[str]:
        return [said(event) for event in self.journal.events]


def said(event: Event) -> str:
    """`actor action names`, and an outcome other than success."""
    names = " ".join(str(row[0]) for target in event.targets for row in target.ids)
    outcome = "" if event.outcome is Outcome.SUCCESS else f" {event.outcome.value}"
    who = event.actor.id if event.actor else "nobody"
    return f"{who} {event.action.removeprefix('s3object.')} {names}{outcome}".strip()


def owner(name: str) -> Subject | None:
    customer = name.partition("/")[2].partition(".")[0]
    return Subject("customer", customer) if customer in ("zara", "yan") else None


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[str]:
    """The bucket `shop` with two objects in it."""
    client = s3.client()
    client.create_bucket(Bucket="shop")
    for key in ("zara.txt", "yan.txt"):
        client.put_object(Bucket="shop", Key=key, Body=key[:-4].encode())
    yield "shop"
    for page in client.get_paginator("list_object_versions").paginate(Bucket="shop"):
        for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            client.delete_object(Bucket="shop", Key=each["Key"], VersionId=each["VersionId"])
    client.delete_bucket(Bucket="shop")


def contents(client: Any) -> dict[str, bytes]:
    found = client.list_objects_v2(Bucket="shop").get("Contents", ())
    return {
        each["Key"]: client.get_object(Bucket="shop", Key=each["Key"])["Body"].read()
        for each in found
    }


def _get(c: Any, key: str = "zara.txt", **more: Any) -> bytes:
    return bytes(c.get_object(Bucket="shop", Key=key, **more)["Body"].read())


def _in_parts(c: Any, *, complete: bool = True) -> object:
    upload = c.create_multipart_upload(Bucket="shop", Key="new")["UploadId"]
    where = {"Bucket": "shop", "Key": "new", "UploadId": upload}
    part = c.upload_part(**where, PartNumber=1, Body=LARGE[:PART])["ETag"]
    copied = c.upload_part_copy(**where, PartNumber=2, CopySource="shop/yan.txt")
    parts = [part, copied["CopyPartResult"]["ETag"]]
    if not complete:
        return c.abort_multipart_upload(**where) and None
    listed = [{"PartNumber": number + 1, "ETag": tag} for number, tag in enumerate(parts)]
    return c.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})["Key"]


def _downloaded(c: Any, **options: Any) -> bytes:
    into = io.BytesIO()
    c.download_fileobj("shop", "zara.txt", into, **options)
    return into.getvalue()


def _uploaded(c: Any, to: Path, **options: Any) -> object:
    (to / "mine").write_bytes(LARGE)
    return c.upload_file(str(to / "mine"), "shop", "new", **options)


def _saved(c: Any, to: Path) -> bytes:
    c.download_file("shop", "zara.txt", str(to / "got"))
    return (to / "got").read_bytes()


def _refused(call: Callable[[], object]) -> str:
    """What an error says to an application."""
    with pytest.raises(Exception) as raised:
        call()
    return f"{type(raised.value).__qualname__}: {raised.value}"


def _key(c: Any) -> Any:
    return c.delete_object(Bucket="shop", Key="zara.txt")["ResponseMetadata"]["HTTPStatusCode"]


def _batch(c: Any, *keys: str, **more: Any) -> Any:
    delete = {"Objects": [{"Key": key} for key in keys], **more}
    return sorted(
        each["Key"] for each in c.delete_objects(Bucket="shop", Delete=delete).get("Deleted", ())
    )


WAYS: dict[str, tuple[Callable[[Any, Path], object], list[str]]] = {
    "get": (lambda c, _: _get(c), ["read shop/zara.txt"]),
    "get a range": (lambda c, _: _get(c, Range="bytes=1-2"), ["read shop/zara.txt"]),
    "get and don't look": (
        lambda c, _: c.get_object(Bucket="shop", Key="yan.txt")["Body"].close(),
        ["read shop/yan.txt"],
    ),
    "head": (
        lambda c, _: c.head_object(Bucket="shop", Key="zara.txt")["ContentLength"],
        ["read shop/zara.txt"],
    ),
    "put": (
        lambda c, _: c.put_object(Bucket="shop", Key="new", Body=b"new")["ETag"],
        ["write shop/new"],
    ),
    "copy": (
        lambda c, _: c.copy_object(Bucket="shop", Key="new", CopySource="shop/zara.txt")[
            "CopyObjectResult"
        ]["ETag"],
        ["read shop/zara.txt", "write shop/new"],
    ),
    "copy of a source as a mapping": (
        lambda c, _: c.copy_object(
            Bucket="shop", Key="new", CopySource={"Bucket": "shop", "Key": "yan.txt"}
        )["CopyObjectResult"]["ETag"],
        ["read shop/yan.txt", "write shop/new"],
    ),
    "delete": (lambda c, _: _key(c), ["delete shop/zara.txt"]),
    "delete a batch": (
        lambda c, _: _batch(c, "zara.txt", "yan.txt", "none"),
        ["delete shop/none", "delete shop/yan.txt", "delete shop/zara.txt"],
    ),
    "delete a batch quietly": (
        lambda c, _: _batch(c, "zara.txt", Quiet=True),
        ["delete shop/zara.txt"],
    ),
    "in parts": (lambda c, _: _in_parts(c), ["read shop/yan.txt", "write shop/new"]),
    "in parts, and given up": (
        lambda c, _: _in_parts(c, complete=False),
        ["read shop/yan.txt"],
    ),
    "upload_file": (lambda c, to: _uploaded(c, to), ["write shop/new"]),
    "upload_file in parts": (
        lambda c, to: _uploaded(c, to, Config=IN_PARTS),
        ["write shop/new"],
    ),
    "upload_fileobj": (
        lambda c, _: c.upload_fileobj(io.BytesIO(b"new"), "shop", "new"),
        ["write shop/new"],
    ),
    "download_file": (lambda c, to: _saved(c, to), ["read shop/zara.txt", "read shop/zara.txt"]),
    "download_fileobj": (
        lambda c, _: _downloaded(c),
        ["read shop/zara.txt", "read shop/zara.txt"],
    ),
    "download without threads": (
        lambda c, _: _downloaded(c, Config=TransferConfig(use_threads=False)),
        ["read shop/zara.txt", "read shop/zara.txt"],
    ),
    "managed copy": (
        lambda c, _: c.copy({"Bucket": "shop", "Key": "zara.txt"}, "shop", "new", SourceClient=c),
        ["read shop/zara.txt", "read shop/zara.txt", "write shop/new"],
    ),
    "tags": (
        lambda c, _: (
            c.put_object_tagging(
                Bucket="shop", Key="zara.txt", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
            )
            and c.get_object_tagging(Bucket="shop", Key="zara.txt")["TagSet"]
        ),
        ["read shop/zara.txt", "write shop/zara.txt"],
    ),
    "list": (
        lambda c, _: [each["Key"] for each in c.list_objects_v2(Bucket="shop")["Contents"]],
        ["s3bucket.list shop"],
    ),
    "paginator": (
        lambda c, _: [
            each["Key"]
            for page in c.get_paginator("list_objects_v2").paginate(
                Bucket="shop", PaginationConfig={"PageSize": 1}
            )
            for each in page["Contents"]
        ],
        ["s3bucket.list shop", "s3bucket.list shop"],
    ),
    "waiter": (
        lambda c, _: c.get_waiter("object_exists").wait(Bucket="shop", Key="zara.txt"),
        ["read shop/zara.txt"],
    ),
    "buckets": (
        lambda c, _: [each["Name"] for each in c.list_buckets()["Buckets"]],
        ["s3bucket.list"],
    ),
    "a bucket's settings": (
        lambda c, _: (
            c.put_bucket_versioning(Bucket="shop", VersioningConfiguration={"Status": "Suspended"})
            and c.get_bucket_versioning(Bucket="shop")["Status"]
        ),
        ["s3bucket.read shop", "s3bucket.write shop"],
    ),
    "nowhere": (
        lambda c, _: _refused(lambda: _get(c, "nowhere")),
        ["read shop/nowhere failure"],
    ),
    "head of nothing": (
        lambda c, _: _refused(lambda: c.head_object(Bucket="shop", Key="nowhere")),
        ["read shop/nowhere failure"],
    ),
    "copy of nothing": (
        lambda c, _: _refused(
            lambda: c.copy_object(Bucket="shop", Key="new", CopySource="shop/nowhere")
        ),
        ["read shop/nowhere failure", "write shop/new failure"],
    ),
    "nonsense": (
        lambda c, _: _refused(lambda: c.delete_objects(Bucket="shop", Delete=["zara.txt"])),
        ["delete failure"],
    ),
    "upload to nowhere": (
        lambda c, to: _refused(
            lambda: c.upload_fileobj(io.BytesIO(LARGE), "no_where", "new", Config=IN_PARTS)
        ),
        ["write no_where/new failure"],
    ),
    "transfer called wrongly": (lambda c, _: _refused(lambda: c.upload_file("mine")), []),
    "signed for nonsense": (
        lambda c, _: _refused(lambda: c.generate_presigned_url("nonsense")),
        ["s3bucket.write failure"],
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way(way: str, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """The results, errors and objects are those without, and the events are these."""
    run, expected = WAYS[way]
    plain = s3.client()
    first = run(plain, tmp_path)
    after = contents(plain)
    for key in after:
        plain.delete_object(Bucket="shop", Key=key)
    for key in ("zara.txt", "yan.txt"):
        plain.put_object(Bucket="shop", Key=key, Body=key[:-4].encode())

    host, client = Host(), s3.client()
    record_objects(client, host)
    with acting_as(ALICE):
        assert run(client, tmp_path) == first
    assert contents(plain) == after
    told = [line for event in host.journal.events for line in one_by_one(event)]
    assert sorted(told) == sorted(f"alice {each}" for each in expected)


def one_by_one(event: Event) -> list[str]:
    who, action, *names = said(event).split(" ")
    outcome = names.pop() if names and names[-1] in ("failure", "denied") else ""
    return [" ".join(filter(None, (who, action, name, outcome))) for name in names or [""]]


def test_answers_name_who_read_whose_objects(s3: S3Server, bucket: str) -> None:
    """Through a real trail: what a batch deletes of two customers is in the answer of each."""
    with in_memory_trail() as trail:
        client = s3.client()
        record_objects(client, trail, subject=owner)
        with acting_as(ALICE):
            _get(client)
        with acting_as(BOB):
            _batch(client, "zara.txt", "yan.txt")
        trail.flush()
        found = {each.actor: each for each in trail.accessors(of=Subject("customer", "zara"))}
        assert set(found) == {ALICE, BOB} and all(each.certain for each in found.values())
        (change,) = (each for each in trail.changes(by=BOB) if "zara" in repr(each.event.targets))
        assert [target.ids for target in change.event.targets] == [(("shop/zara.txt",),)]
        assert change.event.details is not None
        assert change.event.details["operation"] == "DeleteObjects"


@pytest.mark.parametrize("made_by", ["session", "botocore", "resource"])
def test_whatever_makes_the_client(made_by: str, s3: S3Server, bucket: str) -> None:
    """A session's later clients and resources, one of botocore's, and a resource that is there."""
    host = Host()
    with acting_as(ALICE):
        if made_by == "botocore":
            plain = botocore.session.Session()
            plain.set_credentials(APP, SECRET)
            record_objects(plain, host)
            _get(plain.create_client("s3", region_name="us-east-1", **s3.options()))
        else:
            session = s3.session()
            if made_by == "session":
                record_objects(session, host)
            resource = session.resource("s3", **s3.options())
            if made_by == "resource":
                record_objects(resource, host)
            assert type(resource.meta.client).__name__ == "S3"
            resource.Object("shop", "zara.txt").get()["Body"].read()
    assert host.told() == ["alice read shop/zara.txt"]
    if made_by != "botocore":
        with acting_as(BOB):
            resource.Bucket("shop").upload_fileobj(io.BytesIO(LARGE), "big", Config=IN_PARTS)
            resource.Bucket("shop").objects.filter(Prefix="big").delete()
        listed, deleted = "s3bucket.list shop", "delete shop/big"
        assert host.told()[1:] == [f"bob {it}" for it in ("write shop/big", listed, deleted)]


def test_threads_of_transfers_act_for_their_caller(s3: S3Server, bucket: str) -> None:
    """Two people's transfers at once, over one client, in parts that many threads carry."""
    host, client = Host(), s3.client()
    record_objects(client, host)
    s3.client().put_object(Bucket="shop", Key="large", Body=LARGE)
    failed: list[BaseException] = []

    def work(actor: Actor) -> None:
        try:
            with acting_as(actor):
                for turn in range(3):
                    key = f"{actor.id}{turn}"
                    client.upload_fileobj(io.BytesIO(LARGE), "shop", key, Config=IN_PARTS)
                    into = io.BytesIO()
                    client.download_fileobj("shop", "large", into, Config=IN_PARTS)
                    assert into.getvalue() == LARGE
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(actor,)) for actor in (ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    once = ["read shop/large", "read shop/large"]  # its head, and its contents in three ranges
    assert sorted(host.told()) == sorted(
        f"{who} {line}"
        for who in ("alice", "bob")
        for turn in range(3)
        for line in (*once, f"write shop/{who}{turn}")
    )


def test_a_transfer_manager_of_the_applications_own_acts_for_nobody(
    s3: S3Server, bucket: str
) -> None:
    """Its threads know no caller; what they do is told all the same."""
    host, client = Host(), s3.client()
    record_objects(client, host)
    with acting_as(ALICE), S3Transfer(client) as transfer:
        transfer.upload_file(__file__, "shop", "new")
    assert host.told() == ["nobody write shop/new"]


def test_what_may_not_be_done_is_denied(s3: S3Server, bucket: str) -> None:
    """Refused are a write, a HEAD whose answer has no text, and one object of a batch."""
    host = Host()
    reader, tidy = s3.client(READER), s3.client(TIDY)
    plain = s3.client(READER)
    record_objects(reader, host)
    record_objects(tidy, host)
    s3.client().put_object(Bucket="shop", Key="open/a", Body=b"a")
    write = {"Bucket": "shop", "Key": "new", "Body": b"new"}
    assert _refused(lambda: reader.put_object(**write)) == _refused(
        lambda: plain.put_object(**write)
    )
    _refused(lambda: tidy.head_object(Bucket="shop", Key="zara.txt"))
    answer = tidy.delete_objects(
        Bucket="shop", Delete={"Objects": [{"Key": "open/a"}, {"Key": "zara.txt"}]}
    )
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [
        ("zara.txt", "AccessDenied")
    ]
    assert host.told() == [
        "nobody write shop/new denied",
        "nobody read shop/zara.txt denied",
        "nobody delete shop/open/a",
        "nobody delete shop/zara.txt denied",
    ]
    assert {event.kind for event in host.journal.events if event.outcome is Outcome.DENIED} == {
        "event"
    }


def test_a_signed_url_counts_for_what_its_holder_may_do(s3: S3Server, bucket: str) -> None:
    """It works, is told when it is made, and nothing of its signature is recorded."""
    host, client = Host(), s3.client()
    record_objects(client, host)
    where = {"Bucket": "shop", "Key": "zara.txt"}
    with acting_as(ALICE):
        url = client.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
        client.generate_presigned_url("put_object", where, 60)
        client.generate_presigned_url("get_object", Params=where, HttpMethod="PUT")
        client.generate_presigned_url("head_object", Params=where, HttpMethod="DELETE")
        client.generate_presigned_post("shop", "form/${filename}", ExpiresIn=60)
        client.generate_presigned_url("upload_part", where | {"UploadId": "u", "PartNumber": 1})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"zara"
    assert host.told() == [
        "alice read shop/zara.txt",
        "alice write shop/zara.txt",
        "alice write shop/zara.txt",
        "alice delete shop/zara.txt",
        "alice write shop/form/${filename}",
        "alice write shop/zara.txt",
    ]
    first = host.journal.events[0]
    assert first.details == {"operation": "GetObject", "as": "url", "expires_in_s": 60}
    assert first.kind == "access"
    signature = url.rpartition("Signature=")[2].partition("&")[0].encode()
    assert len(signature) > 10
    assert all(signature not in draft for draft in host.journal.drafts)


def test_versions_are_named(s3: S3Server, bucket: str) -> None:
    """The one that was written, read, copied, hidden or deleted for good."""
    host, client = Host(), s3.client()
    client.put_bucket_versioning(Bucket="shop", VersioningConfiguration={"Status": "Enabled"})
    record_objects(client, host)
    old = client.put_object(Bucket="shop", Key="v", Body=b"1")["VersionId"]
    new = client.put_object(Bucket="shop", Key="v", Body=b"2")["VersionId"]
    assert _get(client, "v") == b"2" and _get(client, "v", VersionId=old) == b"1"
    source = {"Bucket": "shop", "Key": "v", "VersionId": old}
    copy = client.copy_object(Bucket="shop", Key="w", CopySource=source)["VersionId"]
    marker = client.delete_object(Bucket="shop", Key="v")["VersionId"]
    delete = {"Objects": [{"Key": "v", "VersionId": old}, {"Key": "v", "VersionId": new}]}
    client.delete_objects(Bucket="shop", Delete=delete)
    assert [(said(event), (event.details or {})["version"]) for event in host.journal.events] == [
        ("nobody write shop/v", old),
        ("nobody write shop/v", new),
        ("nobody read shop/v", new),
        ("nobody read shop/v", old),
        ("nobody read shop/v", old),
        ("nobody write shop/w", copy),
        ("nobody delete shop/v", marker),
        ("nobody delete shop/v", old),
        ("nobody delete shop/v", new),
    ]


# -- what fails on the way -----------------------------------------------------------------------


@pytest.fixture
def between(s3: S3Server) -> Iterator[Between]:
    found = Between(s3.port)
    yield found
    found.close()


def test_tries_are_one_event(s3: S3Server, bucket: str, between: Between) -> None:
    """Three requests, of which two answers were lost, are one read."""
    host = Host()
    client = s3.client(port=between.port, retries={"max_attempts": 4, "mode": "standard"})
    record_objects(client, host)
    between.lost = 2
    assert _get(client) == b"zara"
    assert len(between.requests) == 3
    assert host.told() == ["nobody read shop/zara.txt"]


def test_a_change_without_an_answer_counts_as_done_and_as_failed(
    s3: S3Server, bucket: str, between: Between
) -> None:
    """It was carried out: the object is gone, though the caller got an error."""
    host = Host()
    client = s3.client(port=between.port, retries={"max_attempts": 0})
    record_objects(client, host)
    between.lost = 2
    _refused(lambda: client.delete_object(Bucket="shop", Key="zara.txt"))
    _refused(lambda: _get(client, "yan.txt"))
    assert "zara.txt" not in contents(s3.client())
    assert host.told() == [
        "nobody delete shop/zara.txt",
        "nobody delete shop/zara.txt failure",
        "nobody read shop/yan.txt failure",
    ]


def test_what_never_reached_s3_is_no_change(s3: S3Server) -> None:
    """Nobody listened, however often it was tried."""
    host = Host()
    client = s3.client(port=1, retries={"max_attempts": 2, "mode": "standard"})
    record_objects(client, host)
    _refused(lambda: client.delete_object(Bucket="shop", Key="zara.txt"))
    assert host.told() == ["nobody delete shop/zara.txt failure"]


def test_a_change_that_a_second_try_finds_done_counts(
    s3: S3Server, bucket: str, between: Between
) -> None:
    """The first try wrote the object and its answer was lost; the second is refused for it."""
    host = Host()
    client = s3.client(port=between.port, retries={"max_attempts": 2, "mode": "standard"})
    record_objects(client, host)
    between.lost = 1
    error = _refused(lambda: client.put_object(Bucket="shop", Key="n", Body=b"n", IfNoneMatch="*"))
    assert "PreconditionFailed" in error and contents(s3.client())["n"] == b"n"
    assert host.told() == ["nobody write shop/n", "nobody write shop/n failure"]


def test_what_an_applications_handler_does_behind_a_call_hides_nothing(
    s3: S3Server, bucket: str
) -> None:
    """botocore tells handlers of a call when it is done; one of them fails."""
    host, client = Host(), s3.client()

    def fail(**_: Any) -> None:
        raise LookupError("of the application")

    client.meta.events.register_first("after-call.s3.DeleteObject", fail)
    record_objects(client, host)
    with pytest.raises(LookupError):
        client.delete_object(Bucket="shop", Key="zara.txt")
    assert host.told() == ["nobody delete shop/zara.txt", "nobody delete shop/zara.txt failure"]


# -- what can't be kept --------------------------------------------------------------------------


def test_a_trail_that_is_full_stops_nothing_unless_it_is_to(
    s3: S3Server, bucket: str, between: Between, caplog: pytest.LogCaptureFixture
) -> None:
    """With `strict` not even a request is made."""
    host, client, strict = Host(), s3.client(), s3.client(port=between.port)
    host.journal.is_full = True
    record_objects(client, host)
    record_objects(strict, host, strict=True)
    with caplog.at_level(logging.ERROR):
        assert _get(client) == b"zara"
    assert "s3object.read could not be recorded: DeliveryError" in caplog.text
    assert "zara" not in caplog.text
    with pytest.raises(DeliveryError):
        _get(strict)
    with pytest.raises(DeliveryError):
        strict.delete_object(Bucket="shop", Key="zara.txt")
    with pytest.raises(DeliveryError):
        strict.upload_fileobj(io.BytesIO(b"new"), "shop", "new")
    with pytest.raises(DeliveryError):
        strict.generate_presigned_url("get_object", {"Bucket": "shop", "Key": "zara.txt"})
    assert between.requests == []


def test_strict_is_on_disk_before_anything_is_sent(
    s3: S3Server, bucket: str, between: Between
) -> None:
    """Of transfers, too, whatever thread sends; what then fails is told behind it."""
    host, client = Host(), s3.client(port=between.port, retries={"max_attempts": 0})
    record_objects(client, host, strict=True)
    seen: list[bool] = []
    between.before = lambda: seen.append(host.journal.is_synced and bool(host.journal.events))
    with acting_as(ALICE):
        client.put_object(Bucket="shop", Key="new", Body=b"new")
        assert _downloaded(client) == b"zara"
        _refused(lambda: _get(client, "nowhere"))
    assert seen and all(seen)
    assert host.told() == [
        "alice write shop/new",
        "alice read shop/zara.txt",
        "alice read shop/zara.txt",
        "alice read shop/nowhere",
        "alice read shop/nowhere failure",
    ]


def test_a_rule_for_subjects_that_fails_stops_nothing(
    s3: S3Server, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The event has no subject, and the application's log nothing of the name."""
    host, client = Host(), s3.client()

    def fails(name: str) -> Subject | None:
        raise KeyError(name)

    record_objects(client, host, subject=fails)
    assert _get(client) == b"zara"
    assert host.told() == ["nobody read shop/zara.txt"]
    assert "whose a s3object is could not be told: KeyError" in caplog.text
    assert "zara" not in caplog.text


def test_nothing_of_a_call_but_names_is_recorded(s3: S3Server, bucket: str) -> None:
    """Neither contents nor metadata, tags, customers' keys or the caller's credentials."""
    host, client = Host(), s3.client()
    record_objects(client, host)
    secret = "b3f1c2d4e5a60718"
    client.put_object(
        Bucket="shop", Key="n", Body=secret.encode(), Metadata={"m": secret}, Tagging=f"t={secret}"
    )
    client.put_object_tagging(
        Bucket="shop", Key="n", Tagging={"TagSet": [{"Key": "t", "Value": secret}]}
    )
    assert _get(client, "n") == secret.encode()
    client.head_object(Bucket="shop", Key="n")
    assert len(host.journal.drafts) == 4
    for draft in host.journal.drafts:
        assert secret.encode() not in draft and SECRET.encode() not in draft
        assert APP.encode() not in draft


# -- whom it takes -------------------------------------------------------------------------------


def test_only_clients_of_s3_are_taken(s3: S3Server) -> None:
    """And each of them once."""
    client = s3.client()
    record_objects(client, Host())
    with pytest.raises(CaptureError, match="isn't recorded yet"):
        record_objects(client, Host())
    other = s3.session().client("sts", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(CaptureError, match="expected a client of s3, got one of sts"):
        record_objects(other, Host())
    with pytest.raises(CaptureError, match="expected a session, client or resource"):
        record_objects(object(), Host())

    class AsyncClient(BaseClient):  # type: ignore[misc]
        async def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
            return None

    later = s3.client()
    later.__class__ = type("S3", (AsyncClient,), {})
    with pytest.raises(CaptureError, match="got an asynchronous one"):
        record_objects(later, Host())


@pytest.mark.parametrize(
    "wrong",
    [
        {"Key": "\ud800"},
        {"Key": 1},
        {"Key": ""},
        {"Bucket": 1},
        {"CopySource": 5},
        {"CopySource": {"Bucket": "\ud800", "Key": None}},
        {"Unknown": "x"},
    ],
    ids=ascii,
)
def test_what_botocore_refuses_is_refused_in_its_words(wrong: dict[str, Any]) -> None:
    """Whatever the caller gave in place of names: it is a failure, and no possible change."""
    params = {"Bucket": "shop", "Key": "a", "CopySource": "shop/b", **wrong}
    host = Host()
    plain, recorded = (
        S3Server.session().client("s3", endpoint_url="http://127.0.0.1:1") for _ in range(2)
    )
    record_objects(recorded, host)
    expected = _refused(lambda: plain.copy_object(**params))
    assert _refused(lambda: recorded.copy_object(**params)) == expected
    assert host.journal.events or "\ud800" in repr(wrong)
    assert all(event.outcome is Outcome.FAILURE for event in host.journal.events)


def test_every_operation_of_s3_is_told_as_something() -> None:
    """Whatever botocore can call is a read, a write, a deletion or a listing of what it names."""
    model = botocore.session.Session().get_service_model("s3")
    assert len(model.operation_names) > 90
    for name in model.operation_names:
        shape = model.operation_model(name).input_shape
        members = set(shape.members) if shape else set()
        params = dict.fromkeys(members & {"Bucket", "Key", "VersionId"}, "x")
        if name == "DeleteObjects":
            params["Delete"] = {"Objects": [{"Key": "x"}]}  # type: ignore[assignment]
        (touch,) = touches_of(name, params)
        is_object = "Key" in members or name == "DeleteObjects"
        assert touch.names == (("x/x",) if is_object else ("x",) if "Bucket" in members else ())
        assert touch.is_bucket is not is_object
        method = model.operation_model(name).http["method"]
        if method in ("PUT", "DELETE"):
            assert touch.is_change, name
        if method in ("GET", "HEAD") and name != "CreateSession":
            assert touch.verb in ("read", "list"), name
        ((done, outcome),) = answered(touch, {})
        assert done == touch and outcome is Outcome.SUCCESS

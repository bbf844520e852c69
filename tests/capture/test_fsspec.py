"""Files through fsspec: the same results, and each file that was opened named in the answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tests.capture.reads.host import MemoryHost

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture.fsspec import AuditedFileSystem, _without_secrets
from indelible.errors import DeliveryError
from indelible.events.codec import encode_draft
from indelible.events.explicit import explicit_event
from indelible.events.model import Outcome
from indelible.policy import parse_policy

ALICE = Actor("staff", "alice")


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    policy = parse_policy("[trail]\nurl = 'sqlite:///trail.db'\n", directory=tmp_path)
    with Trail.create(policy) as trail:
        yield trail


@pytest.fixture(params=["file", "memory"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    fs = fsspec.filesystem(request.param)
    root = fsspec.filesystem("dir", path=str(tmp_path / "files"), fs=fs)
    fs.makedirs(str(tmp_path / "files"), exist_ok=True)
    root.pipe({"zara.txt": b"zara", "yan.txt": b"yan", "old.txt": b"old"})
    yield root
    fs.rm(str(tmp_path / "files"), recursive=True)


def owner(url: str) -> Subject | None:
    name = url.rpartition("/")[2].partition(".")[0]
    return Subject("customer", name) if name in ("zara", "yan") else None


WAYS: dict[str, tuple[Callable[[Any, Path], object], list[str]]] = {
    "cat": (lambda fs, _: fs.cat_file("zara.txt"), ["file.read zara.txt"]),
    "cat many": (lambda fs, _: fs.cat(["yan.txt", "zara.txt"]), ["read yan.txt", "read zara.txt"]),
    "a part": (lambda fs, _: fs.cat_file("zara.txt", 1, 3), ["read zara.txt"]),
    "text": (lambda fs, _: fs.read_text("yan.txt"), ["read yan.txt"]),
    "get": (lambda fs, to: fs.get_file("zara.txt", str(to / "got")), ["read zara.txt"]),
    "pipe": (lambda fs, _: fs.pipe_file("new.txt", b"new"), ["write new.txt"]),
    "put": (lambda fs, to: fs.put_file(str(to / "mine"), "new.txt"), ["write new.txt"]),
    "append": (lambda fs, _: _append(fs), ["write old.txt"]),
    "touch": (lambda fs, _: fs.touch("new.txt"), ["write new.txt"]),
    "copy": (
        lambda fs, _: fs.copy("zara.txt", "new.txt"),
        ["write new.txt", "read zara.txt"],
    ),
    "move": (
        lambda fs, _: fs.mv("old.txt", "new.txt"),
        ["write new.txt", "read old.txt", "delete old.txt"],
    ),
    "remove": (lambda fs, _: fs.rm("old.txt"), ["delete old.txt"]),
    "names": (
        lambda fs, _: (fs.ls("", detail=False), fs.exists("zara.txt"), fs.size("yan.txt")),
        [],
    ),
}


def contents(fs: Any) -> dict[str, bytes]:
    return {name: fs.cat_file(name) for name in fs.find("")}


def _append(fs: Any) -> bytes:
    with fs.open("old.txt", "ab") as file:
        file.write(b"er")
    return b""


@pytest.mark.parametrize("way", WAYS)
def test_each_way(way: str, plain: Any, trail: Trail, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    run, expected = WAYS[way]
    first = repr(run(plain, tmp_path))
    after = contents(plain)
    plain.rm(plain.find(""))
    plain.pipe({"zara.txt": b"zara", "yan.txt": b"yan", "old.txt": b"old"})

    audited = AuditedFileSystem(plain, trail, subject=owner)
    with acting_as(ALICE):
        assert repr(run(audited, tmp_path)) == first
    assert contents(plain) == after

    trail.flush()
    told = []
    for answer in (trail.access_events(by=ALICE), trail.changes(by=ALICE)):
        for finding in answer:
            event = finding.event
            (target,) = event.targets
            name = str(target.ids[0][0]).rpartition("/")[2]
            said = f"{event.action.removeprefix('file.')} {name}"
            if said not in told:
                told.append(said)
    assert sorted(told) == sorted(each.removeprefix("file.") for each in expected)


def test_a_subjects_files_are_in_the_answer(plain: Any, trail: Trail) -> None:
    audited = AuditedFileSystem(plain, trail, subject=owner)
    with acting_as(ALICE), audited.open("zara.txt") as file:
        assert file.read() == b"zara"
    trail.flush()
    (accessor,) = trail.accessors(of=Subject("customer", "zara"))
    assert (accessor.actor, accessor.certain, accessor.reads) == (ALICE, True, 1)
    assert not list(trail.accessors(of=Subject("customer", "yan")))


def test_what_fails_is_an_event_of_its_failure(plain: Any, trail: Trail) -> None:
    audited = AuditedFileSystem(plain, trail)
    with acting_as(ALICE), pytest.raises(FileNotFoundError):
        audited.cat_file("nowhere.txt")
    trail.flush()
    (finding,) = trail.events(by=ALICE)
    assert (finding.event.action, finding.event.outcome.value) == ("file.read", "failure")
    assert finding.event.details == {"error": "FileNotFoundError"}


class Host(MemoryHost):
    """A trail whose journal may be full."""

    def record(self, action: str, **event: Any) -> str | None:
        return self.journal.append(encode_draft(explicit_event(action, **event)))


def test_a_trail_that_is_full_stops_nothing_unless_it_is_to(
    plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host()
    host.journal.is_full = True
    with caplog.at_level(logging.ERROR):
        assert AuditedFileSystem(plain, host).cat_file("zara.txt") == b"zara"
    assert "file.read could not be recorded" in caplog.text
    with pytest.raises(DeliveryError):
        AuditedFileSystem(plain, host, strict=True).cat_file("zara.txt")


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"names"}))
def test_strict_does_nothing_that_cannot_be_told(way: str, plain: Any, tmp_path: Path) -> None:
    """A file that is opened for writing is emptied, so the event comes before that."""
    (tmp_path / "mine").write_bytes(b"mine")
    before = contents(plain)
    host = Host()
    host.journal.is_full = True
    run, _ = WAYS[way]
    with pytest.raises(DeliveryError):
        run(AuditedFileSystem(plain, host, strict=True), tmp_path)
    assert contents(plain) == before


def test_strict_is_on_disk_before_it_is_done(plain: Any) -> None:
    """What was done, and also what then fails, with its failure behind it."""
    host = Host()
    audited = AuditedFileSystem(plain, host, strict=True)
    opened = plain.open

    def watched(*args: Any, **options: Any) -> Any:
        assert host.journal.is_synced and host.journal.events
        return opened(*args, **options)

    plain.open = watched
    audited.pipe_file("new.txt", b"new")
    with pytest.raises(FileNotFoundError):
        audited.cat_file("nowhere.txt")
    assert [(event.action, event.kind, event.outcome) for event in host.journal.events] == [
        ("file.write", "change", Outcome.SUCCESS),
        ("file.read", "access", Outcome.SUCCESS),
        ("file.read", "event", Outcome.FAILURE),
    ]


def test_no_secret_of_a_url_is_recorded() -> None:
    url = "https://user:secret@example.org/a/b.txt?X-Amz-Signature=secret#secret"
    assert _without_secrets(url) == "https://example.org/a/b.txt"
    assert _without_secrets("s3://bucket/a?b#c") == "s3://bucket/a?b#c"
    assert Target("file", _without_secrets("file:///a b")).kind == "file"

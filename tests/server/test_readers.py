"""Who reads bodies, and who is refused them, is in the trail; and nobody can fill it that way."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible import Trail
from indelible.errors import DeliveryError, StoreFullError
from indelible.events.model import Event
from indelible.explicit import tell
from indelible.integrity.keys import load_signing_key
from indelible.server.readers import EVERY_S, MOST_AT_ONCE, Readers
from tests.http_trails import get, served, verified, write_config, write_token
from tests.integrity.trails import Maker


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    with Trail.create(write_config(tmp_path / "trail.db")) as trail:
        yield trail


def teller(trail: Trail) -> Callable[..., None]:
    return functools.partial(tell, trail.journal)


def entries(trail: Trail, action: str) -> list[Event]:
    trail.flush()
    return [finding.event for finding in trail.events(action=action, system=True)]


def counts(found: list[Event]) -> list[tuple[str | None, object]]:
    return [((event.context or {}).get("ip"), (event.details or {})["count"]) for event in found]


def test_a_reader_of_many_bodies_makes_few_entries(trail: Trail) -> None:
    """The first is written down before it is answered, all others a minute later, as ranges."""
    clock = Clock()
    with contextlib.closing(Readers(teller(trail), monotonic=clock)) as readers:
        readers.read("auditor", "192.0.2.7", 0, 255)
        assert counts(entries(trail, "trail.bodies_read")) == [("192.0.2.7", 1)]
        for n in [*range(1, 50), *range(60, 70)]:
            readers.read("auditor", "192.0.2.7", n * 256, n * 256 + 255)
        assert len(entries(trail, "trail.bodies_read")) == 1
        clock.now += EVERY_S
        readers.read("auditor", "192.0.2.7", 50 * 256, 50 * 256 + 9)
        _, second = entries(trail, "trail.bodies_read")
        assert str(second.actor) == "token:auditor"
        assert second.details is not None
        assert (second.details["count"], second.details["entries"]) == (60, "256-12809,15360-17919")
        readers.read("auditor", "192.0.2.7", 0, 9)
    assert counts(entries(trail, "trail.bodies_read"))[2:] == [("192.0.2.7", 1)]


def test_somebody_who_guesses_makes_an_entry_a_minute(trail: Trail) -> None:
    """However often they ask; how often, and since when, is in it."""
    clock = Clock()
    with contextlib.closing(Readers(teller(trail), monotonic=clock)) as readers:
        for minute in range(3):
            for number in range(500):
                readers.refused("203.0.113.9", has_another=number % 2 == 0)
            clock.now += EVERY_S
            assert len(entries(trail, "trail.denied")) <= minute + 1
    found = entries(trail, "trail.denied")
    assert counts(found)[0] == ("203.0.113.9", 1)
    assert sum(count for _, count in counts(found)) == 1_500  # type: ignore[misc]
    assert sum(event.details["with_another"] for event in found if event.details) == 750  # type: ignore[misc]
    assert {event.outcome.value for event in found} == {"denied"}
    assert not trail.notices()


def test_somebody_with_many_addresses_makes_no_more(trail: Trail) -> None:
    """Beyond so many a minute they are counted together; none of them hides a reader."""
    clock = Clock()
    with contextlib.closing(Readers(teller(trail), monotonic=clock)) as readers:
        for number in range(2_000):
            readers.refused(f"2001:db8::{number:x}", has_another=False)
        readers.read("auditor", "192.0.2.7", 0, 255)
        assert counts(entries(trail, "trail.bodies_read")) == [("192.0.2.7", 1)]
        assert len(entries(trail, "trail.denied")) == MOST_AT_ONCE + 1
    found = entries(trail, "trail.denied")
    assert len(found) == MOST_AT_ONCE + 2
    assert sum(count for _, count in counts(found)) == 2_000  # type: ignore[misc]
    assert [event.details["addresses"] for event in found if "addresses" in (event.details or {})]


def test_a_quiet_minute_is_told_by_itself(trail: Trail) -> None:
    """Nobody has to ask again for what was counted to be written down; then it is forgotten."""
    clock = Clock()
    with contextlib.closing(Readers(teller(trail), monotonic=clock)) as readers:
        readers.refused("203.0.113.9", has_another=True)
        readers.refused("203.0.113.9", has_another=True)
        clock.now += EVERY_S
        waited = threading.Event()
        for _ in range(100):
            if len(found := entries(trail, "trail.denied")) == 2:
                break
            waited.wait(0.1)
        assert counts(found) == [("203.0.113.9", 1), ("203.0.113.9", 1)]


def test_what_can_t_be_written_down_isn_t_handed_out(trail: Trail) -> None:
    """A full disk: bodies are held back, refusals stay refusals, and nothing counted is lost."""
    is_full = True

    def tell_unless_full(*arguments: object, **details: object) -> None:
        if is_full:
            raise StoreFullError("expected room in the journal: make room")
        tell(trail.journal, *arguments, **details)  # type: ignore[arg-type]

    clock = Clock()
    with contextlib.closing(Readers(tell_unless_full, monotonic=clock)) as readers:
        for _ in range(2):
            with pytest.raises(DeliveryError):
                readers.read("auditor", "192.0.2.7", 0, 255)
            readers.refused("203.0.113.9", has_another=False)
        is_full = False
        readers.read("auditor", "192.0.2.7", 256, 511)
        readers.refused("203.0.113.9", has_another=False)
    assert counts(entries(trail, "trail.bodies_read")) == [("192.0.2.7", 3)]
    assert counts(entries(trail, "trail.denied")) == [("203.0.113.9", 3)]


def test_served_bodies_and_refusals_are_entries(tmp_path: Path) -> None:
    """By the name of the token's file, as a real server hands them out; never the token."""
    config = write_config(tmp_path / "trail.db")
    with Trail.create(config) as trail:
        for number in range(300):
            trail.record("invoice.refund", details={"n": number})
    token_file = write_token(tmp_path)
    other = tmp_path / "auditor.example"
    token_file.rename(other)
    token_file = write_token(tmp_path)
    tokens = ("--token-file", str(token_file), "--token-file", str(other))
    with served(tmp_path / "trail.db", *tokens) as server:
        key = load_signing_key(tmp_path / "trail.db.keys" / "trail.key")
        size = verified(server.url, key, token_file=other).size
        verified(server.url, key, token_file=token_file)
        guess = "guessed-by-somebody-guessed-by-somebody"
        for _ in range(20):
            assert get(server.url + "bodies/000", Authorization=f"Bearer {guess}").status == 401
            assert get(server.url + "bodies/000").status == 401
        assert get(server.url + "bodies/999").status == 401
        assert server.stop()[0] == 0
    with Trail.open(config) as trail:
        read = entries(trail, "trail.bodies_read")
        assert {str(event.actor) for event in read} == {"token:token", "token:auditor.example"}
        by_other = [event.details for event in read if str(event.actor) == "token:auditor.example"]
        assert [each["entries"] for each in by_other if each] == ["0-255", f"256-{size - 1}"]
        denied = entries(trail, "trail.denied")
        assert counts(denied) == [("127.0.0.1", 1), ("127.0.0.1", 40)]
        assert not trail.notices()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in (token_file, other):
            raw = path.read_bytes()
            assert guess.encode() not in raw and token_file.read_bytes().strip() not in raw


def test_where_nothing_can_be_written_down_it_is_said(tmp_path: Path) -> None:
    """A copy of the trail's file on another machine, without keys and journals."""
    maker = Maker(tmp_path / "trail.db")
    maker.fill([10])
    token_file = write_token(tmp_path)
    with served(maker.path, "--token-file", str(token_file)) as server:
        assert verified(server.url, maker.key, token_file=token_file).size == 11
        _, stderr = server.stop()
    assert "who reads bodies won't be in the trail: " in stderr
    with served(maker.path) as server:
        assert server.stop() == (0, "")
    maker.close()

"""A critical action waits until the trail has it, or doesn't happen, or is told to have gone on."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible import Actor, Target, Trail, acting_as
from indelible.errors import (
    ConfigurationError,
    DeliveryError,
    EventError,
    UnacknowledgedError,
)
from indelible.integrity.acks import Ack
from indelible.testing import in_memory_trail

ALICE = Actor("staff", "alice")


@pytest.fixture
def trail() -> Iterator[Trail]:
    with in_memory_trail() as trail:
        yield trail


@pytest.fixture
def unrelayed(tmp_path: Path) -> Iterator[Trail]:
    """A trail to which nobody relays."""
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    Trail.create(config).close()
    with Trail.open(config, relay=False) as trail:
        yield trail


def told(trail: Trail) -> list[tuple[str, str]]:
    trail.flush()
    return [
        (finding.event.action, finding.event.outcome.value) for finding in trail.events(by=ALICE)
    ]


@pytest.mark.parametrize("ack", [Ack.RECEIVED, Ack.SEQUENCED, Ack.CHECKPOINTED])
def test_an_event_is_as_safe_as_was_waited_for(trail: Trail, ack: Ack) -> None:
    event_id = trail.record("payment.sent")
    assert event_id is not None
    trail.await_ack(event_id, ack, timeout_s=30.0)
    assert trail.ack_of(event_id) >= ack


def test_without_witnesses_nothing_is_ever_witnessed(trail: Trail) -> None:
    event_id = trail.record("payment.sent")
    assert event_id is not None
    with pytest.raises(ConfigurationError, match=r"expected \[witness\] policy"):
        trail.await_ack(event_id, Ack.WITNESSED)


def test_a_misspelt_choice_is_no_way_through(trail: Trail) -> None:
    choice: Any = "refused"
    with pytest.raises(EventError, match="expected unacknowledged to be one of refuse, proceed"):
        trail.action("payment.send", ack=Ack.RECEIVED, unacknowledged=choice)


def test_acks_only_rise(trail: Trail) -> None:
    """Whatever was reached is reached for good."""
    event_id = trail.record("payment.sent")
    assert event_id is not None
    seen = [trail.ack_of(event_id)]
    deadline = time.monotonic() + 30
    while seen[-1] < Ack.CHECKPOINTED and time.monotonic() < deadline:
        seen.append(trail.ack_of(event_id))
    assert seen == sorted(seen)
    assert seen[-1] is Ack.CHECKPOINTED


@pytest.mark.parametrize("is_async", [False, True])
def test_a_critical_action_is_in_the_trail_before_it_is_done(trail: Trail, is_async: bool) -> None:
    seen: list[list[str]] = []

    def look() -> str:
        # No flush: this is what somebody who takes the machine away now has.
        seen.append([finding.event.action for finding in trail.events(by=ALICE)])
        return "sent"

    async def look_later() -> str:
        return look()

    critical = trail.action(
        "payment.send", target=lambda: Target("payment", 7), ack=Ack.CHECKPOINTED, deadline_s=30.0
    )
    with acting_as(ALICE):
        if is_async:
            assert asyncio.run(critical(look_later)()) == "sent"
        else:
            assert critical(look)() == "sent"
    assert seen == [["payment.send_begun"]]
    assert told(trail) == [("payment.send_begun", "success"), ("payment.send", "success")]
    for finding in trail.events(by=ALICE):
        assert finding.target_text == "payment:7"


def test_where_nobody_relays_it_is_refused_and_not_done(unrelayed: Trail) -> None:
    done: list[int] = []
    send = unrelayed.action("payment.send", ack=Ack.SEQUENCED, deadline_s=0.3)(done.append)
    with acting_as(ALICE), pytest.raises(UnacknowledgedError, match=r"expected .* to be sequenced"):
        send(1)
    assert done == []
    with Trail.open(unrelayed.policy) as relaying:
        assert told(relaying) == [("payment.send_begun", "success"), ("payment.send", "failure")]
        assert not list(relaying.notices())


def test_or_goes_on_and_that_is_noticed(unrelayed: Trail) -> None:
    done: list[int] = []
    send = unrelayed.action(
        "payment.send", ack=Ack.CHECKPOINTED, deadline_s=0.3, unacknowledged="proceed"
    )(done.append)
    with acting_as(ALICE):
        send(1)
    assert done == [1]
    unrelayed.journal.sync()
    with Trail.open(unrelayed.policy) as relaying:
        assert told(relaying) == [("payment.send_begun", "success"), ("payment.send", "success")]
        (notice,) = relaying.notices()
        assert notice.action == "ack.missed"
        assert "payment.send went on without being checkpointed within 0.3 s" in notice.message


def test_received_needs_nobody_else(unrelayed: Trail) -> None:
    done: list[int] = []
    with acting_as(ALICE):
        unrelayed.action("payment.send", ack=Ack.RECEIVED, deadline_s=5.0)(done.append)(1)
    assert done == [1]


@pytest.mark.parametrize("unacknowledged", ["refuse", "proceed"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unacknowledged: str) -> None:
    """Refused, nothing is done; let through, it is done, and noticed when there is room again."""
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    Trail.create(config).close()
    done: list[int] = []
    with Trail.open(config) as trail:
        trail.record("before.it")
        full = True
        write = trail.journal._calls.write

        def write_if_there_is_room(*args: object) -> object:
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(trail.journal._calls, "write", write_if_there_is_room)
        send = trail.action(
            "payment.send",
            ack=Ack.RECEIVED,
            unacknowledged=unacknowledged,  # type: ignore[arg-type]
        )(done.append)
        with acting_as(ALICE), pytest.raises(DeliveryError):
            send(1)
        assert done == ([] if unacknowledged == "refuse" else [1])
        full = False
        trail.journal.sync()
        trail.flush()
        actions = [notice.action for notice in trail.notices()]
        assert actions == ([] if unacknowledged == "refuse" else ["ack.missed"])


PROCESS = """
import os, sys
from indelible import Actor, Trail, acting_as
from indelible.integrity.acks import Ack

trail = Trail.open(sys.argv[1], relay=sys.argv[3] == "relays")
with acting_as(Actor("staff", "alice")):
    for n in range(20):
        event_id = trail.record("payment.sent", details={"n": n})
        trail.await_ack(event_id, Ack[sys.argv[2]], timeout_s=30)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("relays", ["relays", "waits"])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, relays: str) -> None:
    """Of a process that relays by itself, and of one for which another does."""
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n[relay]\npoll_s = 0.02\n")
    with Trail.create(config) as trail:
        if relays == "relays":
            trail.close()
        done = subprocess.run(
            [sys.executable, "-c", PROCESS, str(config), "CHECKPOINTED", relays], timeout=60
        )
        assert done.returncode == -9
    # Nobody relays here: what is in the trail was there when the process died.
    with Trail.open(config, relay=False) as trail:
        found = [finding.event.details for finding in trail.events(by=ALICE)]
        assert [details["n"] for details in found if details] == list(range(20))
        assert trail.verify().size >= 20

"""What a process knows of a server's schema: who looks, who waits, what a failed look leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from indelible.capture.looks import Looks
from indelible.errors import DeliveryError

NOTHING = "nothing"


class Server:
    """Answers `schema`, or doesn't; `meanwhile` happens during a look."""

    def __init__(self) -> None:
        self.schema = "first"
        self.is_away = False
        self.asked = 0
        self.meanwhile: Callable[[], Any] = lambda: None

    def read(self) -> str:
        self.asked += 1
        found, is_away = self.schema, self.is_away
        self.meanwhile()
        if is_away:
            raise DeliveryError("the server is away")
        return found


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def looks(server: Server) -> Looks[str]:
    return Looks(NOTHING, server.read)


def known(looks: Looks[str]) -> str:
    looks.look_if_due()
    return looks.known


def test_nobody_goes_on_without_a_schema_while_the_first_look_runs(
    server: Server, looks: Looks[str]
) -> None:
    """One thread that looks doesn't make the others take nothing for what there is."""
    is_looking, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        is_looking.set()
        assert goes_on.wait(30)

    server.meanwhile = wait
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(known(looks)), daemon=True) for _ in range(8)
    ]
    threads[0].start()
    assert is_looking.wait(30)
    for thread in threads[1:]:
        thread.start()
    goes_on.set()
    for thread in threads:
        thread.join(30)
    assert found == ["first"] * 8
    assert server.asked <= 2


def test_a_server_that_was_away_is_asked_again(server: Server, looks: Looks[str]) -> None:
    server.is_away = True
    assert known(looks) == NOTHING
    server.is_away = False
    while known(looks) == NOTHING:  # it waits no longer than the failed look took
        pass
    assert looks.known == "first"
    asked = server.asked
    assert known(looks) == "first"
    assert server.asked == asked


def test_what_was_known_stays_while_the_server_is_away(server: Server, looks: Looks[str]) -> None:
    assert known(looks) == "first"
    server.is_away = True
    looks.look_again()
    assert looks.known == "first"


def test_a_change_that_is_expected_is_seen_before_the_next_statement(
    server: Server, looks: Looks[str]
) -> None:
    assert known(looks) == "first"
    server.schema = "second"
    assert known(looks) == "first"
    looks.expect_change()
    assert known(looks) == "second"


def test_a_change_during_a_look_is_not_taken_for_seen(server: Server, looks: Looks[str]) -> None:
    """The look had read what there was before."""

    def change() -> None:
        server.meanwhile = lambda: None
        server.schema = "second"
        looks.expect_change()

    server.meanwhile = change
    assert known(looks) == "first"
    assert known(looks) == "second"


def test_what_nobody_explains_is_not_looked_at_for_ever(server: Server, looks: Looks[str]) -> None:
    assert known(looks) == "first"
    for _ in range(100):
        looks.look_again()
    assert server.asked == 21

"""A working day of the shop's staff, as HTTP requests: what they do, and what they get to see."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from indelible.demo.shop.opening import DATABASE
from indelible.errors import IndelibleError

ADDRESSES: Final = {
    "alice": "192.0.2.17",
    "trudy": "198.51.100.7",
    "bob": "203.0.113.5",
    "carol": "192.0.2.31",
}
"""From where each of the staff works; the shop's proxy passes it on."""
_TIMEOUT_S: Final = 30.0
_MAX_ANSWER: Final = 40


class Deed(NamedTuple):
    """One request, and how the application happens to carry it out."""

    who: str
    method: str
    path: str
    through: str
    form: Mapping[str, str] | None = None
    reason: str | None = None
    expected: int = 200

    @property
    def request(self) -> str:
        return f"{self.method} {self.path}"


class Done(NamedTuple):
    """A deed, and the answer in short."""

    deed: Deed
    status: int
    answer: str


class UnexpectedAnswerError(IndelibleError):
    """The demo's application answered otherwise than the script of the day says."""


MORNING: Final = (
    Deed("alice", "GET", "/customers?q=zara", "Core"),
    Deed("alice", "GET", "/customers/zara", "ORM, 4 tables"),
    Deed("alice", "POST", "/customers/zara", "ORM", {"phone": "+31 555 0199"}, "ticket 501"),
    Deed("alice", "GET", "/invoices/1001", "ORM, a join"),
    Deed("alice", "POST", "/invoices/1001/refund", "Core", None, "ticket 501"),
    Deed("alice", "POST", "/customers/zara/notes", "ORM", {"body": "refunded the lamp"}),
    Deed("trudy", "GET", "/customers?q=", "Core"),
    Deed("trudy", "GET", "/customers/zara", "ORM, 4 tables"),
    Deed("trudy", "GET", "/invoices/1002", "ORM, a join"),
    Deed("trudy", "GET", "/reports/revenue", "Core, a sum"),
    Deed("trudy", "GET", "/customers/nobody", "ORM", expected=404),
    Deed("trudy", "DELETE", "/customers/zara", "refused", expected=403),
)
AFTERNOON: Final = (
    Deed(
        "bob",
        "POST",
        "/customers/zara",
        "ORM",
        {"email": "bob@example.net", "address": "Bob's garage"},
    ),
    Deed("bob", "POST", "/invoices/1012/refund", "Core"),
    Deed("bob", "POST", "/tickets/close", "SQL"),
    Deed("bob", "DELETE", "/notes/102", "ORM"),
    Deed("bob", "DELETE", "/customers/wim", "ORM, cascades"),
    Deed(
        "bob",
        "POST",
        "/customers",
        "ORM",
        {
            "id": "bobs-friend",
            "name": "A. Friend",
            "email": "friend@example.net",
            "phone": "-",
            "address": "-",
        },
    ),
    Deed("carol", "GET", "/tickets?status=closed", "SQL, a join"),
    Deed("carol", "GET", "/customers/zara", "ORM, 4 tables"),
    Deed(
        "carol",
        "POST",
        "/customers/zara",
        "ORM",
        {"email": "zara.quist@example.org"},
        "Zara called",
    ),
)
NEXT_MORNING: Final = (
    Deed("alice", "GET", "/customers/wim", "ORM, 4 tables"),
    Deed("alice", "GET", "/customers/zara", "ORM, 4 tables"),
    Deed("alice", "GET", "/tickets?status=open", "SQL, a join"),
)

FOREIGN_SQL: Final = "UPDATE invoice SET total_cents = 1 WHERE id = 1002"


class Staffroom:
    """The staff, each with a browser of their own. A context manager."""

    def __init__(self, base_url: str, passwords: Mapping[str, str]) -> None:
        self._base_url = base_url
        self._passwords = passwords
        self._open = contextlib.ExitStack()
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Staffroom:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def log_in(self, who: str, password: str | None = None) -> Done:
        """Sign in, with the right password or with the one given."""
        right = password is None
        deed = Deed(who, "POST", "/login", "ORM", expected=200 if right else 401)
        form = {"staff": who, "password": self._passwords[who] if password is None else password}
        return self._ask(deed, form)

    def work(self, deeds: tuple[Deed, ...]) -> Iterator[Done]:
        """Do each of `deeds` in turn; whoever hasn't yet signs in first.

        Raises `UnexpectedAnswerError` where the shop answers with another status than expected.
        """
        for deed in deeds:
            if not self._client(deed.who).cookies:
                yield self.log_in(deed.who)
            yield self._ask(deed, deed.form)

    def _ask(self, deed: Deed, form: Mapping[str, str] | None) -> Done:
        headers = {} if deed.reason is None else {"X-Reason": deed.reason}
        answer = self._client(deed.who).request(deed.method, deed.path, json=form, headers=headers)
        if answer.status_code != deed.expected:
            raise UnexpectedAnswerError(
                f"expected {deed.expected} from {deed.request}, got {answer.status_code}"
            )
        return Done(deed, answer.status_code, _summary(answer.json()))

    def _client(self, who: str) -> httpx.Client:
        if who not in self._clients:
            self._clients[who] = self._open.enter_context(
                httpx.Client(
                    base_url=self._base_url,
                    headers={"X-Forwarded-For": ADDRESSES[who]},
                    timeout=_TIMEOUT_S,
                    trust_env=False,
                )
            )
        return self._clients[who]


def change_past_the_application(directory: Path) -> int:
    """Somebody opens the database with a plain client; returns how many rows they changed."""
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as connection, connection:
        return connection.execute(FOREIGN_SQL).rowcount


def _summary(answer: Mapping[str, Any]) -> str:
    """What is worth saying of an answer in a few words."""
    if "address" in answer:
        text = f"{answer['email']} · {answer['address']}"
    else:
        text = " · ".join(f"{key}: {_value_text(value)}" for key, value in answer.items())
    return text if len(text) <= _MAX_ANSWER else f"{text[: _MAX_ANSWER - 1]}…"


def _value_text(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    if value and isinstance(value[0], dict):
        return f"{len(value)} rows" if len(value) > 1 else "1 row"
    return ", ".join(map(str, value))

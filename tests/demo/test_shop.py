"""The demo's application is a real one: a process of its own, driven over HTTP."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from indelible import Trail
from indelible.demo.shop.opening import CONFIG, DATABASE, open_shop
from indelible.demo.shop.process import ShopFailedError, served
from indelible.errors import TrailExistsError
from indelible.testing import assert_recorded

ALICE_IS_AT = "192.0.2.17"


class Shop:
    """A shop that is open: its directory, URL and passwords."""

    def __init__(self, directory: Path, url: str, passwords: Mapping[str, str]) -> None:
        self.directory = directory
        self.url = url
        self.passwords = passwords

    @contextmanager
    def sign_in(self, who: str) -> Iterator[httpx.Client]:
        with self.browser() as client:
            answer = client.post("/login", json={"staff": who, "password": self.passwords[who]})
            assert answer.status_code == 200
            yield client

    def browser(self) -> httpx.Client:
        headers = {"X-Forwarded-For": ALICE_IS_AT}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def trail(self) -> Trail:
        return Trail.open(self.directory / CONFIG)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    passwords = open_shop(directory)
    with served(directory) as url:
        yield Shop(directory, url, passwords)


def test_nobody_gets_in_without_signing_in(shop: Shop) -> None:
    """Without a session, with another one's cookie or with a wrong password nothing is served."""
    with shop.browser() as client:
        assert client.get("/customers/zara").status_code == 401
        wrong = client.post("/login", json={"staff": "alice", "password": "letmein"})
        assert (wrong.status_code, wrong.cookies.get("session")) == (401, None)
        client.cookies.set("session", "x" * 43)
        assert client.get("/customers/zara").status_code == 401


def test_what_staff_see_and_change(shop: Shop) -> None:
    """Customers are found, shown, changed, refunded, noted and reported on."""
    with shop.sign_in("alice") as alice:
        found = alice.get("/customers", params={"q": "zara"}).json()
        assert [each["id"] for each in found["customers"]] == ["zara"]
        zara = alice.get("/customers/zara").json()
        assert [invoice["id"] for invoice in zara["invoices"]] == [1001, 1002]
        assert len(zara["notes"]) == 2 and len(zara["tickets"]) == 1

        assert alice.post("/customers/zara", json={"phone": "+31 555 7"}).status_code == 200
        assert alice.get("/customers/zara").json()["phone"] == "+31 555 7"
        assert len(alice.get("/invoices/1002").json()["lines"]) == 2

        revenue = {each["name"]: each["cents"] for each in _rows(alice, "/reports/revenue")}
        refunded = alice.post("/invoices/1001/refund").json()["refunded_cents"]
        again = {each["name"]: each["cents"] for each in _rows(alice, "/reports/revenue")}
        assert revenue["Zara Quist"] - again["Zara Quist"] == refunded
        assert alice.post("/invoices/1001/refund").status_code == 409

        note = alice.post("/customers/zara/notes", json={"body": "called"}).json()["id"]
        assert alice.delete(f"/notes/{note}").status_code == 200
        assert alice.delete(f"/notes/{note}").status_code == 404


def test_only_a_manager_deletes_customers(shop: Shop) -> None:
    """An agent is refused and the refusal recorded; a manager's deletion takes all rows along."""
    with shop.sign_in("alice") as alice, shop.sign_in("bob") as bob:
        assert alice.delete("/customers/ugo").status_code == 403
        assert alice.get("/customers/ugo").status_code == 200
        assert bob.delete("/customers/ugo").status_code == 200
        assert alice.get("/customers/ugo").status_code == 404
    with closing(sqlite3.connect(shop.directory / DATABASE)) as plain:
        for table in ("invoice", "note", "ticket"):
            query = f"SELECT count(*) FROM {table} WHERE customer_id = 'ugo'"
            assert plain.execute(query).fetchone() == (0,)


def test_a_bad_request_is_the_clients_fault(shop: Shop) -> None:
    """What is no JSON object is refused, and the application goes on."""
    with shop.sign_in("alice") as alice:
        assert alice.post("/customers/zara", content=b"[1").status_code == 400
        assert alice.get("/customers/zara").status_code == 200


def test_everything_is_in_the_trail_once_the_shop_has_closed(tmp_path: Path) -> None:
    """Who did what from where is recorded, and no password is anywhere in the trail's files."""
    passwords = open_shop(tmp_path)
    with served(tmp_path) as url:
        shop = Shop(tmp_path, url, passwords)
        with shop.sign_in("alice") as alice:
            alice.post("/invoices/1001/refund", headers={"X-Reason": "ticket 501"})
            alice.delete("/customers/zara")
            session = alice.cookies["session"]
    with shop.trail() as trail:
        by, subject = "staff:alice", "customer:zara"
        (refund,) = assert_recorded(
            trail, action="invoice.refund", by=by, target="invoice:1001", subject=subject
        )
        (update,) = assert_recorded(
            trail, action="invoice.update", by=by, target="invoice:1001", subject=subject
        )
        assert_recorded(
            trail, action="customer.delete", by=by, target="customer:zara", outcome="denied"
        )
        assert_recorded(trail, action="user.logged_in", by=by, target="staff:alice", times=1)
        assert (refund.reason, update.reason) == ("ticket 501", "ticket 501")
        assert refund.context is not None and refund.context["ip"] == ALICE_IS_AT
        assert trail.verify().size == trail.reader.size
        bodies = b"".join(entry.body for entry in trail.reader.entries(0, int(trail.reader.size)))
    for secret in (*passwords.values(), session):
        assert secret.encode() not in bodies
    with closing(sqlite3.connect(tmp_path / DATABASE)) as plain:
        (kept,) = plain.execute("SELECT password_hash FROM staff WHERE id = 'alice'").fetchone()
    assert kept.encode() not in bodies


def test_a_shop_is_never_opened_over_another(tmp_path: Path) -> None:
    """Opening a second shop in a directory is refused, and the first stays as it was."""
    open_shop(tmp_path)
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(TrailExistsError, match="there is one"):
        open_shop(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == before


def test_a_shop_that_cant_start_says_where_to_look(tmp_path: Path) -> None:
    """Without a trail the process ends at once, and the error names its log."""
    with pytest.raises(ShopFailedError, match=r"shop\.log"), served(tmp_path):
        pytest.fail("a shop without a trail was served")
    assert "indelible init" in (tmp_path / "shop.log").read_text()


def test_the_shop_ends_with_an_exception(tmp_path: Path) -> None:
    """However the block is left, the process has ended, and the exception goes on."""
    open_shop(tmp_path)
    with pytest.raises(ZeroDivisionError), served(tmp_path) as url:
        raise ZeroDivisionError
    _expect_gone(url)


def test_the_shop_never_outlives_who_started_it(tmp_path: Path) -> None:
    """When the one who started it is killed outright, the shop ends by itself."""
    open_shop(tmp_path)
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from indelible.demo.shop.process import served\n"
        "with served(Path(sys.argv[1])) as url:\n    print(url, flush=True)\n    time.sleep(300)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        assert httpx.get(f"{url}/customers", trust_env=False).status_code == 401
        os.kill(starter.pid, signal.SIGKILL)
    _expect_gone(url)


def _rows(client: httpx.Client, path: str) -> list[dict[str, str]]:
    (rows,) = client.get(path).json().values()
    return list(rows)


def _expect_gone(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/customers", trust_env=False)
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the shop still answers")

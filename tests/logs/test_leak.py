"""Nobody who reads the application's log can take over an account, however carelessly it logs."""

from __future__ import annotations

import base64
import binascii
import json
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indelible.trail import Trail
from tests.logs.test_tee import INDELIBLE

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"[A-Za-z0-9+/_=.\-]{4,}")
DIGITS = re.compile(r"\d{4,}")


def values(found: object) -> Iterator[str]:
    """Every value and every name in a line."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield str(name)
            yield from values(value)
    elif isinstance(found, list):
        for value in found:
            yield from values(value)
    else:
        yield str(found)


def decoded(text: str) -> Iterator[str]:
    """What `text` may be an encoding of."""
    yield urllib.parse.unquote(text)
    yield urllib.parse.unquote_plus(text)
    for padded in (text, text + "=", text + "=="):
        for altchars in (b"+/", b"-_"):
            try:
                yield base64.b64decode(padded, altchars, validate=True).decode()
            except (binascii.Error, ValueError):
                continue
    try:
        yield bytes.fromhex(text).decode()
    except ValueError:
        return


def guesses(log: str) -> set[str]:
    """All that a thief of the log would try."""
    found: set[str] = set()
    texts = [log]
    for line in log.splitlines():
        texts += values(json.loads(line))
    for text in texts:
        found.add(text)
        found.update(decoded(text))
    for text in tuple(found):
        for run in RUN.findall(text):
            found.add(run)
            for other in decoded(run):
                found.add(other)
                found.update(RUN.findall(other))
            for part in re.split(r"[=/.:+]", run):
                found.add(part)
    for text in tuple(found):
        for digits in DIGITS.findall(text):
            for length in range(4, 9):
                found.update(
                    digits[start : start + length] for start in range(len(digits) - length + 1)
                )
    return found


class Shop:
    """The shop, under the tee."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\n')
        Trail.create(str(directory / "indelible.toml")).close()
        self.log = (directory / "app.log").open("wb")
        self.process = subprocess.Popen(
            [INDELIBLE, "tee", "--config", str(directory / "indelible.toml"), "--",
             sys.executable, "-m", "tests.logs.leaking.shop"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(self, path: str, body: object = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.port}{path}"
        headers = {"Content-Type": "application/json", **headers}
        asked = urllib.request.Request(address, data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return ""

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        self.log.close()


def test_a_stolen_log_opens_no_account(tmp_path: Path) -> None:
    """Sessions, passwords, reset links, API keys, OAuth codes, PINs and what support asks for, all
    logged in every careless way: nothing in the log, decoded in any way, is one of them."""
    shop = Shop(tmp_path)
    try:
        accounts = json.loads(shop.ask("/accounts"))
        for number, secrets in enumerate(accounts):
            shop.ask(
                f"/careless/{number}/{urllib.parse.quote(secrets['reset token'])}?key="
                + urllib.parse.quote(secrets["api key"]),
                secrets,
                Authorization=f"Bearer {secrets['jwt']}",
                Cookie=f"session={secrets['session']}",
            )
            shop.ask(f"/crash/{secrets['oauth code']}", {}, Authorization=secrets["session"])
        log = (tmp_path / "app.log").read_text()
        assert len(log.splitlines()) > len(accounts) * len(accounts[0]) * 10
        tried = guesses(log)
        opened = json.loads(shop.ask("/try", sorted(tried)))
        everything = json.loads(shop.ask("/try", [s for each in accounts for s in each.values()]))
    finally:
        shop.stop()

    (tmp_path / "tried").write_text("\n".join(sorted(opened)))
    assert len(everything) > 150  # the door does open
    assert opened == {}
    for name in ("example.org", "Authorization", "Bearer"):
        assert name not in log

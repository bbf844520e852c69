"""A shop whose customers' e-mail addresses are sealed; two of three authorisers suffice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from indelible import Actor, Subject, Trail, acting_as
from indelible.capture import sqlite3 as captured
from indelible.capture.sqlite_install import install
from indelible.integrity.authorisations import ActKind
from indelible.integrity.keys import create_signing_key, load_signing_key
from indelible.tlog import add_signatures, format_note, sign_note
from indelible.tlog.note import Note

ZARA = Subject("customer", "1")
YAN = Subject("customer", "2")
BEFORE, FIRST, SECOND = (
    "zara.before.capture@example.org",
    "zara.first@example.org",
    "zara.second@example.org",
)
YANS = "yan.has.his.own@example.org"
NAMES = ("one", "two", "three")
SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT, level TEXT);
CREATE TABLE note (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer, body BLOB);
CREATE TABLE product (id INTEGER PRIMARY KEY, title TEXT);
"""
POLICY = """
[trail]
url = "sqlite:///trail.db"
origin = "localhost/shop"
[database]
url = "sqlite:///app.db"
[relay]
poll_s = 0.01
[tables.customer]
subject = "self"
seal = ["email"]
[tables.note]
subject = "customer_id -> customer"
seal = ["body"]
"""


class Shop:
    """The application, its trail, and its authorisers' keys, in one folder."""

    def __init__(
        self,
        directory: Path,
        *,
        schema: str = SCHEMA,
        policy: str = POLICY,
        rows: str = f"INSERT INTO customer VALUES (1, '{BEFORE}', 'gold')",
    ) -> None:
        self.directory = directory
        self.config = directory / "indelible.toml"
        self.database = directory / "app.db"
        self.keys = {}
        (directory / "authorisers").mkdir(parents=True)
        for name in NAMES:
            path = directory / "authorisers" / name
            self.keys[name] = create_signing_key(path, f"shop.example/{name}")
        vkeys = ", ".join(f'"{key.verifier_key}"' for key in self.keys.values())
        retention = f"[retention]\nauthorisers = {{k = 2, keys = [{vkeys}]}}\n"
        self.config.write_text(policy + retention)
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(schema)
            connection.executescript(rows)
            connection.commit()
        with Trail.create(self.config) as trail:
            install(self.database, trail.policy, journal=trail.journal)
            trail.watch_database(self.database)

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Trail, sqlite3.Connection]]:
        with (
            Trail.open(self.config) as trail,
            contextlib.closing(captured.connect(self.database, trail=trail)) as connection,
            acting_as(Actor("staff", "alice"), reason="ticket 7"),
        ):
            yield trail, connection

    def work(self) -> None:
        """Zara and Yan are written, changed, and a note changes hands."""
        with self.open() as (trail, connection):
            for statement, values in (
                ("UPDATE customer SET email = ? WHERE id = 1", (FIRST,)),
                ("INSERT INTO customer VALUES (2, ?, 'tin')", (YANS,)),
                ("UPDATE customer SET email = ? WHERE id = 1", (SECOND,)),
                ("INSERT INTO note VALUES (1, 1, ?)", (FIRST.encode(),)),
                ("UPDATE note SET customer_id = 2, body = ? WHERE id = 1", (YANS.encode(),)),
                ("INSERT INTO product VALUES (1, ?)", ("lamp",)),
            ):
                connection.execute(statement, values)
                connection.commit()
            trail.flush()

    def forget(self) -> None:
        """The application deletes what it has of Zara, as it must before anything is erased."""
        with self.open() as (trail, connection):
            connection.execute("DELETE FROM customer WHERE id = 1")
            connection.commit()
            trail.flush()

    def sign(self, text: str, *names: str) -> bytes:
        keys = [load_signing_key(self.directory / "authorisers" / name) for name in names]
        note = add_signatures(Note(text, ()), [sign_note(text, key) for key in keys])
        return format_note(note)

    def authorise(self, trail: Trail, act: ActKind, subject: Subject = ZARA) -> bytes:
        return self.sign(trail.erasures.request(act, subject, reason="a request"), "one", "three")

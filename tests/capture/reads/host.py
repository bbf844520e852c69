"""A trail in memory, as capture sees one, and a database to read from."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

from indelible.capture.sealing import NO_SEALING
from indelible.errors import DeliveryError
from indelible.events.codec import decode_event, format_time, seal_parts
from indelible.events.model import Event, Producer, TargetRows
from indelible.events.values import Id
from indelible.policy import Policy, parse_policy

SAMPLES = Path(
    os.environ.get("INDELIBLE_SAMPLES", Path(__file__).parents[4] / "shared" / "data"),
    "chinook",
)

POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.customer]
subject = "self"
mask = ["email"]
[tables.invoice]
subject = "CustomerId -> customer"
[tables.invoiceline]
subject = "InvoiceId -> invoice.CustomerId -> customer"
[tables.note]
subject = "customer -> customer"
[tables.unwatched]
reads = false
[tables.vault]
durability = "strict"
[tables.chatter]
durability = "async"
"""

EXTRA_TABLES = """
CREATE TABLE note (customer INTEGER, body TEXT);
INSERT INTO note SELECT CustomerId, 'note ' || CustomerId FROM Customer WHERE CustomerId < 6;
INSERT INTO note VALUES (NULL, 'nobody''s');
CREATE TABLE seat (plane TEXT, row INTEGER, letter TEXT, who TEXT,
                   PRIMARY KEY (plane, letter, row)) WITHOUT ROWID;
INSERT INTO seat VALUES ('a', 1, 'A', 'x'), ('a', 2, 'B', 'y'), ('b', 1, 'A', NULL);
CREATE TABLE "odd ""name" ("the key" TEXT PRIMARY KEY, "select" TEXT, "a b" REAL);
INSERT INTO "odd ""name" VALUES ('k''1', 'one', 0.1), ('k"2', 'two', 1e300), (x'00ff', 'three', 3);
CREATE TABLE mixed (key PRIMARY KEY, v);
INSERT INTO mixed VALUES (1, 'int'), (1.5, 'real'), ('1', 'text'), (x'31', 'blob'),
                         (0.1, 'tenth'), (9007199254740993, 'large');
CREATE TABLE unwatched (id INTEGER PRIMARY KEY, v);
INSERT INTO unwatched VALUES (1, 'u');
CREATE TABLE vault (id INTEGER PRIMARY KEY, v);
INSERT INTO vault VALUES (1, 'gold'), (2, 'silver'), (3, 'tin');
CREATE TABLE chatter (id INTEGER PRIMARY KEY, v);
INSERT INTO chatter VALUES (1, 'a'), (2, 'b');
CREATE TABLE part (id INTEGER PRIMARY KEY, parent INTEGER, name TEXT);
INSERT INTO part VALUES (1, NULL, 'car'), (2, 1, 'wheel'), (3, 2, 'tyre'), (4, NULL, 'bike');
CREATE TABLE empty (id INTEGER PRIMARY KEY, v);
CREATE TABLE big (id INTEGER PRIMARY KEY, g INTEGER, v TEXT);
INSERT INTO big WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                SELECT i, i % 3, 'v' || i FROM n;
CREATE TABLE doc (uuid TEXT PRIMARY KEY, v);
INSERT INTO doc WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                SELECT printf('%08x-0000-4000-8000-%012x', i, i), i FROM n;
CREATE VIEW canadian AS SELECT CustomerId, FirstName FROM Customer WHERE Country = 'Canada';
CREATE VIEW "odd ""view" ([first ""name], n) AS /* ; */ SELECT FirstName, CustomerId + 0
  FROM Customer WHERE Country = 'USA' -- ) AS x
;
CREATE VIEW bought AS SELECT c.FirstName, i.Total
  FROM canadian AS c LEFT JOIN Invoice AS i ON i.CustomerId = c.CustomerId AND i.Total > 5;
CREATE VIEW spent AS SELECT CustomerId AS c, sum(Total) AS s FROM Invoice GROUP BY CustomerId;
CREATE VIEW everyone AS SELECT LastName FROM Customer UNION SELECT LastName FROM Employee;
CREATE VIEW whole AS SELECT * FROM Genre;
CREATE VIEW dearest AS WITH i AS (SELECT Total, BillingCity FROM Invoice ORDER BY Total DESC,
  InvoiceId LIMIT 4) SELECT BillingCity FROM i;
"""


class MemoryJournal:
    """`host.Journal` that keeps its events in a list."""

    def __init__(self) -> None:
        self.sealing = NO_SEALING
        self._lock = threading.Lock()
        self.events: list[Event] = []
        self.drafts: list[bytes] = []
        self.is_synced = True
        """Whether everything appended is on disk."""
        self.is_full = False

    def append(self, draft: bytes) -> str:
        if self.is_full:
            raise DeliveryError("expected room for an event, the disk is full")
        with self._lock:
            producer = Producer("journal", 1, len(self.drafts) + 1)
            self.drafts.append(draft)
            self.is_synced = False
            bodies = seal_parts(draft, format_time(0), producer)
            assert len(bodies) == 1, "an access must fit into one event"
            self.events.append(decode_event(bodies[0]))
            return self.events[-1].id

    def append_later(self, draft: bytes) -> None:
        self.append(draft)

    def sync(self) -> None:
        self.is_synced = True


class MemoryHost:
    """`host.CaptureHost` without a trail behind it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or parse_policy(POLICY)
        self.journal = MemoryJournal()
        self.context_key = bytes(32)
        self.notices: list[str] = []

    def delivered_through(self, incarnation: str) -> int:
        return 0

    def watch_database(self, path: Path) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        self.notices.append(action)

    def take(self) -> list[Event]:
        """The accesses since the last call."""
        events = [event for event in self.journal.events if event.kind == "access"]
        self.journal.events.clear()
        return events


def make_database(path: Path) -> Path:
    """The sample database with tables of every kind added to it."""
    shutil.copy(SAMPLES / "chinook.sqlite", path)
    path.chmod(0o600)
    connection = sqlite3.connect(path)
    connection.executescript(EXTRA_TABLES)
    connection.close()
    return path


def ids_by_kind(events: list[Event]) -> dict[str, set[Id]]:
    """All ids of the access events, by kind of target."""
    found: dict[str, set[Id]] = {}
    for target in targets(events):
        found.setdefault(target.kind, set()).update(target.ids)
    return found


def targets(events: list[Event]) -> list[TargetRows]:
    return [target for event in events for target in event.targets]


def wait_for_looks() -> None:
    """Nobody looks at a server's schema beside the statements when this returns."""
    deadline = time.monotonic() + 30
    while any(each.name == "indelible-look" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)

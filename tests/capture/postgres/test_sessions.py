"""Other clients of a PostgreSQL server: who was connected, and what answers say of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers import Database, PostgresServer

from indelible import Actor, Subject, Trail
from indelible.events.codec import decode_event, format_time, parse_time, seal
from indelible.events.model import NO_PRODUCER
from indelible.events.sessions import ACTIONS, ENDED, MISSED, SEEN, UNWATCHED, Span, span_of
from indelible.questions.findings import SessionFinding
from indelible.questions.sessions import BETWEEN, COPIED, LIKE_THE_APPLICATION, NOT_WATCHED, OTHER
from indelible.transport.server_reader import ServerOutboxReader
from indelible.transport.session_watch import SessionWatch

from .capturing import KEY, Captured, MemoryJournal
from .test_trail import Site

TRUDY = Actor("staff", "trudy")
ZARA = Subject("customer", "zara")
EVERY_S = 0.1
PATIENCE_S = 20.0


class Watched(Site):
    """A database whose sessions are looked at ten times a second."""

    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__(database, directory, "[tables.customer]\nsubject = 'self'\n")
        self.look_every(EVERY_S)
        self.run("install")

    def name_hosts(self, *hosts: str) -> None:
        """From now on the application connects from these."""
        self._set("database", "hosts", f"{list(hosts)}")

    def look_every(self, seconds: float) -> None:
        """How often sessions are looked at from now on."""
        self._set("relay", "sessions_s", f"{seconds}")

    def _set(self, section: str, key: str, value: str) -> None:
        lines = self.config.read_text().splitlines()
        lines = [line for line in lines if line.split(" ")[0] != key]
        lines.insert(lines.index(f"[{section}]") + 1, f"{key} = {value}")
        self.config.write_text("\n".join(lines) + "\n")

    def verify(self) -> None:
        """Nothing is wrong with the trail; not while a relay appends."""
        with Trail.open(self.config, relay=False) as trail:
            trail.verify()


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Watched:
    database.execute(
        "CREATE TABLE customer (id text PRIMARY KEY, name text)",
        "INSERT INTO customer VALUES ('zara', 'Zara')",
        "GRANT pg_read_all_stats TO owner",
        role="postgres",
    )
    database.execute("ALTER TABLE customer OWNER TO owner", role="postgres")
    database.grant()
    return Watched(database, tmp_path)


def spans(trail: Trail, *actions: str) -> list[Span]:
    """What the trail says of sessions, oldest first."""
    found = [span_of(finding.event) for finding in trail.events(action="sessions.*", system=True)]
    return [span for span in found if span is not None and span.action in (actions or ACTIONS)]


def until(trail: Trail, is_so: Callable[[Span], bool]) -> Span:
    """The first entry that `is_so`, once it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for span in spans(trail):
            if is_so(span):
                return span
        time.sleep(0.05)
    pytest.fail(f"no such entry among {spans(trail)}")


def others(trail: Trail, **window: str) -> dict[str | None, SessionFinding]:
    """What answer 2 says of other clients, by program; answer 4 says the same."""
    answer = trail.accesses(by=TRUDY, **window)
    found = list(answer.sessions())
    # What an export of the answer has holds the entries that tell of them.
    assert {index for finding in found for index in finding.indexes} <= {*answer.entries()}
    assert found == list(trail.accessors(of=ZARA, **window).sessions())
    return {finding.program if finding.role else finding.why: finding for finding in found}


@contextlib.contextmanager
def psql(database: Database, role: str = "app", program: str = "psql") -> Iterator[None]:
    """A real psql that reads a table and stays connected inside."""
    client = subprocess.Popen(
        ["psql", "-X", "-q", f"{database.url(role)}?application_name={program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        client.stdin.write("SELECT name FROM customer;\n")
        client.stdin.flush()
        while "Zara" not in client.stdout.readline():
            pass
        yield
    finally:
        client.communicate("\\q\n", timeout=PATIENCE_S)


def test_a_psql_session_is_seen_with_its_span(site: Watched) -> None:
    """Role, program, address, when it may have begun and when it had ended: two entries, however
    often it was looked at, and a finding in answers 2 and 4, which are else empty."""
    with site.trail() as trail:
        before = trail.window("now", None).since
        with psql(site.database, "owner"):
            seen = until(trail, lambda span: span.program == "psql")
            time.sleep(5 * EVERY_S)
            trail.flush()
            during = others(trail)["psql"]
        ended = until(trail, lambda span: (span.action, span.program) == (ENDED, "psql"))
        after = trail.window("now", None).since
        assert before is not None
        assert after is not None
        assert (seen.role, seen.address, seen.how) == ("owner", "127.0.0.1", "client")
        assert before <= seen.since <= seen.until
        assert before <= ended.since <= str(ended.last_seen) <= ended.until <= after
        assert (during.is_open, during.sessions, during.why) == (True, 1, OTHER)
        assert [span.action for span in spans(trail) if span.program == "psql"] == [SEEN, ENDED]

        answer = trail.accesses(by=TRUDY)
        assert list(answer) == []
        found = others(trail)["psql"]
        assert (found.first, found.last, found.is_open) == (ended.since, ended.until, False)
        assert "psql" not in others(trail, until=before)
        assert "psql" not in others(trail, since="now")
        assert not {"sessions.seen", "sessions.ended"} & {n.action for n in trail.notices()}
    site.verify()
    table = site.run("accessors", "--of", "customer:zara")
    assert "owner psql from 127.0.0.1" in table
    assert OTHER in " ".join(table.split())
    *_, line, _ = site.run("accesses", "--by", "staff:trudy", "--json").splitlines()
    assert not json.loads(line)["session"]["certain"]


def test_whoever_takes_the_application_s_role_and_name_is_shown(site: Watched) -> None:
    """A thief of the application's password who names his program as it does is in the answers,
    as long as nobody said that his host is the application's; then he still is in the trail."""
    shop = site.database.connect("app", application_name="shop")
    with site.trail() as trail, contextlib.closing(shop):
        until(trail, lambda span: (span.program, span.sessions) == ("shop", 1))
        with psql(site.database, "app", program="shop"):
            time.sleep(3 * EVERY_S)
        shop.close()
        until(trail, lambda span: (span.action, span.program) == (ENDED, "shop"))
        trail.flush()
        found = others(trail)["shop"]
        assert (found.role, found.sessions, found.why) == ("app", 2, LIKE_THE_APPLICATION)
    site.name_hosts("192.0.2.1")
    with site.trail() as trail:
        assert others(trail)["shop"] == found
    site.name_hosts("127.0.0.1")
    with site.trail() as trail:
        assert "shop" not in others(trail)
        assert [span.sessions for span in spans(trail) if span.program == "shop"] == [1, 2]
        with psql(site.database, "owner", program="shop"):
            until(trail, lambda span: (span.role, span.program) == ("owner", "shop"))
            assert others(trail)["shop"].role == "owner"


def test_while_no_relay_ran_sessions_were_not_seen_and_that_is_said(site: Watched) -> None:
    """The span without a look is in the trail and in the answers of that time, with how many
    sessions the server counted meanwhile."""
    with site.trail() as trail, psql(site.database, "owner", "before"):
        until(trail, lambda span: span.program == "before")
    time.sleep(0.5)
    with psql(site.database):
        pass
    time.sleep(1)
    with site.trail() as trail:
        gap = until(trail, lambda span: span.action == UNWATCHED)
        trail.flush()
        assert (gap.sessions or 0) >= 1
        assert "psql" not in others(trail)
        found = others(trail, since=gap.since, until=gap.until)[NOT_WATCHED]
        assert (found.first, found.last) == (gap.since, gap.until)
        assert NOT_WATCHED not in others(trail, since="now")
        assert not [n for n in trail.notices() if n.action.startswith("sessions.")]


def test_a_session_that_was_open_through_an_outage_is_one_span(site: Watched) -> None:
    """It began before nobody looked and ended after: its span has both."""
    with contextlib.ExitStack() as stack:
        with site.trail() as trail:
            stack.enter_context(psql(site.database))
            seen = until(trail, lambda span: span.program == "psql")
        time.sleep(1.5)
        with site.trail() as trail:
            until(trail, lambda span: span.action == UNWATCHED)
            stack.close()
            ended = until(trail, lambda span: (span.action, span.program) == (ENDED, "psql"))
    assert (ended.since, ended.sessions) == (seen.since, 1)


def counted(site: Watched, program: str | None, role: str, connect: Callable[[], None]) -> None:
    """Each session that `connect` makes was seen, or is told as missed."""
    site.look_every(0.4)
    with site.trail() as trail:
        time.sleep(0.6)
        for _ in range(20):
            connect()
        missed = until(trail, lambda span: span.action == MISSED)
        trail.flush()
        assert missed.interval_s == 0.4
        told = sum(span.sessions or 0 for span in spans(trail, MISSED))
        assert others(trail)[BETWEEN].sessions == told
        gaps = len(spans(trail, UNWATCHED))
    # What was missed since it was said last is said at the latest when somebody looks again.
    time.sleep(2)
    with site.trail() as trail:
        until(trail, lambda span: len(spans(trail, UNWATCHED)) > gaps)
        trail.flush()
        told += sum(span.sessions or 0 for span in spans(trail, UNWATCHED)[gaps:])
        seen = {
            span.first_seen: span.sessions or 0
            for span in spans(trail, SEEN, ENDED)
            if (span.role, span.program) == (role, program)
        }
        assert told + sum(seen.values()) == 20


def test_sessions_shorter_than_a_look_are_counted(site: Watched) -> None:
    """The server's own count tells of sessions that came and went unseen, of each."""

    def connect() -> None:
        site.database.connect("app", application_name="short").close()

    counted(site, "short", "app", connect)


def test_a_backup_and_a_replica_are_seen_as_what_copies_everything(
    site: Watched, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A walsender has no database, and gets every row: pg_receivewal shows, the application's
    role or not."""
    site.name_hosts("127.0.0.1")
    site.database.execute("ALTER ROLE app REPLICATION", role="postgres")
    directory = tmp_path_factory.mktemp("wal")
    where = f"postgresql://app@127.0.0.1:{postgres.port}/?application_name=standby"
    try:
        with site.trail() as trail:
            program = postgres.program("pg_receivewal")
            receiver = subprocess.Popen([program, "-d", where, "-D", str(directory)])
            try:
                seen = until(trail, lambda span: span.program == "standby")
                trail.flush()
                assert (seen.how, seen.role, seen.address) == ("replication", "app", "127.0.0.1")
                assert others(trail)["standby"].why == COPIED
            finally:
                receiver.terminate()
                receiver.wait(PATIENCE_S)
            until(trail, lambda span: (span.action, span.program) == (ENDED, "standby"))
    finally:
        site.database.execute("ALTER ROLE app NOREPLICATION", role="postgres")


def test_without_rights_to_others_statistics_sessions_are_still_seen(site: Watched) -> None:
    """Role and program show to any role; then the span begins where the look before was."""
    site.database.execute("REVOKE pg_read_all_stats FROM owner", role="postgres")
    with site.trail() as trail:
        time.sleep(3 * EVERY_S)
        with psql(site.database, "app"):
            seen = until(trail, lambda span: span.program == "psql")
            assert (seen.role, seen.address) == ("app", None)
            assert seen.since < str(seen.first_seen)
        until(trail, lambda span: (span.action, span.program) == (ENDED, "psql"))


def test_a_long_session_is_an_entry_an_hour(database: Database, tmp_path: Path) -> None:
    """Not one a look: the first, one an hour, and the last when it is gone."""
    captured = Captured(database)
    journal = MemoryJournal()
    reader = ServerOutboxReader(captured.server, context_key=KEY, ledgers=tmp_path)
    began = now = time.time_ns() // 1_000
    watch = SessionWatch(
        captured.server,
        tmp_path,
        reader,
        journal,
        every_s=300.0,
        monotonic=lambda: now / 1e6,
        clock=lambda: now,
    )
    with contextlib.closing(reader):
        with contextlib.closing(database.connect("app", application_name="report")):
            for _ in range(30):
                watch.look()
                now += 300_000_000
        time.sleep(0.2)
        watch.look()
    events = [decode_event(seal(draft, format_time(now), NO_PRODUCER)) for draft in journal.drafts]
    told = [span for span in map(span_of, events) if span is not None]
    found = [span for span in told if span.program == "report"]
    assert [span.action for span in found] == [SEEN, SEEN, SEEN, ENDED]
    hours = [(parse_time(span.until) - began) / 3.6e9 for span in found]
    assert hours == pytest.approx([0, 1, 2, 2.5], abs=0.01)
    assert {span.first_seen for span in found} == {found[0].first_seen}
    assert MISSED not in {span.action for span in told}

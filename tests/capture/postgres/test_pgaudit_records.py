"""What a record of pgaudit's says, byte by byte."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.mariadb.dialect import MariadbDialect
from indelible.capture.mariadb.server_audit import ServerAuditLog
from indelible.capture.postgres.dialect import PostgresDialect
from indelible.capture.postgres.pgaudit import PgauditLog
from indelible.capture.postgres.readable import NOTHING, Session
from indelible.capture.schema import Column, Schema, Table
from indelible.capture.statement_log import LoggedStatement, draft_of
from indelible.capture.statements.planner import Planner
from indelible.policy.model import Policy


def record(moment: str, database: str = "shop") -> bytes:
    said = 'AUDIT: SESSION,1,1,READ,SELECT,TABLE,"public.""My t""",select 1,<not logged>'
    message = f'"{said.replace(chr(34), chr(34) * 2)}"'
    return (
        f'{moment},"bi","{database}",7,"[::1]:5000",1.7,1,"SELECT",{moment},2/1,0,LOG,00000,'
        f'{message},,,,,,,,,"report","client backend",,0\n'
    ).encode()


@pytest.mark.parametrize(
    ("moment", "micros"),
    [
        ("2026-11-30 13:00:00.123 UTC", 1_796_043_600_123_000),
        ("2026-11-30 13:00:00.123 GMT", 1_796_043_600_123_000),
        ("2026-11-30 14:00:00.123 +01", 1_796_043_600_123_000),
        ("2026-11-30 07:30:00.123 -0530", 1_796_043_600_123_000),
        ("2026-11-30 14:00:00.123 CET", 1_796_043_600_123_000),
        ("2026-07-30 14:00:00 CEST", 1_785_412_800_000_000),
        ("2026-11-30 13:00:00.123 AEST", None),
    ],
)
def test_times_are_told_in_utc_or_not_at_all(
    moment: str, micros: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By UTC, an offset, or the name of this machine's zone; a name of another says nothing."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        (found,) = PgauditLog("shop").parse([record(moment)])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(found, LoggedStatement)
    assert (found.time, found.role, found.program) == (micros, "bi", "report")
    assert found.reads == ("public.my t",)


def test_other_databases_are_none_of_ours() -> None:
    assert PgauditLog("shop").parse([record("2026-11-30 13:00:00 UTC", "other")]) == [None]


@pytest.mark.parametrize("broken", [b"\n", b"{\n", b"x,y\n", b'{"timestamp": 1}\n'])
def test_what_is_no_record_is_said(broken: bytes) -> None:
    (found,) = PgauditLog("shop").parse([broken])
    assert isinstance(found, str)


SCHEMA = Schema({"customer": Table(name="customer", columns=(Column("id"),), key=("id",))})
POLICY = Policy(trail=Path("t"), journals=Path("j"), keys=Path("k"))
ANYBODY = Session((), "", frozenset())
PLANNERS = (
    Planner(SCHEMA, POLICY, PostgresDialect(NOTHING, ANYBODY, POLICY)),
    Planner(SCHEMA, POLICY, MariadbDialect("shop", SCHEMA, POLICY, {})),
)
TEXTS = st.text(st.sampled_from("selct FROM customer'\"`$\\/*-!;,()U&?%0123\n\t\0é\ufffd"))


@given(
    text=TEXTS | st.text(st.characters(codec="utf-8")), is_read=st.sampled_from([None, True, False])
)
def test_no_text_stops_the_import(text: str, is_read: bool | None) -> None:
    """Whatever a client sends becomes an access, or none; behind FROM a table is always seen."""
    for planner in PLANNERS:
        for sent in (text, f"SELECT 1 FROM customer {text}"):
            statement = LoggedStatement(
                key="1", time=0, role="bi", program=None, address=None, text=sent, is_read=is_read
            )
            draft = draft_of(statement, planner)
        assert draft is not None or is_read is False


@given(records=st.lists(st.binary() | TEXTS.map(str.encode)))
def test_no_record_stops_the_import(records: list[bytes]) -> None:
    for log in (PgauditLog("shop"), ServerAuditLog("shop")):
        assert len(log.parse(records)) == len(records)


@pytest.mark.parametrize("year", ["0001", "9999", "2026"])
def test_a_time_that_no_clock_has_stops_nothing(year: str) -> None:
    """Whoever can make a line up can make its time up."""
    line = f"{year}0101 00:00:00,h,ceo,10.0.0.1,1,1,QUERY,shop,'SELECT 1',0\n".encode()
    (found,) = ServerAuditLog("shop").parse([line])
    assert isinstance(found, LoggedStatement)
    (found,) = PgauditLog("shop").parse([record(f"{year}-01-01 00:00:00 -99")])
    assert isinstance(found, LoggedStatement)

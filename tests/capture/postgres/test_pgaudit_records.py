"""What a record of pgaudit's says, byte by byte."""

from __future__ import annotations

import time

import pytest

from indelible.capture.postgres.pgaudit import PgauditLog
from indelible.capture.statement_log import LoggedStatement


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

"""A small company whose staff works with Zara's data, and with that of others."""

from __future__ import annotations

from indelible.events.model import Actor, Event, Subject, TargetRows, Timestamp
from indelible.policy import Policy
from indelible.policy.load import parse_policy
from indelible.questions.asking import Questions
from indelible.reports.access import AccessReport, report_access
from tests.questions.trails import Maker

ZARA, YANN = Subject("customer", "zara"), Subject("customer", "yann")
ALICE, BOB, TRUDY = Actor("staff", "alice"), Actor("staff", "bob"), Actor("staff", "trudy")
MADE = Timestamp("2026-11-30T20:00:00.000000Z")
TABLES = """
[trail]
url = "sqlite:///trail.db"
[tables.customer]
subject = "self"
[tables.invoice]
subject = "customer_id -> customer"
[tables.product]
"""


def policy(reports: str = "", tables: str = TABLES) -> Policy:
    return parse_policy(f"{tables}[reports]\n{reports}\n")


def at(day: int) -> Timestamp:
    return Timestamp(f"2022-11-{day:02d}T12:00:00.000000Z")


def event(
    day: int,
    actor: Actor | None,
    *targets: TargetRows,
    of: tuple[Subject, ...] = (ZARA,),
    changed: bool = False,
    **more: object,
) -> Event:
    fields = {"changes": {"total": (1, 2)}} if changed else {}
    return Event(
        action="invoice.update" if changed else "invoice.read",
        kind="change" if changed else "access",
        actor=actor,
        time=at(day),
        targets=targets or (invoices(1),),
        subjects=of,
        **{**fields, **more},  # type: ignore[arg-type]
    )


def invoices(*ids: int, **more: object) -> TargetRows:
    return TargetRows("invoice", tuple((each,) for each in ids), **more)  # type: ignore[arg-type]


def customers(*ids: str) -> TargetRows:
    return TargetRows("customer", tuple((each,) for each in ids))


def report(
    maker: Maker,
    of: Subject = ZARA,
    reports: str = "",
    decided: Policy | None = None,
    **asked: str,
) -> AccessReport:
    decided = decided or policy(reports)
    answer = Questions(maker.store, decided).accessors(of=of, **asked)
    return report_access(maker.store, answer, of=of, policy=decided, made=MADE)

"""The tour: an application is audited, works for a day, and is asked, reversed and proved."""

from __future__ import annotations

import datetime as dt
import inspect
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console

from indelible import Actor, Subject, Trail, acting_as
from indelible.demo.shop.opening import CONFIG, open_shop
from indelible.demo.shop.process import served
from indelible.demo.shop.serve import audited
from indelible.demo.showing import Stage
from indelible.demo.workday import (
    AFTERNOON,
    FOREIGN_SQL,
    MORNING,
    NEXT_MORNING,
    Staffroom,
    change_past_the_application,
)
from indelible.errors import VerificationError
from indelible.testing import tamper

ALICE: Final = Actor("staff", "alice")
BOB: Final = Actor("staff", "bob")
TRUDY: Final = Actor("staff", "trudy")
DANA: Final = Actor("staff", "dana")
ZARA: Final = Subject("customer", "zara")
REASON: Final = "incident 17"
COPY: Final = "tampered.db"


class _Day(NamedTuple):
    """The working day, in whole seconds."""

    since: str
    until: str

    @property
    def options(self) -> tuple[str, ...]:
        return "--since", self.since, "--until", self.until


def run(console: Console, directory: Path) -> None:
    """Show the whole tour; application, trail and keys are then in `directory`.

    Takes some ten seconds. The application runs in a process of its own, which has ended when this
    returns or raises. Raises `TrailExistsError` where a shop is in `directory` already.
    """
    stage = Stage(console)
    passwords = open_shop(directory)
    _show_the_two_lines(stage)
    day = _work(stage, directory, passwords)
    with Trail.open(directory / CONFIG) as trail:
        trail.flush()
        _ask(stage, trail, day)
        _reverse(stage, trail, day)
        _show_that_it_is_back(stage, directory, passwords)
        trail.flush()
        _prove(stage, trail, directory, day)
    _say_what_is_next(stage, day)


def _show_the_two_lines(stage: Stage) -> None:
    stage.chapter(
        "Two lines of code",
        "A shop's back office: Starlette, SQLAlchemy, SQLite; customers, invoices, notes, tickets.",
        "This is all that it takes to audit it; the two lines in the middle are ours:",
    )
    stage.code(inspect.getsource(audited))
    stage.say(
        "Who is acting is said once, in the middleware that knows the session:",
    )
    stage.code('with acting_as(Actor("staff", "alice"), reason="ticket 501", ip="192.0.2.17"):')
    stage.say(
        "`indelible init` made a trail in a file of its own, with its keys. indelible.toml says",
        "whose data a row is, and which columns are never captured (password_hash). What was in",
        "the database before is written down as the baseline when capture starts.",
    )


def _work(stage: Stage, directory: Path, passwords: Mapping[str, str]) -> _Day:
    stage.chapter(
        "A working day",
        "The shop runs in a process of its own; staff sign in and work, each from their own",
        "address. Nobody is good or bad here: everyone's reads and writes are captured alike.",
    )
    began = time.time()
    with served(directory) as url, Staffroom(url, passwords) as staff:
        stage.deeds([staff.log_in("trudy", "letmein"), *staff.work(MORNING)])
        stage.say("", "In the afternoon Bob has his last hours, and Carol notices something:")
        stage.deeds(staff.work(AFTERNOON))
        changed = change_past_the_application(directory)
    stage.say("", "And somebody goes past the application, with a plain SQLite client:")
    stage.say(f"sqlite> {FOREIGN_SQL};    -- {changed} row", style="bold")
    ended = time.time()
    # The window ends on a whole second, so that what comes next is behind it.
    time.sleep(1 - ended % 1)
    return _Day(_second(began), _second(ended + 1))


def _ask(stage: Stage, trail: Trail, day: _Day) -> None:
    since, until = day
    stage.chapter(
        "The four questions",
        "Every command below works in the demo's directory; answers show the first lines.",
    )
    stage.say("", "What is the full set of changes that Alice made?", style="bold cyan")
    stage.command("indelible", "changes", "--by", str(ALICE), *day.options)
    stage.changes(trail.changes(by=ALICE, since=since, until=until))

    stage.say("", "Which records did Trudy access? She changed nothing.", style="bold cyan")
    stage.command("indelible", "accesses", "--by", str(TRUDY), *day.options)
    stage.accesses(trail.accesses(by=TRUDY, since=since, until=until))
    stage.say(
        "The report that she read shows sums only; the invoices summed are in the answer all the",
        "same. The refused deletion and the wrong password aren't accesses; they are events:",
    )
    stage.command("indelible", "events", *day.options)
    stage.events(trail.events(since=since, until=until))

    stage.say("", "Who accessed customer Zara's data?", style="bold cyan")
    stage.command("indelible", "accessors", "--of", str(ZARA), *day.options)
    stage.accessors(trail.accessors(of=ZARA, since=since, until=until))
    stage.say(
        "The plain client is (unattributed): seen, but nobody said who it was. So it is noticed"
    )
    stage.say("until somebody acknowledges it:")
    stage.command("indelible", "status")
    for notice in trail.notices():
        stage.say(f"{notice.index}  {notice.action}: {notice.message}")


def _reverse(stage: Stage, trail: Trail, day: _Day) -> None:
    stage.say("", "How do we reverse all changes that Bob made?", style="bold cyan")
    stage.command("indelible", "reverse", "--by", str(BOB), *day.options)
    reversal = trail.plan_reversal(by=BOB, since=day.since, until=day.until)
    stage.plan(reversal.plan)

    stage.chapter(
        "Reversing Bob",
        "Latest change first, in one transaction; each row is read and decided again under its",
        "lock. What Carol corrected since is hers, and stays.",
    )
    apply = ("indelible", "reverse", "--by", str(BOB), *day.options)
    apply += ("--apply", "--as", str(DANA), "--reason", REASON)
    for words in ("First time", "Once more"):
        stage.command(*apply)
        with acting_as(DANA, reason=REASON):
            plan = trail.plan_reversal(by=BOB, since=day.since, until=day.until).apply()
        stage.say(
            f"{words}: {len(plan.restorable)} rows restored · {len(plan.already_so)} already so · "
            f"{len(plan.conflicts)} with a conflict, left alone"
        )
    stage.say("Applying it twice changes nothing more. The reversal is in the trail itself:")
    trail.flush()
    restored = sum(1 for finding in trail.changes(by=DANA) if finding.event.reverses)
    stage.say(f"{restored} changes by {DANA}, each naming the events that it reverses.")


def _show_that_it_is_back(stage: Stage, directory: Path, passwords: Mapping[str, str]) -> None:
    stage.say("", "The next morning the shop opens again, and Alice looks:")
    with served(directory) as url, Staffroom(url, passwords) as staff:
        stage.deeds(staff.work(NEXT_MORNING))
    stage.good(
        "Wim is back with invoices, notes and ticket; Zara has the address that she had, and the "
        "email that Carol wrote."
    )


def _prove(stage: Stage, trail: Trail, directory: Path, day: _Day) -> None:
    stage.chapter("Is all of this true?", "Everything stored is hashed and derived again:")
    stage.command("indelible", "verify")
    whole = trail.verify()
    stage.good(
        f"whole: {whole.size} entries in {whole.batches} batches from {whole.sources} sources are "
        "what was signed"
    )
    stage.say(f"root {whole.root.hex()}", f"assurance: {whole.assurance}")

    deleted = next(
        finding
        for finding in trail.changes(by=BOB, since=day.since, until=day.until)
        if finding.event.action == "customer.delete"
    )
    copy = directory / COPY
    tamper.copy_trail(trail.policy.trail, copy)
    tamper.edit_body(copy, deleted.index, lambda body: body.replace(b'"bob"', b'"eve"'))
    stage.say(
        "",
        f"Now somebody with root edits a copy of the trail: in entry {deleted.index} (who deleted "
        "Wim?) Bob becomes Eve. An auditor who has seen nothing yet verifies that copy:",
    )
    stage.command("indelible", "verify", "--trail", COPY, "--state", "auditor")
    with Trail.open(msgspec.structs.replace(trail.policy, trail=copy), relay=False) as edited:
        try:
            edited.verify()
        except VerificationError as error:
            stage.bad(str(error))
            stage.say("(exit code 3)")
        else:
            raise VerificationError(f"expected a fault at index {deleted.index}, found none")
    stage.say("", "What was promised in indelible.toml, held against what the trail bears out:")
    stage.command("indelible", "check")
    for verdict in trail.check():
        stage.say(f"{verdict.verdict}: {verdict.promise}")
    stage.say(
        "",
        "Unwitnessed means: whoever holds the trail *and* its key could write another history.",
        "What was verified is remembered outside of the trail, so it can't go backwards unnoticed.",
    )


def _say_what_is_next(stage: Stage, day: _Day) -> None:
    stage.chapter("What next?", "Keep a demo and ask it yourself:")
    stage.command("indelible", "demo", "--directory", "shop")
    stage.command("indelible", "history", "customer:wim", "--config", "shop/indelible.toml")
    stage.say("", "Audit your own application:")
    stage.command("indelible", "init", "--database", "app.db")
    stage.say("then the two lines of chapter 1, and `with acting_as(…)` round each request.")


def _second(at: float) -> str:
    """The second that `at` is in, as a person types it."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

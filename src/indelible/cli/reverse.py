"""`indelible reverse`: undo what somebody changed, as far as nobody built on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from indelible.cli.account import account
from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.opening import policy_of, record_question
from indelible.cli.options import ACTOR, CONFIG, JSON, window
from indelible.cli.output import console, local, print_json, print_table, value_text
from indelible.cli.passphrases import asker
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.reversal.steps import Plan, Step
from indelible.trail import Trail

COLUMNS = ("record", "what", "column", "now", "then", "decision")


@click.command("reverse")
@click.option("--by", type=ACTOR, required=True, help="Whose changes.", metavar="KIND:ID")
@click.option("--also-as", is_flag=True, help="Also what others did on their behalf.")
@click.option("--apply", "is_applying", is_flag=True, help="Carry the plan out.")
@click.option("--force", is_flag=True, help="Overwrite what others changed since.")
@click.option(
    "--as",
    "acting",
    type=ACTOR,
    metavar="KIND:ID",
    help="Who reverses; recorded. [default: os:<you>]",
)
@click.option("--reason", help="Why; recorded.")
@window
@JSON
@CONFIG
def command(
    by: Actor,
    also_as: bool,
    is_applying: bool,
    force: bool,
    acting: Actor | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path,
) -> None:
    """Plan to undo all changes that an actor made in a window; with --apply, do it.

    What somebody else changed since is a conflict: reported, and left alone. Exits with 1 where a
    conflict remains.

    For example: indelible reverse --by staff:bob --since 2023-09-21 --until 2023-10-05
    """
    with Trail.open(policy_of(config), ask=asker()) as trail:
        record_question(trail)
        reversal = trail.plan_reversal(
            by=by, since=since, until=until, also_as=also_as, force=force
        )
        plan = reversal.plan
        if is_applying:
            with acting_as(acting or account(), reason=reason):
                plan = reversal.apply()
        searched = trail.window(since, until)
    if as_json:
        print_json([*plan.steps, *plan.unplanned])
    else:
        _print(plan, applied=is_applying)
        console().print(
            f"searched: {local(searched.since) if searched.since else 'the beginning'} up to "
            f"{local(searched.until) if searched.until else 'the end'} (UTC)",
            style="dim",
        )
    if plan.conflicts or plan.unplanned:
        raise SystemExit(ANSWER_IS_NO)


def _print(plan: Plan, *, applied: bool) -> None:
    out = console()
    print_table(out, COLUMNS, plan_rows(plan), empty="nothing to reverse")
    for step in plan.conflicts:
        out.print(str(step))
    for each in plan.unplanned:
        out.print(f"can't be reversed: {each.action} ({each.event}): {each.why}")
    done = "restored" if applied else "restorable"
    out.print(
        f"{done}: {len(plan.restorable)} · already so: {len(plan.already_so)} · with conflicts: "
        f"{len(plan.conflicts)} · can't be reversed: {len(plan.unplanned)}",
        style="bold",
    )
    if not applied and plan.restorable:
        out.print("nothing was written: --apply carries it out")


def plan_rows(plan: Plan) -> Iterator[list[str]]:
    """A plan as a table shows it: a line a column."""
    for step in plan.steps:
        if not step.columns:
            yield [step.target_text, step.verb, "", "", "", step.decision]
        for column in step.columns:
            yield [
                step.target_text,
                step.verb,
                column.column,
                value_text(column.live),
                value_text(column.goal),
                _decision(step, column.decision),
            ]


def _decision(step: Step, decision: str) -> str:
    return "conflict" if step.decision == "conflict" else decision

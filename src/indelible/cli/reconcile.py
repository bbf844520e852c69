"""`indelible reconcile`: was anything changed without the trail seeing it?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, print_json, print_table, progress_bar, value_text
from indelible.cli.passphrases import asker
from indelible.events.values import format_id
from indelible.invariants.differences import Difference, Summary, TableReport
from indelible.invariants.expecting import Progress
from indelible.trail import Trail

COLUMNS = ("record", "what", "column", "the trail says", "found", "entry")


@click.command("reconcile")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@JSON
@CONFIG
def command(tables: tuple[str, ...], as_json: bool, config: Path) -> None:
    """Compare the database with the trail: every row and column that was changed unseen.

    Baseline and changes are folded, and held against the live rows of each TABLE (of all, without
    any) while the application works. Says what couldn't be compared, too. Exits with 1 where
    anything differs.
    """
    with contextlib.ExitStack() as stack:
        trail = stack.enter_context(Trail.open(policy_of(config), ask=asker()))
        progress = stack.enter_context(_progress())
        found = trail.reconcile(*tables, progress=progress)
        summary = _print_objects(found) if as_json else _print(found)
    if summary is not None and summary.differences.total:
        sys.exit(ANSWER_IS_NO)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr for whatever is being read."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    with progress_bar("reconciling") as update:
        yield lambda what, done, of: update(done, of)


def _print_objects(found: Iterator[Difference | TableReport | Summary]) -> Summary | None:
    last: list[Summary] = []

    def objects() -> Iterator[object]:
        for one in found:
            if isinstance(one, Difference):
                yield one
            elif isinstance(one, TableReport):
                yield {"table": one}
            else:
                last.append(one)
                yield {"summary": one}

    print_json(objects())
    return last[0] if last else None


def _print(found: Iterator[Difference | TableReport | Summary]) -> Summary | None:
    out = console()
    reports: list[TableReport] = []
    last: list[Summary] = []
    whys: dict[str, None] = {}

    def rows() -> Iterator[list[str]]:
        for one in found:
            if isinstance(one, Difference):
                if one.why is not None:
                    whys[one.why] = None
                yield from _rows_of(one)
            elif isinstance(one, TableReport):
                reports.append(one)
            else:
                last.append(one)

    print_table(out, COLUMNS, rows(), empty="nothing was changed without the trail seeing it")
    for why in whys:
        out.print(f"possible, not certain (?): {why}", style="dim")
    for report in reports:
        _print_report(out, report)
    if not last:
        return None
    summary = last[0]
    for note in summary.notes:
        out.print(note, style="bold")
    out.print(
        f"compared: {summary.rows} rows of {summary.tables} tables with {summary.size} entries · "
        f"not compared: {summary.not_compared} tables · differences: {summary.differences}",
        style="dim",
    )
    return summary


def _rows_of(difference: Difference) -> Iterator[list[str]]:
    """One line a column."""
    mark = "" if difference.certain else " (?)"
    copies = f" ({difference.copies} times)" if difference.copies > 1 else ""
    first = [
        f"{difference.kind}:{format_id(difference.id)}",
        difference.what + copies + mark,
    ]
    entry = "" if difference.index is None else str(difference.index)
    if not difference.columns:
        yield [*first, "", "", "", entry]
    for name, (said, found) in difference.columns.items():
        yield [*first, name, value_text(said), value_text(found), entry]
        first, entry = ["", ""], ""


def _print_report(out: Console, report: TableReport) -> None:
    if report.not_compared is not None:
        out.print(f"{report.table}: not compared: {report.not_compared}", style="bold")
    else:
        out.print(
            f"{report.table}: {report.rows} rows compared, as of outbox row {report.position}; "
            f"differences: {report.differences}"
        )
    for note in report.notes:
        out.print(f"  {note}", style="dim")

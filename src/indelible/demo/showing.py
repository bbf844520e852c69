"""How the tour looks: headings, the commands one would type, and tables of answers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from indelible.demo.workday import Done
from indelible.events.values import ABSENT, TypedValue, Value, to_native
from indelible.questions.answer import Answer, AnyFinding
from indelible.questions.findings import AccessFinding, AccessorFinding, Finding
from indelible.reversal.steps import ColumnStep, Plan, Step

PLAIN_WIDTH: Final = 100
_MAX_ROWS: Final = 14
_MAX_VALUE: Final = 26
_REFUSED: Final = "yellow"
_BAD: Final = "bold red"
_GOOD: Final = "bold green"


class Stage:
    """Where the tour is shown: a terminal, or plain text of a fixed width."""

    def __init__(self, console: Console) -> None:
        if not console.is_terminal:
            console.width = PLAIN_WIDTH
        self._console = console
        self._chapter = 0

    def chapter(self, title: str, *sentences: str) -> None:
        self._chapter += 1
        self._console.print()
        self._console.rule(Text(f"{self._chapter}  {title}", style="bold cyan"), align="left")
        self.say(*sentences)

    def say(self, *sentences: str, style: str = "") -> None:
        for sentence in sentences:
            self._console.print(Text(sentence, style=style))

    def good(self, sentence: str) -> None:
        self.say(sentence, style=_GOOD)

    def bad(self, sentence: str) -> None:
        self.say(sentence, style=_BAD)

    def command(self, *words: str) -> None:
        """A command line as one would type it, before its answer."""
        self._console.print()
        self._console.print(Text(f"$ {shlex.join(words)}", style="bold"), soft_wrap=True)

    def code(self, source: str) -> None:
        shown = Syntax(source.rstrip(), "python", theme="ansi_dark", background_color="default")
        self._console.print(Padding(shown, (1, 4)))

    def deeds(self, deeds: Iterable[Done]) -> None:
        """What was asked over HTTP, and answered."""
        table = _table("who", "request", "through", "", "answer")
        for done in deeds:
            status = Text(str(done.status), style="" if done.status < 400 else _REFUSED)
            who, request, through, answer = map(
                Text, (done.deed.who, done.deed.request, done.deed.through, done.answer)
            )
            table.add_row(who, request, through, status, answer)
        self._console.print(table)

    def changes(self, answer: Answer[Finding]) -> None:
        self._answer(
            answer,
            ("#", "time (UTC)", "what", "which", "before → after", "why"),
            (
                (
                    str(finding.index),
                    finding.time[11:23],
                    finding.event.action,
                    finding.target_text,
                    _changes_text(finding),
                    finding.event.reason or "",
                )
                for finding in answer.certain()
            ),
        )

    def accesses(self, answer: Answer[AccessFinding]) -> None:
        self._answer(
            answer,
            ("record", "first (UTC)", "last (UTC)", "reads", "changes"),
            (
                (
                    finding.target_text,
                    finding.first[11:23],
                    finding.last[11:23],
                    str(finding.reads or ""),
                    str(finding.changes or ""),
                )
                for finding in answer.certain()
            ),
        )

    def accessors(self, answer: Answer[AccessorFinding]) -> None:
        self._answer(
            answer,
            ("actor", "first (UTC)", "last (UTC)", "reads", "changes"),
            (
                (
                    "(unattributed)" if finding.actor is None else str(finding.actor),
                    finding.first[11:23],
                    finding.last[11:23],
                    str(finding.reads or ""),
                    str(finding.changes or ""),
                )
                for finding in answer.certain()
            ),
        )

    def events(self, answer: Answer[Finding]) -> None:
        self._answer(
            answer,
            ("time (UTC)", "what", "outcome", "actor", "address", "which"),
            (
                (
                    finding.time[11:23],
                    finding.event.action,
                    finding.event.outcome.value,
                    str(finding.event.actor),
                    str((finding.event.context or {}).get("ip", "")),
                    finding.target_text,
                )
                for finding in answer.certain()
            ),
        )

    def plan(self, plan: Plan) -> None:
        """What a reversal would do, a line a row; conflicts last, with who stands in the way."""
        table = _table("record", "what reversing means", "decision")
        for step in plan.restorable:
            table.add_row(Text(step.target_text), Text(_intent(step)), Text("restore", style=_GOOD))
        for step in plan.already_so:
            table.add_row(Text(step.target_text), "", "already so")
        for step in plan.conflicts:
            table.add_row(
                Text(step.target_text), Text(_conflict(step)), Text("conflict", style=_BAD)
            )
        self._console.print(table)

    def _answer(
        self, answer: Answer[AnyFinding], columns: Sequence[str], rows: Iterator[Sequence[str]]
    ) -> None:
        table = _table(*columns)
        count = 0
        for count, row in enumerate(rows, start=1):
            if count <= _MAX_ROWS:
                table.add_row(*map(Text, row))
        self._console.print(table)
        more = f"and {count - _MAX_ROWS} more · " if count > _MAX_ROWS else ""
        possible = sum(1 for _ in answer.possible())
        self.say(
            f"{more}certain: {count} · possible: {possible} · searched: {answer.size} entries",
            style="dim",
        )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _changes_text(finding: Finding) -> str:
    event = finding.event
    changes = event.changes or {}
    if event.action.endswith((".insert", ".delete")):
        return f"the whole row, {len(changes)} columns"
    return ", ".join(
        f"{column}: {_value_text(before)} → {_value_text(after)}"
        for column, (before, after) in changes.items()
    )


def _intent(step: Step) -> str:
    if step.verb == "delete":
        return "delete what was inserted"
    if step.verb == "insert":
        return "insert what was deleted"
    return ", ".join(_column_text(column) for column in step.restored)


def _column_text(column: ColumnStep) -> str:
    return f"{column.column}: {_value_text(column.live)} → {_value_text(column.goal)}"


def _conflict(step: Step) -> str:
    parts = [
        f"{column.column}: {column.why}"
        + (f" by {column.by.actor or 'nobody known'}" if column.by else "")
        for column in step.columns
        if column.decision == "conflict"
    ]
    if step.why:
        parts.insert(0, step.why + (f" by {step.by.actor}" if step.by else ""))
    return "; ".join(parts)


def _value_text(value: Value) -> str:
    if isinstance(value, TypedValue) and value.v is None:
        return "-" if value == ABSENT else f"({value.t})"
    text = str(to_native(value))
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"

"""How the answers to questions are shown: the instants searched, two sets, and their reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from indelible.cli.output import console, local, print_json, print_table
from indelible.events.model import Timestamp
from indelible.questions.answer import Answer, AnyFinding
from indelible.questions.findings import Resolution
from indelible.store.tiers import Tier

F = TypeVar("F", bound=AnyFinding)
Row = Sequence[str]
SESSIONS = ("other client", "first (UTC)", "last (UTC)", "sessions", "why")


def show_answer(
    answer: Answer[F],
    columns: Sequence[str],
    row: Callable[[F], Row],
    *,
    as_json: bool,
    unknown: str,
) -> None:
    """Print the certain findings, then the possible ones, then what was searched.

    `unknown` says what an empty answer about somebody never heard of means.
    """
    if as_json:
        print_json(_objects(answer))
        return
    out = console()
    count = print_table(
        out, columns, map(row, answer.certain()), empty=_empty(answer, "nothing", unknown)
    )
    why = _Whys()
    possible = print_table_of_possible(out, answer, columns, row, why)
    others = _print_sessions(out, answer, why)
    searched = answer.searched
    out.print(
        f"searched: {local(searched.since) if searched.since else 'the beginning'} up to "
        f"{local(searched.until) if searched.until else 'the end'} (UTC), "
        f"{answer.size} entries · certain: {count} · possible: {possible}"
        + (f" · other clients: {others}" if others else ""),
        style="dim",
    )
    tiers = answer.tiers()
    if len(tiers) > 1:
        out.print(f"tiers: {' · '.join(map(tier_text, tiers))}", style="dim")
    if (taken := answer.retained()) is not None:
        out.print(f"retention: {taken}", style="bold")
    for reach in answer.sources():
        if reach.missing or reach.lost:
            until = local(reach.complete_until) if reach.complete_until else "never"
            out.print(
                f"source {reach.producer_id} is complete up to {until}: "
                f"{len(reach.missing)} ranges missing, {len(reach.lost)} lost",
                style="bold",
            )


def time_text(time: Timestamp, resolution: Resolution) -> str:
    """A time as far as it is known."""
    return local(time) if resolution == "exact" else f"{time[:10]} (day)"


def tier_text(tier: Tier) -> str:
    """A tier and the times of what it holds."""
    if tier.name == "hot":
        return f"hot from {local(tier.since)}" if tier.since else "hot"
    return f"sealed {local(tier.since)} to {local(tier.until)} ({tier.place})"


class _Whys:
    """Why findings are only possible, each reason once, by a letter."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}
        self._printed = 0

    def letter(self, why: str | None) -> str:
        return self.letters.setdefault(why or "not seen exactly", str(len(self.letters) + 1))

    def print(self, out: Console) -> None:
        """What the letters stand for that weren't explained yet."""
        for why, letter in list(self.letters.items())[self._printed :]:
            out.print(f"  {letter}: {why}", style="dim")
        self._printed = len(self.letters)


def print_table_of_possible(
    out: Console,
    answer: Answer[F],
    columns: Sequence[str],
    row: Callable[[F], Row],
    whys: _Whys,
) -> int:
    """The findings that can't be ruled out, and why."""
    findings = answer.possible()
    first = next(findings, None)
    if first is None:
        return 0
    out.print("possible, not certain:", style="bold")

    def rows() -> Iterator[Row]:
        yield [*row(first), whys.letter(_why(first))]
        for finding in findings:
            yield [*row(finding), whys.letter(_why(finding))]

    count = print_table(out, [*columns, "why"], rows(), empty="")
    whys.print(out)
    return count


def _print_sessions(out: Console, answer: Answer[Any], whys: _Whys) -> int:
    """Who else was connected, and may have read it."""
    rows = [
        [
            finding.client_text,
            local(finding.first),
            local(finding.last) + (" (open)" if finding.is_open else ""),
            "" if finding.sessions is None else str(finding.sessions),
            whys.letter(finding.why),
        ]
        for finding in answer.sessions()
    ]
    if rows:
        out.print("connected meanwhile, reads not seen by row (possible):", style="bold")
        print_table(out, SESSIONS, rows, empty="")
        whys.print(out)
    return len(rows)


def _why(finding: object) -> str | None:
    why = getattr(finding, "why", None)
    return why if isinstance(why, str) else None


def _empty(answer: Answer[Any], nothing: str, unknown: str) -> str:
    return nothing if answer.known else unknown


def _objects(answer: Answer[Any]) -> Iterable[object]:
    yield from answer
    for session in answer.sessions():
        yield {"session": session}
    yield {
        "searched": {"since": answer.searched.since, "until": answer.searched.until},
        "size": answer.size,
        "tiers": [msgspec.to_builtins(tier) for tier in answer.tiers()],
        "retained": answer.retained(),
        "sources": [msgspec.to_builtins(reach) for reach in answer.sources()],
    }

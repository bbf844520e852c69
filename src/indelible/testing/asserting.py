"""`assert_recorded`: an event like this is there, or the nearest ones are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from indelible.events.model import Actor, Event, Kind, Outcome, Subject, Target, TargetRows
from indelible.events.values import Id, format_id
from indelible.testing.capturing import read_from
from indelible.trail import Trail

UNATTRIBUTED: Final = "unattributed"
_MAX_NEAREST: Final = 5
_MAX_TARGETS: Final = 4


def assert_recorded(
    trail_or_events: Trail | Iterable[Event],
    *,
    action: str | None = None,
    by: Actor | str | None = None,
    target: Target | str | None = None,
    subject: Subject | str | None = None,
    outcome: Outcome | str | None = None,
    kind: Kind | None = None,
    times: int | None = None,
) -> list[Event]:
    """Return the events that are all of this; with none, raise `AssertionError`.

    What isn't named doesn't matter. `action` may be all of a noun's (`invoice.*`); `by` may be
    `"unattributed"`; actors, targets and subjects may be text as on the command line
    (`staff:alice`, `invoice:93`, `playlist_track:[1,3]`). An event counts for a `target` only where
    it was seen exactly. With `times` there have to be exactly so many; 0 says that none is there.

    Of a `Trail` everything is looked at, once it is all there. The message names the nearest
    events: who, what, whose and how it ended, but no value that was captured.
    """
    __tracebackhide__ = True
    wanted = _wishes(action, by, target, subject, outcome, kind)
    events = _events_of(trail_or_events)
    found = [event for event in events if all(wish.is_met(event) for wish in wanted)]
    if bool(found) if times is None else len(found) == times:
        return found
    raise AssertionError(_message(wanted, events, found, times))


class _Wish(NamedTuple):
    """One thing that an event should be."""

    name: str
    text: str
    is_met: Callable[[Event], bool]


def _wishes(
    action: str | None,
    by: Actor | str | None,
    target: Target | str | None,
    subject: Subject | str | None,
    outcome: Outcome | str | None,
    kind: Kind | None,
) -> list[_Wish]:
    wishes = []
    if action is not None:
        wishes.append(_Wish("action", action, lambda event: _is_action(event.action, action)))
    if by is not None:
        who = str(by)
        behalf = by.on_behalf_of if isinstance(by, Actor) else None
        if behalf is not None:
            who = f"{who} on behalf of {behalf}"
        wishes.append(_Wish("by", who, lambda event: _is_by(event.actor, str(by), behalf)))
    if target is not None:
        thing = _target_text(target)
        wishes.append(_Wish("target", thing, lambda event: thing in _exact_targets(event)))
    if subject is not None:
        whose = str(subject)
        wishes.append(
            _Wish("subject", whose, lambda event: whose in {str(each) for each in event.subjects})
        )
    if outcome is not None:
        ended = Outcome(outcome)
        wishes.append(_Wish("outcome", ended.value, lambda event: event.outcome is ended))
    if kind is not None:
        wishes.append(_Wish("kind", kind, lambda event: event.kind == kind))
    return wishes


def _is_action(action: str, wanted: str) -> bool:
    if wanted.endswith(".*"):
        return action.startswith(wanted.removesuffix("*"))
    return action == wanted


def _is_by(actor: Actor | None, wanted: str, behalf: Actor | None) -> bool:
    if actor is None:
        return wanted == UNATTRIBUTED
    return str(actor) == wanted and (behalf is None or actor.on_behalf_of == behalf)


def _target_text(target: Target | str) -> str:
    return target if isinstance(target, str) else f"{target.kind}:{format_id(target.row_id)}"


def _exact_targets(event: Event) -> set[str]:
    return {
        f"{rows.kind}:{format_id(row_id)}"
        for rows in event.targets
        if rows.coverage == "exact"
        for row_id in (*rows.ids, *rows.ids_before)
    }


def _events_of(trail_or_events: Trail | Iterable[Event]) -> list[Event]:
    if isinstance(trail_or_events, Trail):
        trail_or_events.flush()
        return list(read_from(trail_or_events, 0))
    return list(trail_or_events)


def _message(
    wanted: list[_Wish], events: list[Event], found: list[Event], times: int | None
) -> str:
    number = "an event" if times is None else f"{times} events"
    wish = ", ".join(f"{each.name} {each.text}" for each in wanted) or "anything at all"
    if found:
        lines = [f"expected {number} with {wish}; {len(found)} are:"]
        return "\n".join(lines + [f"  {_line(event)}" for event in found[: 2 * _MAX_NEAREST]])
    if not events:
        return f"expected {number} with {wish}; nothing was recorded at all"

    def misses(event: Event) -> list[str]:
        return [each.name for each in wanted if not each.is_met(event)]

    lines = [f"expected {number} with {wish}; none of the {len(events)} recorded is. The nearest:"]
    for event in sorted(events, key=lambda event: len(misses(event)))[:_MAX_NEAREST]:
        lines.append(f"  {_line(event)}  ({' and '.join(misses(event))} differs)")
    return "\n".join(lines)


def _line(event: Event) -> str:
    """The event in a line, without any value but the keys that tests name."""
    parts = [
        event.action,
        str(event.actor or UNATTRIBUTED),
        ", ".join(_describe(rows) for rows in event.targets) or "no target",
        ", ".join(map(str, event.subjects[:_MAX_TARGETS])) or "no subject",
        event.outcome.value,
    ]
    return " · ".join(parts)


def _describe(rows: TargetRows) -> str:
    text = ", ".join(f"{rows.kind}:{_short(row_id)}" for row_id in rows.ids[:_MAX_TARGETS])
    if len(rows.ids) > _MAX_TARGETS:
        text += f" and {len(rows.ids) - _MAX_TARGETS} more"
    text = text or f"{rows.kind}:(none)"
    return text if rows.coverage == "exact" else f"{text} [{rows.coverage}: {rows.why}]"


def _short(row_id: Id) -> str:
    text = format_id(row_id)
    return text if len(text) <= 40 else f"{text[:39]}…"

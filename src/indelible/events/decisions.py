"""Authorisation decisions: an event each, and what later events say of the one in force.

An event refers to one decision, the latest (`{"id", "effect", "rule"}`); a decision's own event
refers to the one before it. So the decisions in force are a chain in the trail, of which an event
carries a constant size however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from indelible.errors import EventError
from indelible.events.context import Holding
from indelible.events.explicit import explicit_event
from indelible.events.model import Actor, Event, Outcome, Subject, Target, TargetRows, check_name
from indelible.events.values import Native, Value

Effect = Literal["allow", "deny", "error"]
"""`error`: what was to decide failed, so nothing was allowed."""
DecisionTarget = Target | str
"""A thing, or by a kind's name anything of that kind."""

EFFECTS: Final[Mapping[Outcome, Effect]] = {
    Outcome.SUCCESS: "allow",
    Outcome.DENIED: "deny",
    Outcome.FAILURE: "error",
}
MAX_RULE: Final = 120
"""Characters of a rule in a reference, which stands beside every row written; the decision's event
has it whole."""

_OUTCOMES: Final = {True: Outcome.SUCCESS, False: Outcome.DENIED, None: Outcome.FAILURE}


def decision_event(
    action: str,
    *,
    allowed: bool | None,
    target: DecisionTarget | Sequence[DecisionTarget] | None = None,
    subject: Subject | Sequence[Subject] | None = None,
    actor: Actor | None = None,
    policy: str | None = None,
    rule: str | None = None,
    reason: str | None = None,
    details: Mapping[str, Native | Value] | None = None,
) -> Event:
    """The event that says this; `actor` is who asked, else whoever is acting.

    Raises `EventError` naming the argument that can't be written down.
    """
    if allowed is not None and type(allowed) is not bool:
        raise EventError(f"expected allowed as bool, got {type(allowed).__name__}")
    if actor is not None and not isinstance(actor, Actor):
        raise EventError(f"expected actor as Actor, got {type(actor).__name__}")
    named: dict[str, Native | Value] = dict(details or {})
    for name, text in (("policy", policy), ("rule", rule)):
        if text is not None:
            if not isinstance(text, str):
                raise EventError(f"expected {name} as str, got {type(text).__name__}")
            named[name] = text
    listed = target if isinstance(target, list | tuple) else () if target is None else (target,)
    kinds = dict.fromkeys(each for each in listed if isinstance(each, str))
    for kind in kinds:
        check_name("target", kind, "any")
    event = explicit_event(
        action,
        target=[each for each in listed if not isinstance(each, str)],
        subject=subject,
        outcome=_OUTCOMES[allowed],
        kind="decision",
        reason=reason,
        details=named or None,
    )
    targets = (*event.targets, *map(TargetRows, kinds))
    return msgspec.structs.replace(event, targets=targets, actor=actor or event.actor)


class Decision:
    """A decision that was made, in force from now on: see `Trail.decide`.

    True where it allows. As a context manager it is in force until the block is left.
    """

    __slots__ = ("_holding", "allowed", "id")

    def __init__(self, id: str | None, *, allowed: bool | None, rule: str | None = None) -> None:
        """`id` is the event's; None where it couldn't be recorded."""
        self.id = id
        self.allowed = allowed
        said: dict[str, str] = {"effect": EFFECTS[_OUTCOMES[allowed]]}
        if id is not None:
            said = {"id": id, **said}
        if rule is not None:
            text = rule.encode("utf-8", "backslashreplace").decode()
            said["rule"] = text if len(text) <= MAX_RULE else f"{text[: MAX_RULE - 1]}…"
        self._holding = Holding(said)

    def __bool__(self) -> bool:
        return self.allowed is True

    def __repr__(self) -> str:
        return f"Decision({self.id!r}, allowed={self.allowed})"

    def __enter__(self) -> Decision:
        self._holding.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._holding.__exit__(*raised)

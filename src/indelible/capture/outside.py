"""What an application does outside of its database: an event for each thing it touches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from indelible.capture.best_effort import best_effort
from indelible.capture.host import Journal
from indelible.events.model import Kind, Outcome, Subject, Target
from indelible.events.values import Native, Value

_log = logging.getLogger(__name__)
_KINDS: Final[Mapping[str, Kind]] = {"read": "access", "write": "change", "delete": "change"}


class Recording(Protocol):
    """What of a `Trail` is needed."""

    def record(
        self,
        action: str,
        *,
        target: Sequence[Target],
        subject: Subject | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        kind: Kind = "event",
        details: Mapping[str, Native | Value] | None = None,
    ) -> str | None: ...

    @property
    def journal(self) -> Journal: ...


class Outside:
    """Things of one `kind`, as text names them; `subject` tells from a name whose data it is.

    An event that can't be written is logged and stops nothing; with `strict` `DeliveryError` is
    raised. A `subject` that raises is logged, and the event has none.
    """

    def __init__(
        self,
        trail: Recording,
        kind: str,
        *,
        subject: Callable[[str], Subject | None] = lambda name: None,
        strict: bool = False,
    ) -> None:
        self._trail = trail
        self._kind = kind
        self._subject = subject
        self.strict = strict

    def tell(
        self,
        verb: str,
        *names: str,
        outcome: Outcome = Outcome.SUCCESS,
        details: Mapping[str, Native | Value] | None = None,
    ) -> None:
        """That `names` were read, written or deleted, or, with another outcome, were to be.

        Any other verb is neither an access nor a change. Names of one subject share an event.
        """
        action = f"{self._kind}.{verb}"
        kind = _KINDS.get(verb, "event") if outcome is Outcome.SUCCESS else "event"
        with best_effort(action, strict=self.strict):
            for subject, theirs in self._by_subject(names).items():
                self._trail.record(
                    action,
                    target=[Target(self._kind, name) for name in theirs],
                    subject=subject,
                    outcome=outcome,
                    kind=kind,
                    details=details,
                )

    def sync(self) -> None:
        """What was told before is on disk. Raises `DeliveryError`."""
        self._trail.journal.sync()

    def _by_subject(self, names: Sequence[str]) -> Mapping[Subject | None, list[str]]:
        if not names:
            return {None: []}
        found: dict[Subject | None, list[str]] = {}
        for name in names:
            try:
                subject = self._subject(name)
            except Exception as problem:  # noqa: BLE001 - a rule of the owner must not break the call
                _log.error(
                    "whose a %s is could not be told: %s", self._kind, type(problem).__name__
                )
                subject = None
            found.setdefault(subject, []).append(name)
        return found

"""What an application writes down in its own words: events, decisions, that somebody asked."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, Unpack, cast

from indelible.actions import Declared, Unacknowledged, decorator
from indelible.capture.recording import context_of, is_async
from indelible.capture.sealing import DETAILS
from indelible.errors import (
    CaptureError,
    ConfigurationError,
    DeliveryError,
    UnacknowledgedError,
)
from indelible.events.codec import encode_draft
from indelible.events.context import current_frame
from indelible.events.decisions import Decision, DecisionTarget, decision_event
from indelible.events.explicit import ExplicitArguments, explicit_event
from indelible.events.model import Actor, Event, Kind, Outcome, Subject, Target
from indelible.events.values import Native, Value
from indelible.integrity.acks import Ack, ack_of
from indelible.integrity.keys import load_signing_key
from indelible.integrity.leader import Leader
from indelible.integrity.numbering import ASKED, OPENED
from indelible.integrity.passphrases import unlock_of
from indelible.policy import Policy
from indelible.questions.asking import Questions
from indelible.questions.proofs import Disclosure
from indelible.tlog import TrustPolicy
from indelible.transport.journal import Journal
from indelible.transport.producer_signing import ProducerSigner

F = TypeVar("F", bound=Callable[..., Any])
_FIRST_ACK_POLL_S: Final = 0.001
_ACK_POLL_MAX_S: Final = 0.02
_MAX_QUESTION: Final = 2_000
_DISCLOSED_S: Final = 30.0
_log = logging.getLogger(__name__)


class Explicit(Questions):
    """The part of a `Trail` that is written to by name."""

    _journal: Journal
    _leader: Leader
    _trust: TrustPolicy | None
    _policy: Policy

    def record(
        self,
        action: str,
        *,
        target: Target | Sequence[Target] | None = None,
        subject: Subject | Sequence[Subject] | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        kind: Kind = "event",
        changes: Mapping[str, tuple[Native | Value, Native | Value]] | None = None,
        reason: str | None = None,
        details: Mapping[str, Native | Value] | None = None,
        sealed: Mapping[str, Native | Value] | None = None,
        on: object = None,
    ) -> str | None:
        """Write down that this happened, by whoever is acting (`acting_as`).

        Without `on` it is in this process's journal when this returns, whatever happens to any
        transaction; returns the event's id. With `on` (a SQLAlchemy `Session` or `Connection`, or a
        captured `sqlite3` connection) it commits with that transaction or never was; returns None.
        An `AsyncSession` or `AsyncConnection` goes to `record_async`.
        `kind="access"` or `"change"` puts a fact that no driver saw (a cache, a file) into the
        matching question. `details` are kept in clear; those that are `sealed` are encrypted for
        the one `subject`, and go when it is erased. Raises `EventError`, `CaptureError` and
        `DeliveryError`, and with `sealed` `KeystoreError`: nothing is written then.
        """
        context = None if on is None else context_of(on)
        event = explicit_event(
            action,
            target=target,
            subject=subject,
            outcome=outcome,
            kind=kind,
            changes=changes,
            reason=reason,
            details=details,
            sealed=sealed,
            seal=self._seal_details,
            transaction=None if context is None else context.transaction,
        )
        draft = encode_draft(event)
        if context is not None:
            context.record(draft, current_frame())
            return None
        return self._journal.append(draft)

    def _seal_details(
        self, owner: tuple[str, str], details: Mapping[str, Value]
    ) -> dict[str, Value]:
        with self._journal.actor_sealing as sealing:
            sealing.token(owner)  # which says what to do where there is no keystore
            return {
                name: sealing.seal(owner, DETAILS, name, value) for name, value in details.items()
            }

    async def record_async(
        self, action: str, *, on: object, **event: Unpack[ExplicitArguments]
    ) -> None:
        """`record`, on SQLAlchemy's `AsyncSession` or `AsyncConnection`, or on a captured
        connection of an asynchronous driver.

        It is in the transaction when this was awaited; nothing else has to be. Waits for the
        database's lock without holding up other tasks. Whoever acts in the calling task did it.
        Without a transaction `record` needs no awaiting.
        """
        if not is_async(on):
            raise CaptureError(
                "expected an AsyncSession or AsyncConnection, got "
                f"{type(on).__module__}.{type(on).__qualname__}: `trail.record` takes all else"
            )
        run_sync = cast("Any", on).run_sync
        await run_sync(lambda inner: self.record(action, on=inner, **event))

    def action(
        self,
        action: str,
        *,
        target: Callable[..., Target | None] | None = None,
        subject: Callable[..., Subject | None] | None = None,
        kind: Kind = "event",
        ack: Ack | None = None,
        deadline_s: float = 1.0,
        unacknowledged: Unacknowledged = "refuse",
    ) -> Callable[[F], F]:
        """Decorate a function (or coroutine function): each call is an event of its outcome.

        It ends in success, in `denied` where it raises `PermissionError`, else in failure; the
        exception goes on its way, and only its type is kept. `target` and `subject` get the call's
        arguments and say what it was about. With `kind="access"` or `"change"` what succeeded is an
        access to, or a change of, state that no driver sees.

        With `ack` the action is critical: first an event `…_begun` is written, and the function is
        called when the trail has that as safe (`await_ack`). Where it hasn't after `deadline_s`
        seconds, `"refuse"` raises `UnacknowledgedError` (or another `DeliveryError`) and nothing is
        done; `"proceed"` calls the function all the same, and that is noticed as `ack.missed`.
        """
        return decorator(
            self,
            Declared(action, kind, target, subject, ack, deadline_s, unacknowledged),
        )

    def ack_of(self, event_id: str) -> Ack:
        """How far the trail has come with the event that `record` gave this id of."""
        return ack_of(self.reader, event_id, self._trust)

    def await_ack(self, event_id: str, ack: Ack, *, timeout_s: float = 1.0) -> None:
        """Return when the event that `record` gave this id of is as safe as `ack`.

        Whichever process relays brings it there. Raises `UnacknowledgedError` where it isn't within
        `timeout_s`, `ConfigurationError` for `WITNESSED` where the trust policy has no quorum and
        for `ANCHORED` without an anchor that counts, and `DeliveryError` where it can't even be
        written to disk. A disk that hangs is waited for; an anchor as long as its `every_s` says.
        """
        if ack is Ack.WITNESSED and (self._trust is None or self._trust.quorum is None):
            raise ConfigurationError(
                "expected [witness] policy to name a file with a quorum: without one nothing is "
                "ever witnessed"
            )
        if ack is Ack.ANCHORED and not any(each.is_outside for each in self._policy.anchors):
            raise ConfigurationError(
                "expected [anchors.…] of kind rfc3161, s3, or git with push: what others took "
                "can't be checked by anybody else"
            )
        is_witnessed = ack is Ack.WITNESSED
        with self._leader.awaiting_witnesses() if is_witnessed else contextlib.nullcontext():
            self._await_ack(event_id, ack, timeout_s)

    def _await_ack(self, event_id: str, ack: Ack, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self._journal.sync()
        reached = Ack.RECEIVED
        pause_s = _FIRST_ACK_POLL_S
        while ack > reached and (reached := self.ack_of(event_id)) < ack:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise UnacknowledgedError(
                    f"expected {event_id} to be {ack.name.lower()} within {timeout_s:g} s, it is "
                    f"{reached.name.lower()}: is the application or `indelible relay` running?"
                )
            if reached < Ack.CHECKPOINTED:
                with contextlib.suppress(DeliveryError):
                    if self._leader.flush(remaining_s) and self.ack_of(event_id) > reached:
                        continue
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.25, _ACK_POLL_MAX_S)

    def decide(
        self,
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
    ) -> Decision:
        """Write down that this was allowed (or denied), and put it in force.

        What is read and changed from here on refers to it: in this task or thread and those begun
        from it, until the innermost `acting_as` or request is left, or as `with trail.decide(…):`
        until the block is. An inner `acting_as` begins without. Outside of any it is in force in a
        block only.

        It covers the rows of `target`, by the same actor, whatever else is in force. A kind's name
        is any row of that kind (a row's own decision comes first), and without `target` it covers
        what no other names. Of several alike the latest counts. Where the action's verb is one of
        reading (`view`, `list`, `export` …), `create`, `change` or `delete` it covers only that (an
        allow to write also reading what is written); any other verb covers everything.

        `actor` is for whom it was decided, where that isn't whoever acts; `policy` and `rule` say
        by what; `allowed=None` that what was to decide failed. The event is in this process's
        journal when this returns, whatever happens to any transaction. Nothing is enforced here:
        an application that goes on after a deny is found by `unauthorised`.

        Raises `EventError`, and `DeliveryError`: then what follows is under a decision that the
        trail doesn't have, not under an earlier one.
        """
        event = decision_event(
            action,
            allowed=allowed,
            target=target,
            subject=subject,
            actor=actor,
            policy=policy,
            rule=rule,
            reason=reason,
            details=details,
        )
        try:
            event_id = self._journal.append(encode_draft(event))
        except DeliveryError:
            Decision(None, allowed=allowed, rule=rule)
            raise
        return Decision(event_id, allowed=allowed, rule=rule)

    def asked(self, question: str) -> None:
        """Write down that whoever acts reads the trail itself: an entry that nobody has to see.

        The command line does, for every question, export and reversal; do it for your own. It is on
        disk when this returns. Raises `DeliveryError`.
        """
        tell(self._journal, ASKED, question=question[:_MAX_QUESTION])

    def disclosed(self, question: str, recipient: str, disclosure: Disclosure) -> None:
        """Write down that whoever acts gives `recipient` what was sealed, opened: how much of it.

        It is in the trail, under a signed checkpoint, when this returns. Raises `DeliveryError`:
        then nothing may be given away.
        """
        frame = current_frame()
        event = Event(
            action=OPENED,
            kind="system",
            actor=None if frame is None else frame.actor,
            reason=None if frame is None else frame.reason,
            details={
                "question": question[:_MAX_QUESTION],
                "recipient": recipient,
                **disclosure._asdict(),
            },
        )
        event_id = self._journal.append(encode_draft(event))
        self.await_ack(event_id, Ack.CHECKPOINTED, timeout_s=_DISCLOSED_S)

    def notice(self, action: str, message: str, **details: str) -> None:
        """Write a `system` entry that stays noticed until somebody acknowledges it."""
        said: dict[str, Value] = {"message": message, **details}
        self._journal.append(encode_draft(Event(action=action, kind="system", details=said)))

    def notice_later(self, action: str, message: str, **details: str) -> None:
        """`notice`, as soon as something can be written; never raises."""
        said: dict[str, Value] = {"message": message, **details}
        try:
            self._journal.append_later(
                encode_draft(Event(action=action, kind="system", details=said))
            )
        except DeliveryError:
            _log.critical("a notice was lost", extra={"action": action})


def tell(
    journal: Journal,
    action: str,
    *,
    actor: Actor | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    ip: str | None = None,
    **details: Value,
) -> None:
    """Write down that the trail itself was read or verified, by `actor`, else by whoever acts.

    It is on disk when this returns. Raises `DeliveryError`.
    """
    frame = current_frame()
    event = Event(
        action=action,
        kind="system",
        outcome=outcome,
        actor=actor or (None if frame is None else frame.actor),
        reason=None if frame is None else frame.reason,
        context=None if ip is None else {"ip": ip},
        details=details,
    )
    journal.append(encode_draft(event))
    journal.sync()


@contextlib.contextmanager
def telling(
    policy: Policy, ask: Callable[[str], str] | None = None
) -> Iterator[Callable[..., None]]:
    """`tell`, for who doesn't open the trail: a server that shows it needs none of its other keys,
    and one that is damaged can't be opened.

    `ask` is called for the key's passphrase where the configuration names none. Raises
    `ConfigurationError` where this account has neither journals nor the enrolment key.
    """
    key = load_signing_key(policy.keys / "enrolment.key", unlock_of(policy, ask))
    journal = Journal(
        policy.journals,
        new_signer=lambda producer_id, epoch: ProducerSigner(producer_id, epoch, key),
    )
    try:
        yield functools.partial(tell, journal)
    finally:
        journal.close()

"""Retention: what is old enough is dropped, of accesses first the detail; authorised and attested.

In this order, so that no crash leaves bodies gone that nobody authorised: what is old is sealed;
the authorisation becomes an entry; which bodies go, and who accessed whose data on which day,
become entries under a signed checkpoint; the segments are written anew without those bodies; that
it is done becomes an entry. Interrupted, the same authorisation goes on where it was.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from indelible.erasure import read_acts
from indelible.errors import ErasureError, VerificationError
from indelible.events.codec import format_time, parse_time
from indelible.events.context import current_frame
from indelible.events.model import Event, Subject, Timestamp
from indelible.integrity.authorisations import AuthorisationError, Authorisers
from indelible.integrity.retention import (
    RETENTION,
    RetentionAct,
    Rules,
    applied_entry,
    authorised_entry,
    check_retention,
    format_retention,
)
from indelible.integrity.retention_ledger import RetentionLedger
from indelible.integrity.retention_plan import Plan, Progress, is_over
from indelible.policy.model import RetentionSettings
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.keystore import Keystore
from indelible.store.lake import drop_from_lake
from indelible.store.protocol import TrailReader
from indelible.store.segment import Segment
from indelible.store.sqlite_dropping import Dropper
from indelible.store.sqlite_reader import SqliteReader
from indelible.store.sqlite_sealing import only_one
from indelible.store.terms import DAILY, action_term
from indelible.tlog import MalformedNoteError

_NONCE_BYTES: Final = 16


class Retention:
    """What of a trail is kept for how long, and what is done about it. One process acts at once."""

    def __init__(
        self,
        reader: SqliteReader,
        settings: RetentionSettings,
        authorisers: Authorisers,
        keystore: Keystore | None,
        *,
        subject_kinds: Collection[str],
        lake: Path | None,
        say: Callable[[Event], None],
        repeat: Callable[[Event], None],
        carry: Callable[[], None],
        seal: Callable[[Timestamp], Iterator[Segment]],
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        """`say` writes an entry, `repeat` one that is made of entries, as it is; `carry` returns
        when all that was said is under a checkpoint, and `seal` seals what came before a time,
        whole segments or not."""
        self._reader = reader
        self._settings = settings
        self._authorisers = authorisers
        self._keystore = keystore
        self._subject_kinds = frozenset(subject_kinds)
        self._lake = lake
        self._say = say
        self._repeat = repeat
        self._carry = carry
        self._seal = seal
        self._clock = clock

    # -- asking ---------------------------------------------------------------------------------

    def rules(self) -> Rules:
        """What is due today: each limit is the first instant of a day (UTC)."""
        today = dt.datetime.fromtimestamp(self._clock() / 1_000_000, dt.UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        limits = {}
        for name in Rules.__struct_fields__:
            length = getattr(self._settings, name)
            if length is not None:
                limits[name] = format_time(int(length.before(today).timestamp()) * 1_000_000)
        return Rules(**limits)

    def seal_due(self) -> Iterator[Segment]:
        """Seal what is due: bodies are dropped from segments alone. Gives each that was made."""
        rules = self.rules()
        limits = [limit for limit in msgspec.structs.astuple(rules) if limit is not None]
        if limits:
            yield from self._seal(max([*limits, *self._said_of_old_days(rules)]))

    def _said_of_old_days(self, rules: Rules) -> Iterator[Timestamp]:
        """Right behind each statement that is due: it is younger than what it is about."""
        terms = [action_term(DAILY)]
        for seen in read_events(self._reader, terms, Window(), size=self._reader.size):
            if seen.event.action == DAILY and is_over(seen.event, rules):
                yield format_time(parse_time(seen.received) + 1)

    def plan(self, progress: Progress = lambda done, of: None) -> Plan:
        """What is due of what is sealed; to be closed. Raises `ErasureError` where it can't be told
        who is held."""
        through = max((segment.last for segment in self._reader.segments()), default=-1)
        return self._plan(self.rules(), through, progress)

    def request(self, plan: Plan, *, reason: str) -> str:
        """The text that verifiers and authorisers sign, to be given back to `apply`.

        It stays in the trail: so must the reason name nobody. Raises `ErasureError`.
        """
        if not plan.dropped:
            raise ErasureError("nothing is due: there is nothing to authorise")
        act = plan.act(
            nonce=secrets.token_hex(_NONCE_BYTES), time=format_time(self._clock()), reason=reason
        )
        try:
            return format_retention(act)
        except MalformedNoteError as error:
            raise ErasureError(f"expected a reason of one line: {error}") from None

    def attest(self, act: RetentionAct, progress: Progress = lambda done, of: None) -> None:
        """Return only if the same is due by these rules, and the same is said, byte by byte.

        For a verifier, who trusts its own copy of the trail, and has verified that. Raises
        `ErasureError`.
        """
        with self._plan(act.rules, act.through, progress) as plan:
            self._check_same(plan, act)

    # -- acting -----------------------------------------------------------------------------------

    def apply(self, note: bytes, progress: Progress = lambda done, of: None) -> int:
        """Drop what `note` authorises; how many bodies that are.

        When this returns they are in no segment and not in the lake, and the trail says so. Raises
        `ErasureError` (nothing was dropped), `DeliveryError` and `SegmentUnreachableError` (run it
        again), `SegmentDamagedError`.
        """
        with only_one(self._reader.path, "retaining"):
            act = self._authorised(note)
            self._carry()
            found = self._ledger().acts.get(act.nonce)
            if found is not None and found.act != act:
                # Whoever asks chooses the nonce, too.
                raise ErasureError(
                    f"expected an authorisation of its own, came one that entry {found.index} has "
                    "used; nothing was dropped"
                )
            if found is None or not found.is_whole:
                with self._plan(act.rules, act.through, progress) as plan:
                    self._check_same(plan, act)
                    if found is None:
                        self._say(_by_whoever_acts(authorised_entry(act, note)))
                    said = 0 if found is None else found.heard
                    for n, event in enumerate(plan.statements(act.nonce)):
                        if n >= said:
                            self._repeat(event)
                self._carry()
                found = self._ledger().acts.get(act.nonce)
            elif found.applied is None:
                self._check_holds_since(found.index)
            if found is None or not found.is_whole:
                raise ErasureError(
                    "expected what goes to be said in the trail, it isn't as it was signed: "
                    "nothing was dropped; `indelible verify` says more"
                )
            dropper = Dropper(self._reader.path, clock=lambda: format_time(self._clock()))
            for _ in dropper.drop(found.bits):
                pass
            if self._lake is not None:
                drop_from_lake(self._lake, found.bits)
            dropper.clear()
            if found.applied is None:
                self._say(_by_whoever_acts(applied_entry(act.nonce)))
                self._carry()
            return act.dropped

    # -- checking ---------------------------------------------------------------------------------

    def _authorised(self, note: bytes) -> RetentionAct:
        if not self._authorisers.threshold:
            raise ErasureError(
                'expected [retention] authorisers = {k = 2, keys = ["name+hash+key", …]}: who may '
                "have something dropped isn't said"
            )
        try:
            act, attested = check_retention(note, self._authorisers, origin=self._reader.origin)
        except (AuthorisationError, MalformedNoteError) as error:
            raise ErasureError(f"{error}; nothing was dropped") from None
        if self._authorisers.verifiers and not attested:
            raise ErasureError(
                f"expected one of {len(self._authorisers.verifiers)} verifiers to attest it "
                "(`indelible attest`), none did; nothing was dropped"
            )
        return act

    def _check_same(self, plan: Plan, act: RetentionAct) -> None:
        if plan.act(nonce=act.nonce, time=act.time, reason=act.reason) != act:
            raise ErasureError(
                f"expected {act.dropped} bodies to go and {act.held} to be held, as was asked for; "
                f"found {plan.dropped} and {plan.held}, or others: nothing was dropped. Has "
                "somebody been held meanwhile, or something been dropped? Ask for it anew"
            )

    def _check_holds_since(self, index: int) -> None:
        """Of one that was interrupted: who was held after it was said would be forgotten."""
        added = [at for _, at in read_acts(self._reader, self._authorisers).holds.values()]
        if since := [at for at in added if at > index]:
            raise ErasureError(
                f"entry {min(since)} holds somebody since this was begun: nothing more is dropped "
                "until that is released"
            )

    def _plan(self, rules: Rules, through: int, progress: Progress) -> Plan:
        return Plan(
            self._reader,
            rules,
            through,
            held=self._held(),
            finished=self._finished(),
            subject_kinds=self._subject_kinds,
            progress=progress,
        )

    def _held(self) -> Sequence[Subject]:
        """Whoever is held: by name, and by the token that may stand in its place."""
        tokens = {token for token, _ in read_acts(self._reader, self._authorisers).holds.values()}
        found = []
        for token in sorted(tokens):
            subject = None if self._keystore is None else self._keystore.subject_of(token)
            if subject is None:
                raise ErasureError(
                    f"expected the keystore, which knows who {token} is, that is held: nothing can "
                    "be dropped without it"
                )
            found += [subject, Subject(subject.kind, token)]
        return found

    def _finished(self) -> frozenset[str]:
        acts = self._ledger().acts
        return frozenset(nonce for nonce, each in acts.items() if each.applied is not None)

    def _ledger(self) -> RetentionLedger:
        return read_retention_acts(self._reader, self._authorisers)


def read_retention_acts(reader: TrailReader, authorisers: Authorisers | None) -> RetentionLedger:
    """All that was authorised; of what wasn't, which `verify` names, none counts."""
    ledger = RetentionLedger(authorisers, origin=reader.origin)
    terms = [action_term(action) for action in sorted(RETENTION)]
    # As it was written: what was signed is about those bytes.
    found = read_events(
        reader, terms, Window(), size=reader.size, kinds={"system"}, is_opened=False
    )
    for seen in found:
        try:
            ledger.add(seen.indexes[0], seen.event)
        except VerificationError:
            continue
    return ledger


def _by_whoever_acts(event: Event) -> Event:
    frame = current_frame()
    return event if frame is None else msgspec.structs.replace(event, actor=frame.actor)

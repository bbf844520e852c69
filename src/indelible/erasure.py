"""Erasing what was sealed for a subject, and holding it: each by an authorisation, each an entry.

In this order, so that no crash leaves an act that nobody authorised: what is captured is carried;
the authorisation becomes an entry; the key is destroyed; that it was becomes an entry. Interrupted,
the same authorisation goes on, and what was destroyed is said by the next act.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from indelible.errors import ErasureError, KeystoreError
from indelible.events.codec import decode_event, format_time
from indelible.events.context import current_frame
from indelible.events.model import Event, Subject
from indelible.events.values import Value
from indelible.integrity.acts import (
    ACTS,
    AUTHORISED,
    ERASED,
    HOLD_ADDED,
    HOLD_RELEASED,
    ActLedger,
)
from indelible.integrity.authorisations import (
    NOTHING,
    Act,
    ActKind,
    AuthorisationError,
    Authorisers,
    check_authorised,
    format_act,
    pack_note,
    parse_authorisers,
    read_act,
    unpack_note,
)
from indelible.integrity.faults import UnauthorisedActError
from indelible.policy import Policy
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.keystore import Keystore
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term
from indelible.tlog import MalformedNoteError, VerifierKey

_NONCE_BYTES: Final = 16


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold in force: it was added by the entry at `index`, with the `reason` that was signed. Its
    subject's name comes from the keystore."""

    subject: Subject | None
    token: str
    nonce: str
    index: int
    reason: str


class Erasures:
    """Acts on the values that were sealed for one subject. One process acts at a time."""

    def __init__(
        self,
        reader: TrailReader,
        keystore: Keystore | None,
        authorisers: Authorisers,
        *,
        say: Callable[[Event], None],
        carry: Callable[[], None],
        clear: Callable[[], None],
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        """`say` writes an entry, `carry` returns when all that was captured is in the trail, and
        `clear` when nothing that was carried is left where it came from."""
        self._reader = reader
        self._found_keystore = keystore
        self._authorisers = authorisers
        self._say = say
        self._carry = carry
        self._clear = clear
        self._clock = clock

    # -- asking ---------------------------------------------------------------------------------

    def request(
        self, act: ActKind, subject: Subject, *, reason: str, hold: int | None = None
    ) -> str:
        """The text that authorisers sign (`indelible authorise`), to be given back with an act.

        It names the subject by its token, and stays in the trail: so must the reason name nobody.
        `hold` is the entry of the hold to be released, where there are several. Raises
        `ErasureError` and `KeystoreError`.
        """
        token = self._enrolled(subject) if act == "hold.add" else self._token_of(subject)
        about = NOTHING
        if act == "hold.release":
            about = self._hold_of(token, subject, hold).nonce
        try:
            return format_act(
                Act(
                    origin=self._reader.origin,
                    act=act,
                    token=token,
                    about=about,
                    nonce=secrets.token_hex(_NONCE_BYTES),
                    time=format_time(self._clock()),
                    reason=reason,
                )
            )
        except MalformedNoteError as error:
            raise ErasureError(f"expected a reason of one line: {error}") from None

    def holds(self) -> tuple[Hold, ...]:
        """Those in force, in order."""
        found = self._ledger().holds.items()
        return tuple(
            Hold(
                subject=self._keystore.subject_of(token),
                token=token,
                nonce=nonce,
                index=index,
                reason=self._act_at(index).reason,
            )
            for nonce, (token, index) in sorted(found, key=lambda each: each[1][1])
        )

    # -- acting -----------------------------------------------------------------------------------

    def erase(self, subject: Subject, note: bytes) -> int:
        """Destroy the key of `subject`, as `note` authorises; how many others there are.

        When this returns nothing that was sealed for it opens any more, here or from a backup that
        has no older master key (`Keystore.erase`), and the trail says so. Raises `ErasureError`
        (nothing was done), `KeystoreError` and `DeliveryError` (run it again).
        """
        with self._keystore.alone("acts"):
            self._finish()
            act = self._authorised(note, "subject.erase")
            self._carry()
            erased = {(each.token, each.nonce) for each in self._keystore.erased()}
            if (act.token, act.nonce) in erased:
                self._clear()
                return self._keystore.count()
            self._check_subject(act, subject)
            # Before anything is said, so that it isn't said in vain.
            self._keystore.private_key(act.token)
            ledger = self._ledger()
            if held := [at for token, at in ledger.holds.values() if token == act.token]:
                raise ErasureError(
                    f"{subject} is held by entry {', '.join(map(str, held))}: nothing was erased; "
                    "`indelible hold release` comes first, where it may"
                )
            if act.nonce not in ledger.authorised:
                self._check_unused(ledger, act)
                self._write(AUTHORISED, act, note)
            left = self._keystore.erase(act.token, nonce=act.nonce, time=format_time(self._clock()))
            self._say_erased(act.token, act.nonce)
            self._clear()
            return left

    def add_hold(self, subject: Subject, note: bytes) -> None:
        """Hold what was sealed for `subject` against erasure, as `note` authorises.

        The same again does nothing, as long as it is held. Raises `ErasureError` and
        `DeliveryError`.
        """
        self._hold("hold.add", HOLD_ADDED, subject, note)

    def release_hold(self, subject: Subject, note: bytes) -> None:
        """End the hold that `note` names. The same again does nothing.

        Raises `ErasureError` and `DeliveryError`.
        """
        self._hold("hold.release", HOLD_RELEASED, subject, note)

    def _hold(self, kind: ActKind, action: str, subject: Subject, note: bytes) -> None:
        with self._keystore.alone("acts"):
            self._finish()
            act = self._authorised(note, kind)
            self._carry()
            self._check_subject(act, subject)
            ledger = self._ledger()
            if self._is_done(ledger, act):
                return  # Whoever did it was killed before hearing of it.
            self._check_unused(ledger, act)
            if kind == "hold.release" and act.about not in ledger.holds:
                raise ErasureError(
                    f"expected a hold of {subject} to release, it is in force no more"
                )
            self._write(action, act, note)

    def _finish(self) -> None:
        """Say what was destroyed by whom a crash kept from saying so."""
        self._keystore.resume()
        erased = self._keystore.erased()
        if not erased:
            return
        self._carry()
        said = self._ledger().erased
        for each in erased:
            if each.token not in said:
                self._say_erased(each.token, each.nonce)

    def _say_erased(self, token: str, nonce: str) -> None:
        left = self._keystore.count()
        details: dict[str, Value] = {"token": token, "nonce": nonce, "left": left}
        self._say(_entry(ERASED, details))
        self._carry()

    def _write(self, action: str, act: Act, note: bytes) -> None:
        details: dict[str, Value] = {"token": act.token, "nonce": act.nonce}
        if act.about != NOTHING:
            details["about"] = act.about
        self._say(_entry(action, {**details, "note": pack_note(note)}))
        self._carry()

    # -- checking ---------------------------------------------------------------------------------

    def _authorised(self, note: bytes, kind: ActKind) -> Act:
        if not self._authorisers.threshold:
            raise ErasureError(
                'expected [retention] authorisers = {k = 2, keys = ["name+hash+key", …]}: who may '
                "have something erased or held isn't said"
            )
        try:
            act = check_authorised(note, self._authorisers, origin=self._reader.origin)
        except (AuthorisationError, MalformedNoteError) as error:
            raise ErasureError(f"{error}; nothing was done") from None
        if act.act != kind:
            raise ErasureError(f"expected an authorisation of {kind}, came one of {act.act}")
        return act

    def _check_subject(self, act: Act, subject: Subject) -> None:
        if self._token_of(subject) != act.token:
            raise ErasureError(
                f"expected an authorisation for {subject}, came one for another subject; nothing "
                "was done"
            )

    def _check_unused(self, ledger: ActLedger, act: Act) -> None:
        if (before := ledger.used.get(act.nonce)) is not None:
            raise ErasureError(
                f"expected an authorisation of its own, came one that entry {before} has used; ask "
                "for another"
            )

    def _is_done(self, ledger: ActLedger, act: Act) -> bool:
        """Whether an entry states this very act, and, of a hold, that is still in force.

        Not by its nonce alone: whoever asks chooses that, too.
        """
        index = ledger.used.get(act.nonce)
        if index is None or self._act_at(index) != act:
            return False
        return act.act == "hold.release" or act.nonce in ledger.holds

    def _hold_of(self, token: str, subject: Subject, index: int | None) -> Hold:
        found = [hold for hold in self.holds() if hold.token == token]
        named = [hold for hold in found if index is None or hold.index == index]
        if len(named) != 1:
            known = ", ".join(str(hold.index) for hold in found) or "none"
            raise ErasureError(
                f"expected one hold of {subject} to release, by its entry; in force: {known}"
            )
        return named[0]

    def _act_at(self, index: int) -> Act:
        details = decode_event(self._reader.entry(index).body).details or {}
        return read_act(unpack_note(details.get("note")))

    def _token_of(self, subject: Subject) -> str:
        token = self._keystore.token_of(subject)
        if token is None:
            raise ErasureError(
                f"nothing is sealed for {subject}: there is nothing to erase or to hold"
            )
        return token

    def _enrolled(self, subject: Subject) -> str:
        """The token of somebody for whom nothing may be sealed yet: retention is held, too."""
        if subject.id is None:
            raise ErasureError(f"expected one subject to hold, got {subject}")
        with self._keystore.errors(), contextlib.closing(self._keystore.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            token = self._keystore.enrol(connection, (subject.kind, subject.id)).token
            connection.execute("COMMIT")
        return token

    def _ledger(self) -> ActLedger:
        return read_acts(self._reader, self._authorisers)

    @property
    def _keystore(self) -> Keystore:
        if self._found_keystore is None:
            raise KeystoreError(
                "expected a keystore: no table has columns to `seal` or `personal` ones, so there "
                "is nothing to erase"
            )
        return self._found_keystore


def _entry(action: str, details: dict[str, Value]) -> Event:
    frame = current_frame()
    actor = None if frame is None else frame.actor
    return Event(action=action, kind="system", actor=actor, details=details)


def read_acts(reader: TrailReader, authorisers: Authorisers) -> ActLedger:
    """All acts that were authorised; of others, which `verify` names, none counts."""
    ledger = ActLedger(authorisers, origin=reader.origin)
    terms = [action_term(action) for action in sorted(ACTS)]
    for seen in read_events(reader, terms, Window(), size=reader.size, kinds={"system"}):
        with contextlib.suppress(UnauthorisedActError):
            ledger.add(seen.indexes[0], seen.event)
    return ledger


def authorisers_of(policy: Policy, *own: VerifierKey) -> Authorisers:
    """Who may have something erased; `own` are the trail's keys. Raises `ConfigurationError`."""
    kept = policy.kept()
    return parse_authorisers(kept.threshold, kept.authorisers, own, policy.source, kept.verifiers)


def make_keystore(policy: Policy) -> None:
    """An empty keystore and its master key where there is none yet. Raises `KeystoreError`."""
    kept = policy.kept()
    if not kept.keystore.exists():
        Keystore.create(kept.keystore, kept.master_key)


def open_keystore(policy: Policy, *, must_be: bool = False) -> Keystore | None:
    """None where there is none, unless it `must_be` there. Raises `KeystoreError`."""
    kept = policy.kept()
    if not must_be and not kept.keystore.exists():
        return None
    return Keystore(kept.keystore, kept.master_key)

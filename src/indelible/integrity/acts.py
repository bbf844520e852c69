"""Acts and their authorisations, as the entries of a trail have them, held against each other.

::

    subject.erasure_authorised {token, nonce, note}    before the key is destroyed
    subject.erased             {token, nonce, left}    after it
    hold.added                 {token, nonce, note}
    hold.released              {token, nonce, about, note}

Both ways: no act without an authorisation of its own, and no authorisation for two acts. With the
keystore at hand also: no key is gone without an authorisation, and none is left after an erasure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NoReturn

import msgspec

from indelible.errors import VerificationError
from indelible.events.model import Event
from indelible.integrity.authorisations import (
    Act,
    Authorisers,
    check_authorised,
    read_act,
    unpack_note,
)
from indelible.integrity.faults import UnauthorisedActError

AUTHORISED: Final = "subject.erasure_authorised"
ERASED: Final = "subject.erased"
HOLD_ADDED: Final = "hold.added"
HOLD_RELEASED: Final = "hold.released"
ACTS: Final = frozenset({AUTHORISED, ERASED, HOLD_ADDED, HOLD_RELEASED})
_ACT_OF: Final = {
    AUTHORISED: "subject.erase",
    HOLD_ADDED: "hold.add",
    HOLD_RELEASED: "hold.release",
}


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """What a trail says was done to its contents.

    `pending` are erasures that were authorised and aren't done, or not said to be: one that was
    interrupted goes on with the next `indelible erase`. `unchecked` are acts of which nobody said
    who may authorise them.
    """

    erased: int = 0
    pending: int = 0
    holds: int = 0
    unchecked: int = 0
    keys_compared: bool = False


class ActLedger:
    """Takes the acts of a trail in order: who was erased, and what is held.

    Without `authorisers` signatures aren't looked at, and acts are counted as unchecked.
    """

    def __init__(self, authorisers: Authorisers | None, *, origin: str) -> None:
        self._authorisers = authorisers
        self._origin = origin
        self._unchecked = 0
        self.used: dict[str, int] = {}
        """By nonce: which entry."""
        self.authorised: dict[str, tuple[str, int]] = {}
        """By nonce: whose erasure, and where that stands; of those that aren't done."""
        self.erased: dict[str, int] = {}
        """By token: where it stands."""
        self.holds: dict[str, tuple[str, int]] = {}
        """By nonce: whose data, and where that stands; of those in force."""

    def add(self, index: int, event: Event) -> None:
        """Take an entry. Raises `UnauthorisedActError`; the ledger is then as it was."""
        if event.kind != "system" or event.action not in ACTS:
            return
        details = event.details or {}
        token, nonce = details.get("token"), details.get("nonce")
        if type(token) is not str or type(nonce) is not str:
            _fail(index, event.action, "it doesn't say whose data, or by which authorisation")
        if event.action == ERASED:
            if self.authorised.get(nonce, ("", 0))[0] != token:
                _fail(index, event.action, "no authorisation of its own stands before it")
            self._check_not_held(index, event.action, token)
            del self.authorised[nonce]
            self.erased[token] = index
            return
        act = self._check(index, event, token, nonce)
        if event.action == AUTHORISED:
            self._check_not_held(index, event.action, token)
            self.authorised[nonce] = (token, index)
        elif event.action == HOLD_ADDED:
            self.holds[nonce] = (token, index)
        elif self.holds.get(act.about, ("", 0))[0] == token:
            del self.holds[act.about]
        else:
            _fail(index, event.action, "no such hold was in force")
        self.used[nonce] = index

    def finish(
        self,
        before: Collection[str] | None,
        after: Collection[str] | None,
        used: Collection[str],
    ) -> Acts:
        """What there is. `before` and `after` are the tokens that had a key in the keystore before
        the entries were read and behind them, None without one; `used` are those of the sealed
        values. Raises `UnauthorisedActError`."""
        if before is not None and after is not None:
            for token, index in self.erased.items():
                if token in after:
                    _fail(index, ERASED, "the keystore still has the key that was to be destroyed")
            allowed = {*self.erased, *(token for token, _ in self.authorised.values())}
            lost = sorted(set(used) - set(before) - set(after) - allowed)
            if lost:
                raise UnauthorisedActError(
                    0,
                    f"{len(lost)} subjects have sealed values and no key in the keystore, and no "
                    f"erasure was authorised: the first is {lost[0]}",
                )
        return Acts(
            erased=len(self.erased),
            pending=len(self.authorised),
            holds=len(self.holds),
            unchecked=self._unchecked,
            keys_compared=before is not None and after is not None,
        )

    def _check_not_held(self, index: int, action: str, token: str) -> None:
        if held := [at for whose, at in self.holds.values() if whose == token]:
            _fail(index, action, f"the hold at entry {held[0]} was in force")

    def _check(self, index: int, event: Event, token: str, nonce: str) -> Act:
        """What was authorised, which is what the entry says, and never twice."""
        try:
            note = unpack_note((event.details or {}).get("note"))
            if self._authorisers is None:
                self._unchecked += 1
                act = read_act(note)
            else:
                act = check_authorised(note, self._authorisers, origin=self._origin)
        except VerificationError as error:
            _fail(index, event.action, str(error))
        if (act.act, act.token, act.nonce) != (_ACT_OF[event.action], token, nonce):
            _fail(index, event.action, "what was authorised is another act, or another subject's")
        if nonce in self.used:
            before = self.used[nonce]
            _fail(index, event.action, f"its authorisation was used before, by entry {before}")
        return act


def _fail(index: int, action: str, why: str) -> NoReturn:
    raise UnauthorisedActError(index, f"{action}: {why}")

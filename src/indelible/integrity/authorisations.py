"""Acts on a trail's contents that k of n authorisers have to sign: the text, and the check. Pure.

What is signed is a signed note (c2sp.org/signed-note) with this text::

    indelible act v1
    <origin of the trail>
    <act>                     subject.erase, hold.add or hold.release
    <token>                   of the subject, random: the note stays when the name has to go
    <about>                   of a release: the nonce of the hold; else -
    <nonce>                   random: an authorisation is used once
    <time>                    when it was asked for (UTC)
    <reason>                  one line, which must name nobody

The first line keeps it from being anything else that the same key signs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final, Literal, cast, get_args

import msgspec

from indelible.errors import ConfigurationError, VerificationError
from indelible.tlog import (
    Algorithm,
    MalformedKeyError,
    MalformedNoteError,
    UnknownKeyError,
    VerifierKey,
    parse_note,
    verify_note,
)
from indelible.tlog.note import Note, check_note_text

ActKind = Literal["subject.erase", "hold.add", "hold.release"]
_FIRST: Final = "indelible act v1"
_LINES: Final = 8
_HEX: Final = re.compile(r"[0-9a-f]{32}")
NOTHING: Final = "-"


class AuthorisationError(VerificationError):
    """An act that isn't signed by as many authorisers as the policy asks for."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What authorisers sign; see the module for each field."""

    origin: str
    act: ActKind
    token: str
    about: str = NOTHING
    nonce: str
    time: str
    reason: str


class Authorisers(msgspec.Struct, frozen=True):
    """Of these keys, all different, `threshold` have to sign.

    `verifiers`, which are none of them, attest what retention drops: each has worked it out again
    while the bodies were there.
    """

    threshold: int
    keys: tuple[VerifierKey, ...]
    verifiers: tuple[VerifierKey, ...] = ()


def parse_authorisers(
    threshold: int,
    vkeys: Sequence[str],
    others: Sequence[VerifierKey],
    where: str,
    verifiers: Sequence[str] = (),
) -> Authorisers:
    """The authorisers and verifiers of a policy; `others` are the trail's own keys, which may not
    be among them.

    Raises `ConfigurationError`.
    """
    keys = _parse_keys(vkeys, others, f"{where} [retention] authorisers")
    attesting = _parse_keys(verifiers, (*others, *keys), f"{where} [retention] verifiers")
    return Authorisers(threshold, keys, attesting)


def _parse_keys(
    vkeys: Sequence[str], others: Sequence[VerifierKey], where: str
) -> tuple[VerifierKey, ...]:
    keys: list[VerifierKey] = []
    for vkey in vkeys:
        try:
            key = VerifierKey.parse(vkey)
        except MalformedKeyError as error:
            raise ConfigurationError(f"{where}: {error}") from None
        if key.algorithm is not Algorithm.ED25519:
            raise ConfigurationError(
                f"{where}: expected a key that `indelible key` made, got a witness's: {key}"
            )
        if key.public_key in [other.public_key for other in others]:
            raise ConfigurationError(
                f"{where}: expected no key of the trail's own, or of another part in this, got "
                f"{key}: whoever keeps the trail may not be the one who allows taking from it"
            )
        if key.public_key in [other.public_key for other in keys]:
            raise ConfigurationError(
                f"{where}: expected each key once, got {key} again, under another name"
            )
        keys.append(key)
    return tuple(keys)


def format_act(act: Act) -> str:
    """The text to be signed. Raises `MalformedNoteError` where a field doesn't fit on its line."""
    text = "\n".join(
        (_FIRST, act.origin, act.act, act.token, act.about, act.nonce, act.time, act.reason, "")
    )
    check_note_text(text)
    if text.count("\n") != _LINES:
        raise MalformedNoteError("reason: expected one line, got more")
    return text


def parse_act(text: str) -> Act:
    """What `format_act` wrote; raises `MalformedNoteError` for any other text."""
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[0] != _FIRST or lines[-1]:
        raise MalformedNoteError(f"expected {_LINES} lines, {_FIRST!r} the first of them")
    _, origin, act, token, about, nonce, time, reason, _ = lines
    if act not in get_args(ActKind) or not _HEX.fullmatch(token) or not _HEX.fullmatch(nonce):
        raise MalformedNoteError("expected an act, a token and a nonce, came something else")
    if (act == "hold.release") != bool(_HEX.fullmatch(about)) or not (
        about == NOTHING or act == "hold.release"
    ):
        raise MalformedNoteError(f"expected the nonce of a hold, or {NOTHING}, came something else")
    return Act(
        origin=origin,
        act=cast("ActKind", act),
        token=token,
        about=about,
        nonce=nonce,
        time=time,
        reason=reason,
    )


def read_act(note: bytes) -> Act:
    """What the note says, whoever signed it. Raises `MalformedNoteError`."""
    return parse_act(parse_note(note).text)


def check_authorised(note: bytes, authorisers: Authorisers, *, origin: str) -> Act:
    """The act, only if enough authorisers signed it for the trail of this origin.

    Raises `AuthorisationError`, or another `VerificationError` for bytes that are no such note and
    signatures that the key which they claim didn't make.
    """
    parsed = parse_note(note)
    act = parse_act(parsed.text)
    check_signed(parsed, authorisers, act.origin, origin=origin)
    return act


def check_signed(note: Note, authorisers: Authorisers, stated: str, *, origin: str) -> None:
    """Return only if enough authorisers signed it, and it is for the trail of this origin, which
    `stated` is. Raises as `check_authorised` does."""
    if stated != origin:
        raise AuthorisationError(
            f"expected an authorisation for the trail {origin}, came one for {stated}"
        )
    if not authorisers.threshold:
        raise AuthorisationError(
            "expected [retention] authorisers who may have it done, none named"
        )
    signed = len(signers_of(note, authorisers.keys))
    if signed < authorisers.threshold:
        raise AuthorisationError(
            f"expected {authorisers.threshold} of {len(authorisers.keys)} authorisers to have "
            f"signed, {signed} did"
        )


def signers_of(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Those of `keys` that signed it. Raises `VerificationError` where a signature claims to be of
    one of them and isn't."""
    try:
        return tuple(each.key for each in verify_note(note, keys))
    except UnknownKeyError:
        return ()


def pack_note(note: bytes) -> str:
    """A note as an entry holds it."""
    return base64.b64encode(note).decode()


def unpack_note(text: object) -> bytes:
    """What `pack_note` gave. Raises `MalformedNoteError`."""
    try:
        return base64.b64decode(cast("str", text), validate=True)
    except (TypeError, ValueError):
        raise MalformedNoteError("expected a signed note in base64") from None

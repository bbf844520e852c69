"""A trust policy: which tlogs, which witnesses, and how many of whom are enough.

The file format is c2sp.org/tlog-policy. A quorum is a witness, a group of which at least so many
members witnessed (groups may be members), or `none`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from indelible.errors import VerificationError
from indelible.tlog.hashing import MAX_SIZE
from indelible.tlog.keys import Algorithm, MalformedKeyError, VerifierKey
from indelible.tlog.strict_text import parse_decimal, shorten

MAX_POLICY_BYTES = 1 << 20

_NONE = "none"
_SPACE = re.compile(r"[ \t]+")


class MalformedTrustPolicyError(VerificationError):
    """A text that isn't a trust policy; names the line."""


class QuorumError(VerificationError):
    """Fewer witnesses cosigned than the policy asks for."""


@dataclass(frozen=True, slots=True)
class TrustedTlog:
    """A tlog that the policy accepts; the key's name is its origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A witness; `name` is what the policy calls it, and says nothing outside of it."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class WitnessGroup:
    """Has witnessed when at least `threshold` of its members (witnesses or groups) have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A policy. `groups` stand in the order in which they may refer to each other.

    `quorum` is the name of a witness or group; None: no cosignature is needed.
    """

    logs: tuple[TrustedTlog, ...]
    witnesses: tuple[TrustedWitness, ...]
    groups: tuple[WitnessGroup, ...]
    quorum: str | None

    @property
    def witness_keys(self) -> tuple[VerifierKey, ...]:
        return tuple(witness.key for witness in self.witnesses)

    def check_tlog(self, key: VerifierKey) -> None:
        """Return only if `key` may sign checkpoints: it is listed, or no tlog is.

        Raises `QuorumError`.
        """
        if self.logs and all(log.key != key for log in self.logs):
            raise QuorumError(f"expected a tlog that the trust policy lists, came {key}")

    def check_quorum(self, cosigners: Iterable[VerifierKey]) -> None:
        """Return only if `cosigners`, whose cosignatures were verified, are enough.

        Raises `QuorumError`.
        """
        keys = set(cosigners)
        have = {witness.name for witness in self.witnesses if witness.key in keys}
        cosigned = len(have)
        for group in self.groups:
            if sum(member in have for member in group.members) >= group.threshold:
                have.add(group.name)
        if self.quorum is not None and self.quorum not in have:
            raise QuorumError(
                f"expected a quorum ({self.quorum!r} of the trust policy), came cosignatures by "
                f"{cosigned} of {len(self.witnesses)} witnesses"
            )


def parse_trust_policy(raw: bytes) -> TrustPolicy:
    """The policy in `raw`; raises `MalformedTrustPolicyError` naming the first line that is wrong.

    Names are octets to the format; here those that aren't UTF-8 become lone surrogates, so that
    two different names stay different.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise MalformedTrustPolicyError(
            f"trust policy: expected at most {MAX_POLICY_BYTES} bytes, came {len(raw)}"
        )
    reader = _Reader()
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in line):
            raise MalformedTrustPolicyError(
                f"trust policy, line {number}: expected no control character"
            )
        text = line.decode("utf-8", "surrogateescape").strip(" \t")
        if text and not text.startswith("#"):
            try:
                reader.read(_SPACE.split(text))
            except (MalformedTrustPolicyError, MalformedKeyError) as error:
                raise MalformedTrustPolicyError(f"trust policy, line {number}: {error}") from None
    return reader.finish()


class _Reader:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self._logs: list[TrustedTlog] = []
        self._witnesses: list[TrustedWitness] = []
        self._groups: list[WitnessGroup] = []
        self._names: set[str] = {_NONE}
        self._members: set[str] = set()
        self._quorum: str | None = None
        self._has_quorum = False

    def read(self, items: list[str]) -> None:
        match items:
            case ["log", vkey, *url] if len(url) < 2:
                self._add_log(vkey, url[0] if url else None)
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._add_witness(name, vkey, url[0] if url else None)
            case ["group", name, threshold, first, *more]:
                self._add_group(name, threshold, (first, *more))
            case ["quorum", name]:
                self._set_quorum(name)
            case _:
                raise MalformedTrustPolicyError(
                    "expected «log <vkey> [<url>]», «witness <name> <vkey> [<url>]», «group <name> "
                    f"all|any|<k> <name>…» or «quorum <name>|none», came {shorten(items[0])} and "
                    f"{len(items) - 1} more"
                )

    def finish(self) -> TrustPolicy:
        if not self._has_quorum:
            raise MalformedTrustPolicyError("trust policy: expected one quorum line, came none")
        return TrustPolicy(
            tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum
        )

    def _add_log(self, vkey: str, url: str | None) -> None:
        key = _parse_key(vkey, Algorithm.ED25519, "a tlog")
        if any(other.key.public_key == key.public_key for other in self._logs):
            raise MalformedTrustPolicyError(f"expected each tlog's key once, came {key} again")
        self._logs.append(TrustedTlog(key, url))

    def _add_witness(self, name: str, vkey: str, url: str | None) -> None:
        key = _parse_key(vkey, Algorithm.COSIGNATURE_V1, "a witness")
        if any(other.key.public_key == key.public_key for other in self._witnesses):
            raise MalformedTrustPolicyError(f"expected each witness's key once, came {key} again")
        self._define(name)
        self._witnesses.append(TrustedWitness(name, key, url))

    def _add_group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        for member in members:
            if member == _NONE or member not in self._names:
                raise MalformedTrustPolicyError(
                    f"expected members that a line above defines, came {shorten(member)}"
                )
            if member in self._members:
                raise MalformedTrustPolicyError(
                    f"expected each name as a member once, came {shorten(member)} again"
                )
            self._members.add(member)
        self._define(name)
        self._groups.append(WitnessGroup(name, _parse_threshold(threshold, len(members)), members))

    def _set_quorum(self, name: str) -> None:
        if self._has_quorum:
            raise MalformedTrustPolicyError("expected one quorum line, came another")
        if name not in self._names:
            raise MalformedTrustPolicyError(
                f"expected a quorum that a line above defines, or none, came {shorten(name)}"
            )
        self._has_quorum = True
        self._quorum = None if name == _NONE else name

    def _define(self, name: str) -> None:
        if name in self._names:
            raise MalformedTrustPolicyError(
                f"expected a new name, came {shorten(name)}, which is taken"
            )
        self._names.add(name)


def _parse_threshold(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    threshold = parse_decimal(text, what="threshold", error=MalformedTrustPolicyError)
    if not 1 <= threshold <= members <= MAX_SIZE:
        raise MalformedTrustPolicyError(
            f"expected a threshold from 1 to the {members} members, came {threshold}"
        )
    return threshold


def _parse_key(vkey: str, expected: Algorithm, whose: str) -> VerifierKey:
    key = VerifierKey.parse(vkey)
    if key.algorithm is not expected:
        raise MalformedTrustPolicyError(
            f"expected {whose}'s key of type 0x{expected:02x}, came {key}"
        )
    return key

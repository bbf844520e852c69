"""What the cosignatures kept with a trail are worth, under a trust policy.

Each witness vouches for as many entries as the last tree that it cosigned had, for that tree is
shown to be the beginning of this one. A quorum vouches for what each of its members does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from indelible.errors import ConfigurationError, VerificationError
from indelible.integrity.faults import (
    CosignatureError,
    ForkError,
    RollbackError,
    TrailFaultError,
    UnwitnessedError,
)
from indelible.integrity.rotations import check_listed, open_by
from indelible.store.protocol import WitnessRow
from indelible.tlog import (
    Hash,
    MalformedTrustPolicyError,
    OpenedCheckpoint,
    QuorumError,
    Size,
    TileReader,
    TrustPolicy,
    VerifierKey,
    add_signatures,
    format_note,
    parse_note,
    parse_trust_policy,
    verify_beginning,
)


class Tree(NamedTuple):
    """A trail's tree: whose it is, how large, and where to read its tiles.

    `earlier` are the keys that were rotated away: what they signed then is still kept.
    """

    key: VerifierKey
    origin: str
    size: Size
    root: Hash
    tiles: TileReader
    earlier: tuple[VerifierKey, ...] = ()

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The newest first."""
        return (self.key, *self.earlier)


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """By which witnesses of a trust policy a trail is witnessed.

    `by` are the names of those that vouch for the first `size` entries, `of` how many the policy
    has. `newest` is the POSIX second of the newest of their cosignatures, and `quorum` whether they
    are as many as the policy asks for.
    """

    by: tuple[str, ...]
    of: int
    size: int
    newest: int
    quorum: bool

    def __str__(self) -> str:
        return f"witnessed by {len(self.by)} of {self.of}"


def load_trust_policy(path: Path) -> TrustPolicy:
    """The policy in the file at `path`; raises `ConfigurationError`."""
    try:
        return parse_trust_policy(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"expected a trust policy at {path}: {error.strerror}") from None
    except MalformedTrustPolicyError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def check_cosignatures(
    rows: Iterable[WitnessRow], trust: TrustPolicy, tree: Tree
) -> dict[VerifierKey, tuple[Size, int]]:
    """How many entries each witness of the policy vouches for, and since which POSIX second.

    Cosignatures by others are left out. Raises `CosignatureError` for one that isn't by its
    witness over a checkpoint of this trail, and `RollbackError` and `ForkError` where one is over a
    tree that this one doesn't continue.
    """
    check_listed(trust, tree.keys)
    found: dict[VerifierKey, tuple[Size, int]] = {}
    known = {str(key) for key in trust.witness_keys}
    for row in rows:
        if row.note is None or row.vkey not in known:
            continue
        opened = _open(row.note, row.vkey, trust, tree)
        size = opened.checkpoint.size
        _check_continued(opened, tree)
        for cosignature in opened.cosignatures:
            vouched = (size, cosignature.time or 0)
            found[cosignature.key] = max(found.get(cosignature.key, vouched), vouched)
    return found


def cosigned_note(rows: Iterable[WitnessRow], trust: TrustPolicy) -> tuple[bytes, Size] | None:
    """One checkpoint with all cosignatures over it: the largest that a quorum cosigned, alike.

    None where there is none. Nothing is verified here.
    """
    alike: dict[str, list[WitnessRow]] = defaultdict(list)
    for row in rows:
        if row.note is not None:
            alike[parse_note(row.note).text].append(row)
    found: tuple[bytes, Size] | None = None
    for group in alike.values():
        keys = [key for key in trust.witness_keys if str(key) in {row.vkey for row in group}]
        if is_quorum(trust, keys) and (found is None or group[0].size > found[1]):
            notes = [parse_note(row.note) for row in group if row.note is not None]
            merged = notes[0]
            for note in notes[1:]:
                merged = add_signatures(merged, note.signatures)
            found = format_note(merged), group[0].size
    return found


def judge(cosigned: dict[VerifierKey, tuple[Size, int]], trust: TrustPolicy) -> Witnessed | None:
    """The most entries for which a quorum vouches; where there is none, for which any witness does.

    None where no witness vouches for anything.
    """
    if not cosigned:
        return None
    sizes = sorted({size for size, _ in cosigned.values()}, reverse=True)
    for size in sizes:
        keys = [key for key, (least, _) in cosigned.items() if least >= size]
        if is_quorum(trust, keys):
            return _witnessed(cosigned, trust, size, keys, is_quorum=True)
    return _witnessed(cosigned, trust, sizes[-1], list(cosigned), is_quorum=False)


def require(
    cosigned: dict[VerifierKey, tuple[Size, int]],
    trust: TrustPolicy,
    tree: Tree,
    *,
    now: int,
    max_age_s: int | None,
) -> Witnessed | None:
    """What `judge` says of the cosignatures; of those of the last `max_age_s` where it is given.

    Raises `UnwitnessedError` where the policy asks for a quorum and that isn't one: a thief of the
    trail's key can keep old cosignatures, and can't get new ones.
    """
    judged = judge(cosigned, trust)
    if trust.quorum is None:
        return judged
    if judged is None or not judged.quorum:
        raise UnwitnessedError(
            0,
            f"expected cosignatures by a quorum ({trust.quorum!r} of the trust policy), there are "
            f"{len(cosigned)} of {len(trust.witnesses)} witnesses",
        )
    if judged.size == 0 and tree.size > 0:
        raise UnwitnessedError(0, "a quorum cosigned the empty trail only")
    if max_age_s is None:
        return judged
    fresh = {key: each for key, each in cosigned.items() if abs(now - each[1]) <= max_age_s}
    lately = judge(fresh, trust)
    if lately is None or not lately.quorum:
        raise UnwitnessedError(
            judged.size,
            f"no quorum cosigned within the last {max_age_s} s; the newest cosignature is "
            f"{now - judged.newest} s old, over {judged.size} of {tree.size} entries",
        )
    return lately


def _open(note: bytes, vkey: str, trust: TrustPolicy, tree: Tree) -> OpenedCheckpoint:
    try:
        opened = open_by(note, tree.origin, tree.keys, trust.witness_keys)
    except VerificationError as error:
        raise CosignatureError(0, f"kept as cosigned by {vkey}: {error}") from None
    if all(str(each.key) != vkey for each in opened.cosignatures):
        raise CosignatureError(0, f"expected a cosignature by {vkey}, there is none in its note")
    return opened


def _check_continued(opened: OpenedCheckpoint, tree: Tree) -> None:
    checkpoint = opened.checkpoint
    if checkpoint.size > tree.size:
        raise RollbackError(last_seen=checkpoint.size, offered=int(tree.size))
    try:
        verify_beginning(
            tree.tiles,
            old=checkpoint.size,
            old_root=checkpoint.root,
            new=tree.size,
            new_root=tree.root,
        )
    except TrailFaultError:
        raise  # says more: which tile it is
    except VerificationError:
        names = ", ".join(each.key.name for each in opened.cosignatures)
        raise ForkError(
            0,
            f"the first {checkpoint.size} entries aren't those that {names} cosigned: the trail's "
            "history was rewritten",
        ) from None


def is_quorum(trust: TrustPolicy, keys: Sequence[VerifierKey]) -> bool:
    """Whether they are as many as the policy asks for."""
    try:
        trust.check_quorum(keys)
    except QuorumError:
        return False
    return True


def _witnessed(
    cosigned: dict[VerifierKey, tuple[Size, int]],
    trust: TrustPolicy,
    size: Size,
    keys: Sequence[VerifierKey],
    *,
    is_quorum: bool,
) -> Witnessed:
    return Witnessed(
        by=tuple(each.name for each in trust.witnesses if each.key in keys),
        of=len(trust.witnesses),
        size=int(size),
        newest=max(cosigned[key][1] for key in keys),
        quorum=is_quorum,
    )

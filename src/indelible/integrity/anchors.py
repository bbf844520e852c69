"""Anchors: places beside the trail that keep its checkpoints, and what they have is worth.

An anchor says when a checkpoint was there, at the latest. It doesn't know of any other: a fork can
be anchored, too. What one has is held against the tree here; each kind is a module of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from indelible.errors import DeliveryError, VerificationError
from indelible.integrity.assurance import Tree
from indelible.integrity.faults import AnchorMismatchError, ForkError, RollbackError
from indelible.integrity.rotations import open_by
from indelible.policy.anchors import (
    AnchorSettings,
    FileSettings,
    GitSettings,
    Rfc3161Settings,
    S3Settings,
    WebhookSettings,
)
from indelible.store.protocol import AnchorRow
from indelible.tlog import (
    Checkpoint,
    Hash,
    Size,
    parse_checkpoint,
    parse_note,
    verify_beginning,
)

T = TypeVar("T")


class Receipt(NamedTuple):
    """What an anchor answered: `answer` as it is needed to check it, `time` its POSIX second.

    `outside` where that is evidence in other hands, which can be checked afterwards.
    """

    time: int
    answer: bytes
    outside: bool


class Held(NamedTuple):
    """A checkpoint that an anchor has, by its claim; `note` fetches the signed note."""

    size: int
    root: bytes
    note: Callable[[], bytes]


class ReadBack(NamedTuple):
    """What an anchor has of one trail: in words, and since which POSIX second the newest of it."""

    held: Sequence[Held]
    shown: str
    time: int | None = None


class Anchor(Protocol):
    """One place that keeps checkpoints of one trail. For one thread at a time.

    Neither method says in an error what may be secret: a token, a URL's path.
    """

    @property
    def name(self) -> str:
        """As the configuration calls it."""

    @property
    def kind(self) -> str:
        """What it is."""

    @property
    def is_outside(self) -> bool:
        """Whether what it answers can be evidence in other hands at all."""

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        """Have it take this signed checkpoint; `last` is what it took before.

        When this returns it has it, as far as it can be believed. Raises `DeliveryError` where it
        doesn't answer in time or answers something else, and `AnchorMismatchError` where it no
        longer has what it took before: nothing is added to that.
        """

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        """What it has, of which `last` is to be a part.

        Not `whole`: the newest will do. Raises `AnchorMismatchError` where what it answered doesn't
        hold, and `DeliveryError` where it can't be asked.
        """


class AnchorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What one anchor is worth: it has a checkpoint over the first `size` entries, since `time`.

    `time` is a POSIX second, 0 for never. `outside` as in `Receipt`. `fault` is why it couldn't be
    asked; then the rest is what it answered, unchecked.
    """

    name: str
    kind: str
    size: int
    time: int
    outside: bool
    shown: str
    fault: str = ""


class Looked(NamedTuple):
    """What came of reading one anchor back."""

    anchor: Anchor
    last: AnchorRow | None
    result: ReadBack | DeliveryError | VerificationError


def open_anchors(
    settings: Sequence[AnchorSettings], trail: Path, origin: str
) -> tuple[Anchor, ...]:
    """Each anchor of the configuration, for the trail at `trail`. Asks none of them.

    Raises `ConfigurationError`, also for an extra that isn't installed.
    """
    return tuple(_open(each, trail, origin) for each in settings)


def _open(settings: AnchorSettings, trail: Path, origin: str) -> Anchor:
    # Each kind brings something along that the others do without.
    match settings:
        case Rfc3161Settings():
            from indelible.integrity.anchor_rfc3161 import Rfc3161Anchor

            return Rfc3161Anchor(settings, receipts_of(trail) / settings.name)
        case S3Settings():
            from indelible.integrity.anchor_s3 import S3Anchor

            return S3Anchor(settings, origin)
        case GitSettings():
            from indelible.integrity.anchor_git import GitAnchor

            return GitAnchor(settings, origin)
        case FileSettings():
            from indelible.integrity.anchor_file import FileAnchor

            return FileAnchor(settings, origin)
        case WebhookSettings():
            from indelible.integrity.anchor_webhook import WebhookAnchor

            return WebhookAnchor(settings)
    raise TypeError(f"no such anchor: {settings!r}")


def receipts_of(trail: Path) -> Path:
    """The folder of what anchors answered, beside the trail's file."""
    return trail.with_name(trail.name + ".anchors")


def held_in(note: bytes, origin: str) -> Held | None:
    """The checkpoint of this trail that `note` claims to be; None for anything else."""
    with contextlib.suppress(VerificationError):
        checkpoint = parse_checkpoint(parse_note(note).text)
        if checkpoint.origin == origin:
            return Held(int(checkpoint.size), checkpoint.root, lambda: note)
    return None


def parse_answer(decoder: msgspec.json.Decoder[T], last: AnchorRow) -> T:
    """What the anchor answered, as its module wrote it; raises `AnchorMismatchError`."""
    try:
        return decoder.decode(last.receipt)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise AnchorMismatchError(
            last.name,
            "expected what it answered in the trail's file, came something else; an anchor of "
            "another kind goes by another name",
        ) from None


def row_of(rows: Sequence[AnchorRow], name: str) -> AnchorRow | None:
    """What the anchor of this name took last; None where it took nothing yet."""
    return next((row for row in rows if row.name == name and row.note is not None), None)


def look_at(anchor: Anchor, last: AnchorRow | None, *, whole: bool = True) -> Looked:
    """What this one has, or why that isn't known.

    `last` is to be read before, and the trail's tree afterwards: both grow meanwhile.
    """
    try:
        return Looked(anchor, last, anchor.read_back(last, whole=whole))
    except (DeliveryError, VerificationError) as error:
        return Looked(anchor, last, error)


def check_looked(looked: Looked, tree: Tree) -> AnchorFinding:
    """What that is worth for this tree.

    Raises `AnchorMismatchError` where the anchor no longer has what it took, and, for a checkpoint
    that the trail's key signed and that this tree doesn't continue, `RollbackError` where it is
    larger and `ForkError` where it is another.
    """
    anchor, last, result = looked
    size, time, outside = (last.size, last.time, last.outside) if last else (Size(0), 0, False)
    # The row is the trail's file's, which whoever is doubted may have written.
    outside = outside and anchor.is_outside
    if isinstance(result, VerificationError):
        raise result
    if last is not None and last.note is not None:
        _check_row(last, last.note, tree)
    fault, known, strangers = "", set[tuple[int, bytes]](), 0
    try:
        if isinstance(result, DeliveryError):
            raise result
        for held in result.held:
            if (held.size, held.root) in known:
                continue
            if _is_ours(held, tree, anchor.name):
                known.add((held.size, held.root))
            else:
                strangers += 1
    except DeliveryError as error:
        fault = str(error)
    shown = "" if isinstance(result, DeliveryError) else result.shown
    if strangers:
        shown += f"; {strangers} not signed by the trail's key"
    since = None if isinstance(result, DeliveryError) else result.time
    return AnchorFinding(
        name=anchor.name,
        kind=anchor.kind,
        size=max([int(size), *(each for each, _ in known)]),
        time=since or time,
        outside=outside,
        shown=shown,
        fault=fault,
    )


def _check_row(last: AnchorRow, note: bytes, tree: Tree) -> None:
    """What the trail's file says that the anchor took is a checkpoint of this trail."""
    try:
        checkpoint = open_by(note, tree.origin, tree.keys).checkpoint
    except VerificationError as error:
        raise AnchorMismatchError(
            last.name, f"expected a checkpoint of this trail as what it took: {error}"
        ) from None
    if checkpoint.size != last.size:
        raise AnchorMismatchError(
            last.name,
            f"expected it to have taken {checkpoint.size} entries, the file says {last.size}",
        )
    _check_continued(checkpoint.size, checkpoint.root, tree, last.name)


def _is_ours(held: Held, tree: Tree, name: str) -> bool:
    """Whether the tree begins with it. What isn't signed by the trail's key accuses nobody."""
    size, root = held.size, held.root
    with contextlib.suppress(RollbackError, ForkError):
        _check_continued(Size(size), Hash(root), tree, name)
        return True
    try:
        signed = open_by(held.note(), tree.origin, tree.keys).checkpoint
    except VerificationError:
        return False
    _check_continued(signed.size, signed.root, tree, name)
    return True


def _check_continued(size: Size, root: Hash, tree: Tree, name: str) -> None:
    if size > tree.size:
        raise RollbackError(last_seen=size, offered=int(tree.size), by=f"anchor {name}")
    try:
        verify_beginning(tree.tiles, old=size, old_root=root, new=tree.size, new_root=tree.root)
    except VerificationError:
        raise ForkError(
            0,
            f"the first {size} entries aren't those that anchor {name} has a signed checkpoint of: "
            "the trail's history was rewritten",
        ) from None

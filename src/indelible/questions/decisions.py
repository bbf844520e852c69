"""Which decisions were in force when an event was made: the chain that its reference begins.

An event refers to the latest decision before it, and that one's event to the one before. Rows are
covered by what names them, then by what names their kind, then by what names nothing; of several
alike the latest counts, and all of that for the same actor only.

A decision whose verb says what it is about (`invoice.view`, `invoice.delete`) covers only that; an
allow to write also covers reading what is to be written. Any other verb covers everything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from indelible.events.codec import decode_event
from indelible.events.decisions import EFFECTS
from indelible.events.model import Actor, Event
from indelible.events.values import Id, Value, format_id, to_native
from indelible.questions.reading import whole_event
from indelible.store.protocol import TrailReader
from indelible.tlog import Index, Size

_MAX_NODES: Final = 4_096
_MAX_ROWS: Final = 10_000
"""Rows that the decisions in force at one moment may name; older ones are forgotten then."""
_MAX_KEPT: Final = 200_000

_NOT_HERE: Final = "it refers to a decision that isn't in the trail"
_NOT_KEPT: Final = "it was made under a decision that could not be recorded"
_TOO_MANY: Final = "so many decisions came before it in its context that not all are looked at"

Who = tuple[str, str] | None
Deed = tuple[Who, str]
"""By whom, and which of `OPERATIONS`."""

READ: Final = "read"
WRITES: Final = ("insert", "update", "delete")
OPERATIONS: Final = (READ, *WRITES)
_OPERATIONS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("read", "view", "list", "get", "show", "search", "export"), (READ,)),
    **dict.fromkeys(("insert", "add", "create"), ("insert",)),
    **dict.fromkeys(("update", "change", "edit"), ("update",)),
    **dict.fromkeys(("delete", "remove"), ("delete",)),
    "write": WRITES,
}


class Ruling(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one decision said: allow, deny or error. `id` and `index` are its event's."""

    id: str
    index: Index
    effect: str
    action: str
    policy: str | None = None
    rule: str | None = None

    @property
    def text(self) -> str:
        """The effect, and by which rule, as a person reads it."""
        by = " ".join(each for each in (self.policy, self.rule) if each)
        return f"{self.effect} by {by}" if by else f"{self.effect} ({self.action})"


class _Node(NamedTuple):
    """One decision: for whom to do what, with which rows and kinds, and the one before."""

    ruling: Ruling
    deeds: tuple[Deed, ...]
    implied: tuple[Deed, ...]
    rows: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]
    before: Mapping[str, str] | None


class InForce:
    """The decisions in force at one moment. `doubt` says why not all of them are known."""

    def __init__(self, base: InForce | None = None, *, doubt: str | None = None) -> None:
        self.doubt: str | None = doubt
        self.count: int = 1
        self._rows: dict[tuple[Deed, str], dict[str, Ruling]] = {}
        self._general: dict[tuple[Deed, str | None], Ruling] = {}
        if base is not None:
            self.doubt, self.count = base.doubt, base.count
            self._rows = {key: dict(rows) for key, rows in base._rows.items()}
            self._general = dict(base._general)

    def add(self, node: _Node) -> None:
        """A later decision."""
        ruling = node.ruling
        kinds = node.kinds if node.rows or node.kinds else (None,)
        for deed in node.deeds:
            for kind, name in node.rows:
                self._rows.setdefault((deed, kind), {})[name] = ruling
            for general in kinds:
                self._general[(deed, general)] = ruling
        for deed in node.implied:
            for kind, name in node.rows:
                self._rows.setdefault((deed, kind), {}).setdefault(name, ruling)
            for general in kinds:
                self._general.setdefault((deed, general), ruling)
        self.count += len(node.rows) + len(node.kinds) + 1
        if self.count > _MAX_ROWS:
            self._rows.clear()
            self.count = 1 + len(self._general)
            self.doubt = self.doubt or _TOO_MANY

    def general(self, deed: Deed, kind: str | None) -> Ruling | None:
        """What covers rows of `kind` that no decision names."""
        return self._general.get((deed, kind)) or self._general.get((deed, None))

    def names_rows(self, deed: Deed, kind: str) -> bool:
        """Whether some decision names rows of `kind`."""
        return (deed, kind) in self._rows

    def of_row(self, deed: Deed, kind: str, row_id: Id) -> Ruling | None:
        """What covers this row because it names it."""
        return self._rows.get((deed, kind), {}).get(format_id(row_id))

    def of_rows(self, deed: Deed, kind: str) -> Iterable[Ruling]:
        """Everything that names rows of `kind`."""
        return self._rows.get((deed, kind), {}).values()


NOTHING: Final = InForce()


class Decisions:
    """Follows references, each decision read once; for one answer about the first `size` entries.

    Not safe for threads.
    """

    def __init__(self, reader: TrailReader, size: Size) -> None:
        self._reader = reader
        self._size = size
        self._nodes: OrderedDict[str, _Node | None] = OrderedDict()
        self._known: OrderedDict[str, InForce] = OrderedDict()
        self._kept = 0

    def in_force(self, reference: Mapping[str, str] | None) -> InForce:
        """What an event that has this in its field `decision` was made under."""
        if reference is None:
            return NOTHING
        head = reference.get("id", "")
        known = self._known.get(head)
        if known is not None:
            self._known.move_to_end(head)
            return known
        nodes, base = self._walk(reference)
        found = InForce(base)
        for node in reversed(nodes):
            found.add(node)
        if head:
            self._keep(head, found)
        return found

    def rulings(self, event: Event) -> tuple[Ruling, ...]:
        """The decisions that cover what the event touched, each once; for people to look at."""
        in_force = self.in_force(event.decision)
        deed = deed_of(event.actor, event.kind, event.action)
        found: dict[Ruling, None] = {}
        for target in event.targets:
            general = in_force.general(deed, target.kind)
            for row_id in target.ids_before or target.ids or (None,):
                named = None if row_id is None else in_force.of_row(deed, target.kind, row_id)
                covering = named or general
                if covering is not None:
                    found[covering] = None
        if not event.targets and (blanket := in_force.general(deed, None)) is not None:
            found[blanket] = None
        return tuple(found)

    def _walk(self, reference: Mapping[str, str]) -> tuple[list[_Node], InForce]:
        """The decisions from the latest back to one whose moment is known, and that moment."""
        nodes: list[_Node] = []
        at: Mapping[str, str] | None = reference
        while at is not None:
            id_ = at.get("id")
            if id_ is None:
                return nodes, InForce(doubt=_NOT_KEPT)
            if id_ in self._known:
                return nodes, self._known[id_]
            if len(nodes) >= _MAX_NODES:
                return nodes, InForce(doubt=_TOO_MANY)
            node = self._node(id_)
            if node is None:
                return nodes, InForce(doubt=_NOT_HERE)
            nodes.append(node)
            at = node.before
        return nodes, NOTHING

    def _node(self, id_: str) -> _Node | None:
        if id_ not in self._nodes:
            if len(self._nodes) >= _MAX_NODES:
                self._nodes.popitem(last=False)
            self._nodes[id_] = self._read(id_)
        return self._nodes[id_]

    def _read(self, id_: str) -> _Node | None:
        index = self._reader.index_of(id_)
        if index is None or index >= self._size:
            return None
        entry = self._reader.entry(index)
        event = whole_event(self._reader, entry, decode_event(entry.body)).event
        if event.kind != "decision":
            return None
        ruling = ruling_of(event, index)
        who = who_of(event.actor)
        operations = _OPERATIONS_OF.get(_verb(event.action), OPERATIONS)
        implies_reading = ruling.effect == "allow" and READ not in operations
        return _Node(
            ruling=ruling,
            deeds=tuple((who, operation) for operation in operations),
            implied=((who, READ),) if implies_reading else (),
            rows=tuple((rows.kind, format_id(one)) for rows in event.targets for one in rows.ids),
            kinds=tuple(rows.kind for rows in event.targets if not rows.ids),
            before=event.decision,
        )

    def _keep(self, head: str, found: InForce) -> None:
        self._known[head] = found
        self._kept += found.count
        while self._kept > _MAX_KEPT and len(self._known) > 1:
            self._kept -= self._known.popitem(last=False)[1].count


def ruling_of(event: Event, index: Index) -> Ruling:
    """What this decision said."""
    details = event.details or {}
    return Ruling(
        id=event.id,
        index=index,
        effect=EFFECTS[event.outcome],
        action=event.action,
        policy=_text(details.get("policy")),
        rule=_text(details.get("rule")),
    )


def deed_of(actor: Actor | None, kind: str, action: str) -> Deed:
    """What an event of this kind and action did, as decisions are about it."""
    verb = _verb(action)
    if kind == "access":
        operation = READ
    elif kind == "change":
        operation = verb if verb in WRITES else "delete" if verb == "truncate" else "update"
    else:
        operation = _OPERATIONS_OF.get(verb, ("update",))[0]
    return who_of(actor), operation


def _verb(action: str) -> str:
    """`view` of `shop.view` and of Django's `shop.view_invoice`."""
    return action.rpartition(".")[2].partition("_")[0]


def who_of(actor: Actor | None) -> Who:
    """What actors are told apart by here: on whose behalf they act doesn't matter."""
    return None if actor is None else (actor.kind, actor.id)


def _text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    native = to_native(value)
    return native.decode("utf-8", "backslashreplace") if isinstance(native, bytes) else str(native)

"""Values of declared columns are sealed for the subject whose data they are, before all else.

Who reads rows of a database seals, so that nothing that is delivered, waits in a journal or is set
aside holds such a value in clear. Where it isn't known whose it is nobody may keep it: masked.
Names of persons (`personal`) become tokens likewise, in whatever is written: a draft is concealed
before it leaves the process that made it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from indelible.errors import DeliveryError, KeystoreError
from indelible.events.codec import decode_draft, encode_draft
from indelible.events.model import Actor, ContextValue
from indelible.events.personal import NOBODY_PERSONAL, Personal, has_name, token_for, translate
from indelible.events.values import MASKED, TOKEN, TypedValue, Value

Owner = tuple[str, str | None] | None
"""Kind and id of a row's subject; the id is None where it couldn't be told."""
Change = tuple[Value, Value]
SEALED: Final = TypedValue("sealed")
"""Stands for any sealed value, where only is asked whether two events tell the same."""


class Sealing(Protocol):
    """What seals values. Entered for as long as a batch of rows is read: what `seal` and `conceal`
    gave may be delivered once it was left in order. One may be entered within itself."""

    @property
    def actors(self) -> frozenset[str]:
        """Kinds of actors for whom is sealed where from they act."""

    @property
    def personal(self) -> Personal:
        """Whose names `conceal` takes away."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def token(self, owner: tuple[str, str]) -> str:
        """What names this subject in sealed values; it is made where there is none. Raises as
        `seal` does."""

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        """The value that only the keystore's master key and the subject's open again.

        It belongs to this subject, kind and column, and opens nowhere else. Raises `KeystoreError`
        and `DeliveryError`.
        """

    def conceal(self, draft: bytes) -> bytes:
        """The draft of an event (`events.codec.encode_draft`) with tokens for names of persons.

        A name has one token for as long as its subject isn't erased. What is a token already would
        be taken for a name: once for each draft. Outside of a batch it is a batch of its own.
        Raises `KeystoreError`, `DeliveryError`, and `MalformedEventError` for what is no draft.
        """


class _NotSealing:
    """Gives the same for every value, or the value itself."""

    def __init__(self, instead: Value = None, actors: Collection[str] = ()) -> None:
        self.actors = frozenset(actors)
        self._instead = instead

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def token(self, owner: tuple[str, str]) -> str:
        return ""

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        return value if self._instead is None else self._instead

    @property
    def personal(self) -> Personal:
        return NOBODY_PERSONAL

    def conceal(self, draft: bytes) -> bytes:
        return draft


BLANK: Final[Sealing] = _NotSealing(SEALED)
"""For who compares what rows tell, where nobody's name is personal."""
CLEAR: Final[Sealing] = _NotSealing()
"""For who delivers nothing: a reversal."""


class Blanking(_NotSealing):
    """For who compares what rows tell: gives the same for every value, and for every name."""

    def __init__(self, personal: Personal) -> None:
        super().__init__(SEALED)
        self._personal = personal

    @property
    def personal(self) -> Personal:
        return self._personal

    def conceal(self, draft: bytes) -> bytes:
        if not self._personal:
            return draft
        return encode_draft(translate(decode_draft(draft), self._personal, _ANYBODY))


class _Anybody:
    """Gives one token for all names."""

    def name(self, kind: str, name: str) -> str:
        return "somebody"

    def key(self, kind: str, value: Value) -> Value:
        return token_for(value, "") if has_name(value) else value

    column = key

    asked = name


_ANYBODY: Final = _Anybody()


class NoSealing(_NotSealing):
    """Where there is no keystore: nothing may be read of a table that has sealed columns."""

    def __init__(self, actors: Collection[str] = ()) -> None:
        super().__init__(None, actors)

    def token(self, owner: tuple[str, str]) -> str:
        raise KeystoreError(
            f"expected a keystore to seal for a subject of kind {owner[0]}, there is none: put it "
            "back, or name one under [retention] and run `indelible install`"
        )

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        raise KeystoreError(
            f"expected a keystore to seal {kind}.{column}, as the database's triggers were "
            "installed; there is none: put it back, or run `indelible install`"
        )


NO_SEALING: Final[Sealing] = NoSealing()


PERSONAL: Final = ("ip", "user_agent")
"""What of an actor's circumstances tells where, or who, a person is."""
CIRCUMSTANCES: Final = "actor:context"
DETAILS: Final = "event:details"
"""Instead of a table's kind, to which sealed values belong; no kind has a colon."""
_REMEMBERED: Final = 1_000
_encode: Final = msgspec.json.Encoder().encode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_actor: Final = msgspec.json.Decoder(Actor)
_context: Final = msgspec.json.Decoder(dict[str, ContextValue])


class Circumstances:
    """Seals in drafts where from their actors acted, for those that are subjects themselves.

    Once for each context: equal events of one request have equal bytes, those of others don't.
    Where it can't be sealed it is masked if `may_mask`; else `draft` raises as `Sealing.seal` does.
    """

    def __init__(self, sealing: Sealing, *, may_mask: bool) -> None:
        self._sealing = sealing
        self._may_mask = may_mask
        self._marks = [b'"actor":{"kind":%s' % _encode(kind) for kind in sealing.actors]
        self._sealed: dict[tuple[str, str, bytes], tuple[str, msgspec.Raw]] = {}

    def draft(self, draft: bytes) -> bytes:
        """The draft, where from they acted sealed."""
        for mark in self._marks:
            if mark in draft:
                return self._of_subject(draft)
        return draft

    def _of_subject(self, draft: bytes) -> bytes:
        fields = _fields.decode(draft)
        if "actor" not in fields or "context" not in fields:
            return draft
        actor = _actor.decode(fields["actor"])
        if actor.kind not in self._sealing.actors:
            return draft  # the mark stood elsewhere
        raw = bytes(fields["context"])
        context = _context.decode(raw)
        if not any(type(context.get(name)) is str for name in PERSONAL):
            return draft
        try:
            with self._sealing:
                fields["context"] = self._context((actor.kind, actor.id), raw, context)
        except (KeystoreError, DeliveryError):
            if not self._may_mask:
                raise
            fields["context"] = msgspec.Raw(_encode(masked(context)))
        return _encode(fields)

    def _context(
        self, owner: tuple[str, str], raw: bytes, context: Mapping[str, ContextValue]
    ) -> msgspec.Raw:
        token = self._sealing.token(owner)
        found = self._sealed.get((*owner, raw))
        if found is not None and found[0] == token:
            return found[1]
        sealed = {
            name: self._sealing.seal(owner, CIRCUMSTANCES, name, value)
            if name in PERSONAL
            else value
            for name, value in context.items()
        }
        if len(self._sealed) >= _REMEMBERED:
            self._sealed.clear()
        made = msgspec.Raw(_encode(sealed))
        self._sealed[(*owner, raw)] = (token, made)
        return made


class Leaving:
    """What drafts go through, once each, before they leave the process that made them."""

    def __init__(self, sealing: Sealing, names: Sealing, *, may_mask: bool) -> None:
        """`sealing` is for `Circumstances`, `names` conceals those of persons."""
        self._circumstances = Circumstances(sealing, may_mask=may_mask)
        self._names = names

    def draft(self, draft: bytes) -> bytes:
        """The draft, as whoever may read the trail may have it.

        Raises as `Sealing.conceal` does.
        """
        # In this order: where from they act is sealed for who goes by this name.
        return self._names.conceal(self._circumstances.draft(draft))


def masked(context: Mapping[str, ContextValue]) -> dict[str, ContextValue]:
    """The context without what tells where a person is."""
    return {name: MASKED if name in PERSONAL else value for name, value in context.items()}


class Sealed:
    """Seals the declared columns of one kind of rows."""

    def __init__(self, sealing: Sealing, kind: str, columns: Collection[str]) -> None:
        self.columns = frozenset(columns)
        self._sealing = sealing
        self._kind = kind

    def changes(
        self, changes: Mapping[str, Change], before: Owner, after: Owner
    ) -> Mapping[str, Change]:
        """Each value for whoever's the row was then: one that changes hands is for both."""
        if self.columns.isdisjoint(changes):
            return changes
        return {
            name: (self._value(name, old, before), self._value(name, new, after))
            if name in self.columns
            else (old, new)
            for name, (old, new) in changes.items()
        }

    def row(
        self, columns: Sequence[str], values: Sequence[Value], owner: Owner
    ) -> tuple[Value, ...]:
        """The values of a row in which these columns stand."""
        return tuple(
            self._value(name, value, owner) if name in self.columns else value
            for name, value in zip(columns, values, strict=True)
        )

    def _value(self, name: str, value: Value, owner: Owner) -> Value:
        if isinstance(value, TypedValue) and value.v is None:
            return value  # there was none, or none is kept
        if owner is None or owner[1] is None:
            return MASKED
        return self._sealing.seal((owner[0], owner[1]), self._kind, name, value)


def blank(value: Value) -> Value:
    """The value, or `SEALED` for any that is sealed, or a token."""
    return SEALED if isinstance(value, TypedValue) and value.t in ("sealed", TOKEN) else value

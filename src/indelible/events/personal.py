"""Names of persons in events: what of an event is one, and how a token takes its place. Pure.

A name is the value of a table's key, of a foreign key that leads to it, or of a subject or an
actor. Writing puts tokens in their places, answering puts the names back: one walk for both.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from indelible.events.model import Actor, BaselineRows, Event, Subject, TargetRows
from indelible.events.values import (
    ERASED,
    ERASED_NAME,
    TOKEN,
    Id,
    TypedValue,
    Value,
    format_id,
    to_value,
)

T = TypeVar("T")

TOKEN_FORM: Final = re.compile(r"[0-9a-f]{32}")
QUESTION: Final = "question"
"""The detail that holds a command line."""
NOT_SHOWN: Final = "(not shown)"
_NOT_THE_KEY: Final = "expected its personal column to be the primary key, alone"
_WITHIN_A_KEY: Final = (
    'is personal and says which row it is, which only the key of a table whose subject is "self" '
    "may: expected a primary key of other columns (a number, say)"
)
_JSON: Final = "json"
_INTEGER: Final = "int"
_decode_id: Final = msgspec.json.Decoder(tuple[Value, ...]).decode


class Personal(msgspec.Struct, frozen=True):
    """Whose names become tokens: `kinds` of subjects (and actors). `keys` gives for a kind of
    targets whose name a row's key is; `columns` that for columns, by kind of target and column in
    lower case."""

    kinds: frozenset[str] = frozenset()
    keys: Mapping[str, str] = {}
    columns: Mapping[str, Mapping[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def key_problem(self, kind: str, key: Sequence[str]) -> str | None:
        """Why rows of this kind go by names that no token can stand for; None where it can.

        `key` are the columns of a row's id. Of an id of several values an event doesn't say which
        is which, so none of them may be a name.
        """
        columns = self.columns.get(kind, {})
        named = [name for name in key if name.lower() in columns]
        if kind in self.keys:
            return None if len(key) == len(named) == 1 else _NOT_THE_KEY
        return f"{', '.join(named)} {_WITHIN_A_KEY}" if named else None


NOBODY_PERSONAL: Final = Personal()


class Translator(Protocol):
    """Gives what is to stand in the place of a name of this kind of subject, or of its token."""

    def name(self, kind: str, name: str) -> str:
        """For a subject's or an actor's id."""

    def key(self, kind: str, value: Value) -> Value:
        """For a value in a row's id."""

    def column(self, kind: str, value: Value) -> Value:
        """For a value of a column."""

    def asked(self, kind: str, name: str) -> str:
        """For a name in a command line."""


class FromTokens:
    """A `Translator` that puts names in the places of tokens.

    `named` says whose a token of this kind is: the token itself where that isn't known, None where
    they were erased, who then go by `erased:TOKEN`.
    """

    def __init__(self, named: Callable[[str, str], str | None]) -> None:
        self._named = named

    def name(self, kind: str, name: str) -> str:
        if not TOKEN_FORM.fullmatch(name):
            return name
        found = self._named(kind, name)
        return f"{ERASED_NAME}{name}" if found is None else found

    def key(self, kind: str, value: Value) -> Value:
        if not isinstance(value, TypedValue) or value.t != TOKEN or value.s is None:
            return value
        found = self._named(kind, value.s)
        if found is None:
            return TypedValue(ERASED.t, None, value.s)
        return value if found == value.s else value_of(value, found)

    def column(self, kind: str, value: Value) -> Value:
        found = self.key(kind, value)
        return ERASED if isinstance(found, TypedValue) and found.t == ERASED.t else found

    def asked(self, kind: str, name: str) -> str:
        return self.name(kind, name)


def translate(event: Event, personal: Personal, by: Translator) -> Event:
    """The event with every name in it (or token) translated; the event itself where there is none.

    Text that people write (reasons, contexts) is left as it is. Of details, which programs write,
    those are translated that are `KIND:ID` or a name of the event's and nothing else, names in
    quotes, and command lines.
    """
    found: dict[str, Any] = {}
    if event.actor is not None:
        found["actor"] = translate_actor(event.actor, personal, by)
    if event.targets:
        found["targets"] = tuple([_rows(rows, personal, by) for rows in event.targets])
    if event.subjects:
        found["subjects"] = translate_subjects(event.subjects, personal, by)
    columns = personal.columns.get(event.targets[0].kind) if event.targets else None
    if columns and event.changes:
        found["changes"] = {
            name: _pair(columns.get(name.lower()), pair, by) for name, pair in event.changes.items()
        }
    if columns and event.baseline is not None:
        found["baseline"] = _baseline(event.baseline, columns, by)
    if event.details:
        names = _names_of(event, found)
        found["details"] = {
            name: _detail(name, value, names, personal, by) for name, value in event.details.items()
        }
    if all(value == getattr(event, name) for name, value in found.items()):
        return event
    return msgspec.structs.replace(event, **found)


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose name a token stands for, as whoever has the keystore says; `name` is None once they
    were erased. `kind` is that of the subject."""

    kind: str
    token: str
    name: str | None


def with_names(event: Event, told: Sequence[Told]) -> Event:
    """The event with the names that somebody told beside it, without knowing the policy."""
    if not told:
        return event
    kind = event.targets[0].kind if event.targets else ""
    columns = {*(event.changes or {}), *(event.baseline.columns if event.baseline else ())}
    personal = Personal(
        kinds=frozenset(each.kind for each in told),
        keys={rows.kind: rows.kind for rows in event.targets},
        columns={kind: {name.lower(): kind for name in columns}},
    )
    names = {each.token: each.name for each in told}
    return translate(event, personal, FromTokens(lambda kind, token: names.get(token, token)))


def translate_actor(actor: Actor, personal: Personal, by: Translator) -> Actor:
    behalf = actor.on_behalf_of and translate_actor(actor.on_behalf_of, personal, by)
    name = by.name(actor.kind, actor.id) if actor.kind in personal.kinds else actor.id
    return Actor(actor.kind, name, behalf)


def translate_subjects(
    subjects: Sequence[Subject], personal: Personal, by: Translator
) -> tuple[Subject, ...]:
    return tuple(
        [
            Subject(one.kind, by.name(one.kind, one.id))
            if one.id is not None and one.kind in personal.kinds
            else one
            for one in subjects
        ]
    )


def translate_ids(
    kind: str, ids: tuple[Id, ...], personal: Personal, by: Translator
) -> tuple[Id, ...]:
    """`kind` is that of the rows."""
    whose = personal.keys.get(kind)
    if whose is None:
        return ids
    # A key of NULLs names nobody: a rowid stands behind it.
    return tuple(
        [
            row_id if row_id[:1] == (None,) else tuple([by.key(whose, value) for value in row_id])
            for row_id in ids
        ]
    )


def _rows(rows: TargetRows, personal: Personal, by: Translator) -> TargetRows:
    if rows.kind not in personal.keys and not rows.possible_subjects:
        return rows
    return msgspec.structs.replace(
        rows,
        ids=translate_ids(rows.kind, rows.ids, personal, by),
        ids_before=translate_ids(rows.kind, rows.ids_before, personal, by),
        possible_subjects=translate_subjects(rows.possible_subjects, personal, by),
    )


def _pair(whose: str | None, pair: tuple[Value, Value], by: Translator) -> tuple[Value, Value]:
    if whose is None:
        return pair
    return by.column(whose, pair[0]), by.column(whose, pair[1])


def _baseline(baseline: BaselineRows, columns: Mapping[str, str], by: Translator) -> BaselineRows:
    whose = [columns.get(name.lower()) for name in baseline.columns]
    rows = tuple(
        tuple(
            value if kind is None else by.column(kind, value)
            for kind, value in zip(whose, row, strict=True)
        )
        for row in baseline.rows
    )
    return msgspec.structs.replace(baseline, rows=rows)


def _names_of(event: Event, found: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the place of each name that was translated."""
    pairs: dict[str, str] = {}
    before, after = event.actor, found.get("actor")
    while before is not None and after is not None:
        pairs[before.id] = after.id
        before, after = before.on_behalf_of, after.on_behalf_of
    for one, other in zip(event.subjects, found.get("subjects", ()), strict=False):
        pairs[one.id or ""] = other.id or ""
    for rows, others in zip(event.targets, found.get("targets", ()), strict=False):
        for ids in ((rows.ids, others.ids), (rows.ids_before, others.ids_before)):
            pairs |= {format_id(old): format_id(new) for old, new in zip(*ids, strict=True)}
    return {name: other for name, other in pairs.items() if name != other}


def _detail(
    name: str, value: Value, names: Mapping[str, str], personal: Personal, by: Translator
) -> Value:
    if type(value) is not str:
        return value
    if name == QUESTION:
        return _question(value, personal, by)
    if value in names:
        return names[value]
    kind, colon, rest = value.partition(":")
    if colon and rest and kind in personal.kinds:
        return f"{kind}:{by.name(kind, rest)}"
    for one, other in names.items():
        for quoted in {f'"{one}"', json.dumps(one)}:
            value = value.replace(quoted, json.dumps(other))
    return value


def _question(text: str, personal: Personal, by: Translator) -> str:
    if not any(f"{kind}:" in text for kind in (*personal.kinds, *personal.keys)):
        return text
    try:
        return shlex.join(translate_words(shlex.split(text), personal, by))
    except ValueError:
        return NOT_SHOWN


def translate_words(words: Sequence[str], personal: Personal, by: Translator) -> list[str]:
    """The words of a command line: names stand in `KIND:ID`, alone or behind `--option=`."""
    said = []
    for word in words:
        option, equals, rest = word.partition("=") if word.startswith("-") else ("", "", word)
        kind, colon, name = rest.partition(":")
        whose = personal.keys.get(kind, kind)
        if colon and whose in personal.kinds:
            name = NOT_SHOWN if name.startswith("[") else by.asked(whose, name)
            word = f"{option}{equals}{kind}:{name}"
        said.append(word)
    return said


# -- values ---------------------------------------------------------------------------------------


def has_name(value: Value) -> bool:
    """Whether it is a value that can name somebody: no mark, no token, not NULL."""
    if value is None:
        return False
    return not isinstance(value, TypedValue) or (
        value.v is not None and value.t not in ("sealed", TOKEN)
    )


def token_for(value: Value, token: str) -> TypedValue:
    """What stands in the place of `value`, that `value_of` can make from its name again."""
    if type(value) is str:
        return TypedValue(TOKEN, None, token)
    if type(value) is int:
        return TypedValue(TOKEN, _INTEGER, token)
    if isinstance(value, TypedValue) and format_id((value,)) == value.v:
        return TypedValue(TOKEN, value.t, token)
    return TypedValue(TOKEN, _JSON, token)


def value_of(token: TypedValue, name: str) -> Value:
    """The value in whose place `token` stands, which goes by this name."""
    if token.v is None:
        return name
    try:
        if token.v == _INTEGER:
            return to_value(int(name))
        if token.v == _JSON:
            (value,) = _decode_id(name.encode())
            return value
    except (ValueError, msgspec.MsgspecError):
        return name  # not as we wrote it
    return TypedValue(token.v, name)

"""What of a value may stand in an application's log: decided by its declared type, not its looks.

A 32-digit session id and a 32-digit trace id can't be told apart; so nothing passes that nobody
declared to be safe. By type pass only booleans, None and members of enumerations. Numbers, times
and UUIDs pass under names that are declared or in the allowlist, strings under fewer. What doesn't
pass is shown as its kind and length: `<str:17>`, `<int:6>`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import hmac
import itertools
import math
import re
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from indelible.errors import ConfigurationError
from indelible.logs.encoding import Json, ascii_json, letters, size_text
from indelible.logs.safe_names import SAFE_NUMBERS, SAFE_TEXTS

MAX_TEXT: Final = 8_192
"""Characters of one field; what is behind them is cut, and that is said."""
MAX_ITEMS: Final = 64
_MAX_DEPTH: Final = 4
_MAX_BITS: Final = 4_096
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/{}<>*+-]{1,64}")


class Typed:
    """A value whose type as a field is said where it is logged."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Public(Typed):
    """A field whose value may be read by anybody: `Public(order_number)`."""

    __slots__ = ()


class Pseudonym(Typed):
    """A field of which only a keyed hash is shown: equal values can be told to be equal."""

    __slots__ = ()


class Sealed(Typed):
    """A field that only the holder of the sealing key can read."""

    __slots__ = ()


class Secret(Typed):
    """A field of which nothing is shown, not even its length."""

    __slots__ = ()


FIELD_TYPES: Final[dict[str, type[Typed]]] = {
    "public": Public,
    "pseudonym": Pseudonym,
    "sealed": Sealed,
    "secret": Secret,
}


class Sealing(Protocol):
    """Encrypts for whoever holds the sealing key."""

    def seal(self, text: str) -> str: ...


class Pseudonyms:
    """Keyed hashes. `key_id` names the key, so that a rotation shows: hashes under two keys can't
    be compared."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: bytes, key_id: str) -> None:
        self._key = hmac.digest(key, f"indelible pseudonym v1|{key_id}".encode(), "sha256")
        self.key_id = key_id

    def of(self, text: str) -> str:
        """`~<key id>:<16 letters>`."""
        raw = text.encode("utf-8", "surrogatepass")
        return f"~{self.key_id}:{letters(hmac.digest(self._key, raw, 'sha256')[:8])}"


class FieldRules(msgspec.Struct, frozen=True):
    """Which fields are of which type: by name, as the owner declared, beside the allowlists."""

    declared: Mapping[str, type[Typed]] = {}
    numbers: frozenset[str] = SAFE_NUMBERS
    texts: frozenset[str] = SAFE_TEXTS

    @classmethod
    def of(cls, declared: Mapping[str, str]) -> FieldRules:
        """From names of types. Raises `ConfigurationError` for one that there isn't."""
        found = {}
        for name, kind in declared.items():
            if kind not in FIELD_TYPES:
                raise ConfigurationError(
                    f"expected the field {name!r} as one of {', '.join(FIELD_TYPES)}, got {kind!r}"
                )
            found[name] = FIELD_TYPES[kind]
        return cls(declared=found)


class _Rule:
    """What is known of a name beforehand."""

    __slots__ = (
        "declared",
        "is_known",
        "is_number",
        "is_plain",
        "is_text",
        "is_withheld",
        "json",
        "words",
    )

    def __init__(self, name: object, rules: FieldRules) -> None:
        self.json = f"{ascii_json(shown_name(name))}:"
        self.declared = rules.declared.get(name) if isinstance(name, str) else None
        # What the owner declared holds, also of a name that is in the allowlist.
        is_declared = self.declared is not None
        self.is_number = not is_declared and name in rules.numbers
        self.is_text = not is_declared and name in rules.texts
        self.is_known = is_declared or self.is_number or self.is_text
        self.is_withheld = not is_declared and not self.is_text
        self.is_plain = not is_declared and not self.is_number
        # Words that were shown under this name, with it: `"method":"GET"`.
        self.words: dict[str, str] = {}


_LISTS: Final = (list, tuple, set, frozenset)
_SIZED: Final = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
_MAX_NAMES: Final = 4_096
_MAX_WORDS: Final = 256
_LONG: Final = 1_000
_STRINGS: Final = tuple(f'"<str:{size_text(size)}>"' for size in range(_LONG + 1))
_LARGE: Final = 2**63


class Judge:
    """Turns values into what may be shown of them. Never calls `str`, `repr` or any method of a
    value whose type isn't the interpreter's own, and never raises."""

    def __init__(
        self,
        rules: FieldRules,
        pseudonyms: Pseudonyms,
        *,
        sealing: Sealing | None = None,
        scrub: Callable[[str], str] | None = None,
    ) -> None:
        """With `scrub` strings that nothing declares pass through it, instead of being withheld:
        for moving code over. It knows only secrets that look like some."""
        self._rules = rules
        self._known: dict[str, _Rule] = {}
        self._unnamed: dict[int, _Rule] = {}
        self._pseudonyms = pseudonyms
        self._sealing = sealing
        self._scrub = scrub

    def fields(self, given: Mapping[str, object], is_name: Callable[[str], bool]) -> str:
        """A record's fields as a JSON object; what is beyond `MAX_ITEMS` is counted.

        `is_name` tells of a name that isn't known yet whether the program's author wrote it: one
        that is data isn't shown.
        """
        parts: list[str] = []
        known = self._known
        withholds = self._scrub is None
        items = given.items()
        for name, value in items if len(given) <= MAX_ITEMS else itertools.islice(items, MAX_ITEMS):
            rule = known.get(name) if type(name) is str else _Rule(name, self._rules)
            if rule is None:
                rule = self._rule(name, is_name)
            # First what nearly every field is.
            if type(value) is str:
                if rule.is_withheld and withholds:
                    size = len(value)
                    parts.append(rule.json + _STRINGS[size if size < _LONG else _LONG])
                elif len(value) <= 64 and (shown := rule.words.get(value)):
                    parts.append(shown)
                else:
                    parts.append(self._named(rule, value))
            elif rule.is_number and (
                (type(value) is int and -_LARGE < value < _LARGE)
                or (type(value) is float and -math.inf < value < math.inf)
            ):
                parts.append(f"{rule.json}{value}")
            else:
                parts.append(self._named(rule, value))
        if len(given) > MAX_ITEMS:
            parts.append(f'"_more":"{size_text(len(given) - MAX_ITEMS)}"')
        return f"{{{','.join(parts)}}}"

    def arguments(self, given: Sequence[object]) -> str:
        """What may be shown of values that have no name, as the arguments of a message haven't: a
        JSON array."""
        return f"[{','.join([self._json(_NAMELESS, each) for each in given[:MAX_ITEMS]])}]"

    def _named(self, rule: _Rule, value: object) -> str:
        shown = rule.json + self._json(rule, value)
        if type(value) is str and rule.is_text and _WORD.fullmatch(value):
            if len(rule.words) >= _MAX_WORDS:
                rule.words.clear()
            rule.words[value] = shown
        return shown

    def _json(self, rule: _Rule, value: object) -> str:
        if type(value) is str and rule.is_withheld and self._scrub is None:
            return _STRINGS[min(len(value), _LONG)]
        if type(value) is int and rule.is_plain and -_LARGE < value < _LARGE:
            return f'"<int:{len(str(abs(value)))}>"'
        return ascii_json(self._judge(rule, value))

    def _rule(self, name: str, is_name: Callable[[str], bool]) -> _Rule:
        rules = self._rules
        if name in rules.declared or name in rules.numbers or name in rules.texts or is_name(name):
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()
            rule = self._known[name] = _Rule(name, rules)
            return rule
        size = min(len(name), _LONG)
        found = self._unnamed.get(size)
        if found is None:
            # Nothing is known of it, so it may be shared.
            found = self._unnamed[size] = _Rule(None, FieldRules(numbers=_NONE, texts=_NONE))
            found.json = f"{_STRINGS[size]}:"
        return found

    def _judge(self, rule: _Rule, value: object) -> Json:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Typed):
            # What stands at the value is meant for this one; a name says it for all.
            return self._typed(type(value), value.value)
        if rule.declared is not None:
            return self._typed(rule.declared, value)
        if type(value) is int or type(value) is float:
            return _number(value) if rule.is_number else _withheld(value)
        if type(value) is str:
            return self._text(rule, value)
        if isinstance(value, enum.Enum):
            return f"{_kind(value)}.{value._name_}"
        if type(value) in _LISTS and isinstance(value, _LISTS) and len(value) <= MAX_ITEMS:
            return [
                self._judge(rule, each) if _is_scalar(each) else _withheld(each) for each in value
            ]
        if rule.is_number and (text := _plain_text(value)) is not None:
            return text
        return _withheld(value)

    def _text(self, rule: _Rule, value: str) -> Json:
        if rule.is_text and _WORD.fullmatch(value):
            return value
        if self._scrub is None:
            return f"<str:{size_text(len(value))}>"
        return self._scrub(_cut(value))

    def _typed(self, kind: type[Typed], value: object) -> Json:
        if kind is Secret:
            return "<secret>"
        if isinstance(value, Typed):
            return self._typed(type(value), value.value)
        if kind is Public:
            return public(value)
        text = _text_of(value)
        if text is None:
            return _withheld(value)
        if kind is Pseudonym:
            return self._pseudonyms.of(text)
        if self._sealing is None:
            return f"<sealed:{size_text(len(text))}, no key>"
        return self._sealing.seal(_cut(text))


def shown_name(name: object) -> str:
    """A field's name, where it is one; a key that is data isn't shown."""
    if type(name) is str and _NAME.fullmatch(name):
        return name
    return (
        f"<{_kind(name)}:{size_text(len(name))}>" if isinstance(name, str) else f"<{_kind(name)}>"
    )


def public(value: object, depth: int = _MAX_DEPTH) -> Json:
    """A value that was declared to be public, within bounds."""
    if value is None or value is True or value is False:
        return value
    if type(value) is int or type(value) is float:
        return _number(value)
    if type(value) is str:
        return _cut(value)
    if isinstance(value, enum.Enum):
        return f"{_kind(value)}.{value._name_}"
    if depth and (type(value) is list or type(value) is tuple):
        return [public(each, depth - 1) for each in value[:MAX_ITEMS]]
    if depth and type(value) is dict:
        return {
            key if type(key) is str and len(key) <= 64 else shown_name(key): public(each, depth - 1)
            for key, each in itertools.islice(value.items(), MAX_ITEMS)
        }
    text = _plain_text(value)
    return text if text is not None else _withheld(value)


def _is_scalar(value: object) -> bool:
    return not isinstance(value, list | tuple | dict | set | frozenset)


def _number(value: int | float) -> Json:
    if type(value) is int:
        return value if value.bit_length() <= 64 else _withheld(value)
    return value if math.isfinite(value) else f"{value}"


def _plain_text(value: object) -> str | None:
    """Of a type of the standard library's that has one text form, and runs no code of others."""
    if type(value) in (decimal.Decimal, dt.date, dt.timedelta, uuid.UUID):
        return str(value)
    if type(value) is dt.datetime or type(value) is dt.time:
        zone = type(value.tzinfo)
        return str(value) if zone in (type(None), dt.timezone, zoneinfo.ZoneInfo) else None
    return None


def _text_of(value: object) -> str | None:
    if type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("latin-1")
    if (type(value) is int and value.bit_length() <= _MAX_BITS) or type(value) is float:
        return f"{value}"
    return _plain_text(value)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}<cut>"


def _kind(value: object) -> str:
    name = type(value).__name__
    return name if _NAME.fullmatch(name) else "object"


def _withheld(value: object) -> str:
    if type(value) is int:
        size = len(f"{abs(value)}") if value.bit_length() <= _MAX_BITS else 1_000
        return f"<int:{size_text(size)}>"
    if isinstance(value, _SIZED) and type(value) in _SIZED:
        return f"<{_kind(value)}:{size_text(len(value))}>"
    return f"<{_kind(value)}>"


_NONE: Final[frozenset[str]] = frozenset()
_NAMELESS: Final = _Rule("", FieldRules(numbers=_NONE, texts=_NONE))

"""Take values out of `indelible.toml`: what is wrong names file, line, key and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_args

from indelible.errors import PolicyError

T = TypeVar("T")


class Where:
    """A place in the file, to be named in an error with its line; of tables in an array the
    `nth`, from 1 on."""

    def __init__(self, file: str, text: str, *path: str, nth: int | None = None) -> None:
        self._file = file
        self._text = text
        self._path = tuple(part for part in path if part)
        self._nth = nth

    def under(self, *names: str) -> Where:
        return Where(self._file, self._text, *self._path, *names)

    def error(self, message: str, key: str = "") -> PolicyError:
        line = self._line(key)
        section = f" [{'.'.join(self._path)}]" if self._path else ""
        if self._nth is not None:
            section = f" [{section.strip()}] {self._nth}"
        place = f"{self._file}, line {line}" if line else self._file
        return PolicyError(f"{place}{section}: {message}")

    def _line(self, key: str) -> int:
        section = ".".join(self._path)
        inside, seen, head = not section, 0, 0
        for number, raw in enumerate(self._text.splitlines(), start=1):
            line = raw.strip()
            if line.startswith("["):
                name = line.partition("#")[0].strip("[] ").replace('"', "").replace("'", "")
                if inside and section:
                    break
                inside = name == section or (not section and name.split(".")[0] == key)
                seen += inside
                if self._nth is not None:
                    inside = inside and seen == self._nth
                    head = number if inside else 0
                if inside and (not key or not section):
                    return number
            elif inside and key and _is_key(line, key):
                return number
        return head


def _is_key(line: str, key: str) -> bool:
    """Whether the line gives `key` a value, or something in it (`key.part = …`)."""
    name = line.split("=")[0].strip()
    return key in (name.strip("\"'"), name.split(".")[0].strip().strip("\"'"))


def take_section(document: Mapping[str, object], key: str, at: Where) -> Mapping[str, object]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise at.error(f"expected [{key}] as a table, got {type(found).__name__}", key)
    return found


def check_keys(section: Mapping[str, object], allowed: tuple[str, ...], at: Where) -> None:
    for key in section:
        if key not in allowed:
            raise at.error(f"unknown key {key!r}; allowed here: {', '.join(allowed)}", key)


def take(section: Mapping[str, object], key: str, kind: type[T], default: T, at: Where) -> T:
    found = section.get(key, default)
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is not kind:
        raise at.error(f"expected {key} as {kind.__name__}, got {type(found).__name__}", key)
    return found


def take_names(
    section: Mapping[str, object],
    key: str,
    default: frozenset[str],
    at: Where,
    of: str = "column names",
) -> frozenset[str]:
    found = section.get(key)
    if found is None:
        return default
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise at.error(f"expected {key} as a list of {of}", key)
    return frozenset(name.lower() for name in found)


def take_choice(
    section: Mapping[str, object], key: str, default: T, allowed: object, at: Where
) -> T:
    found = section.get(key, default)
    choices = get_args(allowed)
    if found not in choices:
        raise at.error(f"expected {key} as one of {', '.join(choices)}, got {found!r}", key)
    return found  # type: ignore[return-value]


def take_texts(section: Mapping[str, object], key: str, what: str, at: Where) -> tuple[str, ...]:
    found = section.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise at.error(f"expected {key} as a list of {what}", key)
    return tuple(found)

"""What commands take: the configuration, `KIND:ID` names, and windows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from indelible.errors import IndelibleError, QueryError
from indelible.events.model import Actor, Subject, Target
from indelible.events.values import Id, TypedValue, Value

F = TypeVar("F", bound=Callable[..., Any])

CONFIG: Final = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("indelible.toml"),
    show_default=True,
    metavar="FILE",
    help="The configuration to read.",
)
JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line instead of tables."
)

PASSPHRASE: Final = click.option(
    "--passphrase", "is_encrypted", is_flag=True, help="Keep what signs under a passphrase."
)
PASSPHRASE_FILE: Final = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the passphrase of its keys is (0600), and not typed.",
)
PKCS11: Final = click.option(
    "--pkcs11",
    metavar="URI",
    help="The key is in a token: pkcs11:token=…;object=…?module-path=…&pin-source=file:…",
)


def window(command: F) -> F:
    """`--since` and `--until`, half-open; a date means all of that day."""
    until = click.option(
        "--until",
        metavar="TIME",
        help="Before this time; a date (or month) includes its last instant.",
    )
    since = click.option(
        "--since",
        metavar="TIME",
        help='From this time on: ISO 8601, "yesterday 02:30", "3 days ago", 2022-11.',
    )
    return since(until(command))


class _Name(click.ParamType[Any]):
    """`KIND:ID`, split at the first colon."""

    def __init__(self, name: str, make: Callable[[str, str], object]) -> None:
        self.name = name
        self._make = make

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        kind, colon, id_ = value.partition(":")
        if not colon or not kind or not id_:
            self.fail(f"expected KIND:ID, as in {self.name}, got {value!r}", param, ctx)
        try:
            return self._make(kind, id_)
        except IndelibleError as error:
            self.fail(str(error), param, ctx)


def _target(kind: str, text: str) -> Target:
    return Target(kind, parse_id(text))


def parse_id(text: str) -> str | Id:
    """The id that a person typed: JSON for a composite key (`[1,3]`), else the text itself.

    Raises `QueryError` for JSON that holds no id.
    """
    if not text.startswith("["):
        return text
    try:
        members = json.loads(text)
    except ValueError:
        raise QueryError(f"expected a composite id as JSON, as in [1,3], got {text!r}") from None
    if not members:
        raise QueryError("expected at least one value in a composite id, got []")
    values: list[Value] = []
    for member in members:
        if isinstance(member, dict) and set(member) <= {"t", "v"} and "t" in member:
            values.append(TypedValue(**member))
        elif member is None or isinstance(member, bool | int | str):
            values.append(member)
        else:
            raise QueryError(f"expected text, integers or typed values in an id, got {text!r}")
    return tuple(values)


class _Vkey(click.ParamType[Any]):
    """A public key, as `trail.pub` has it."""

    name = "vkey"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        from indelible.tlog import MalformedKeyError, VerifierKey

        try:
            return VerifierKey.parse(value) if isinstance(value, str) else value
        except MalformedKeyError as error:
            self.fail(str(error), param, ctx)


VKEY: Final = _Vkey()
ACTOR: Final = _Name("staff:alice", Actor)
SUBJECT: Final = _Name("customer:zara", Subject)
TARGET: Final = _Name("invoice:42", _target)

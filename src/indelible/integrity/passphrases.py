"""Where the passphrase of a key file comes from: a file, the environment, or who types it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from indelible.errors import ConfigurationError
from indelible.integrity.private_files import read_private_bytes
from indelible.policy import Policy

PEM_BEGIN: Final = "-----BEGIN ENCRYPTED PRIVATE KEY-----"
PEM_END: Final = "-----END ENCRYPTED PRIVATE KEY-----"
"""Between them stands a key under a passphrase."""


class Passphrase:
    """A secret that no repr, and so no report of a traceback's variables, shows.

    Its bytes are the same wherever it comes from: without the white space around it.
    """

    __slots__ = ("_secret",)

    def __init__(self, text: str) -> None:
        # Not every environment or file is UTF-8: back to the bytes that it was decoded from.
        self._secret = os.fsencode(text).strip()

    def reveal(self) -> bytes:
        """The bytes, for a key derivation only."""
        return self._secret

    def __repr__(self) -> str:
        return "<Passphrase>"


Unlock = Callable[[Path], Passphrase]
"""Gives the passphrase of the file; raises `ConfigurationError` where there is none."""


def no_passphrase(path: Path) -> Passphrase:
    """For who has none."""
    raise ConfigurationError(
        f"expected a passphrase for {path}: name passphrase_file or passphrase_env in [trail], or "
        "type it at a terminal"
    )


def unlock_of(policy: Policy, ask: Callable[[str], str] | None = None) -> Unlock:
    """`unlock_with` what the configuration names, in this process's environment."""
    return unlock_with(policy.passphrase_file, policy.passphrase_env, os.environ, ask)


def unlock_with(
    file: Path | None,
    variable: str | None,
    environment: Mapping[str, str],
    ask: Callable[[str], str] | None = None,
) -> Unlock:
    """What gives the passphrase of a key file: read once, and only where there is one to open.

    From `file` (0600), else from the `variable` of the environment, else by `ask`, which is given
    what to ask for. Raises `ConfigurationError` when it is called and none of them has one.
    """
    known: list[Passphrase] = []

    def unlock(path: Path) -> Passphrase:
        if not known:
            known.append(_find(path, file, variable, environment, ask))
        return known[0]

    return unlock


def _find(
    path: Path,
    file: Path | None,
    variable: str | None,
    environment: Mapping[str, str],
    ask: Callable[[str], str] | None,
) -> Passphrase:
    if file is not None:
        found = Passphrase(os.fsdecode(read_private_bytes(file, "a passphrase")))
        where = str(file)
    elif variable is not None:
        found = Passphrase(environment.get(variable, ""))
        where = f"the environment variable {variable}"
    elif ask is not None:
        found = Passphrase(ask(f"passphrase for {path}"))
        where = "what was typed"
    else:
        return no_passphrase(path)
    if not found.reveal():
        raise ConfigurationError(f"expected a passphrase for {path} in {where}, it is empty")
    return found

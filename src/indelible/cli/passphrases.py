"""Passphrases at the terminal: who asks for one, and where a command finds one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from indelible.errors import ConfigurationError
from indelible.integrity.passphrases import Passphrase, Unlock, unlock_with


def asker() -> Callable[[str], str] | None:
    """Who asks for a passphrase at the terminal; None where nobody sits there."""
    if not sys.stdin.isatty():
        return None
    return lambda what: str(click.prompt(what, hide_input=True, err=True))


def unlock_from(file: Path | None) -> Unlock:
    """The passphrase in `file` where one is given, else what is typed: for who has no trail."""
    return unlock_with(file, None, {}, asker())


def new_passphrase(file: Path | None, variable: str | None) -> Passphrase:
    """The passphrase for new keys: where it will be read from, else typed twice.

    Raises `ConfigurationError` where there is none, and nobody at the terminal.
    """
    if file is None and variable is None:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "expected a terminal to type a passphrase at, or passphrase_file or passphrase_env "
                "in [trail]"
            )
        return Passphrase(
            str(click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True))
        )
    return unlock_with(file, variable, os.environ)(Path("the new keys"))

"""What acts that need authorisers share: a request to be written for them, or what they signed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast

import click

from indelible.cli.account import account
from indelible.cli.opening import policy_of, record_question
from indelible.cli.options import ACTOR
from indelible.cli.passphrases import asker
from indelible.durable import write_new
from indelible.erasure import Erasures, make_keystore
from indelible.errors import ConfigurationError
from indelible.events.context import acting_as
from indelible.events.model import Actor, Subject
from indelible.integrity.authorisations import ActKind
from indelible.trail import Trail

F = TypeVar("F", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def authorised(command: F) -> F:
    """The command's `step`: `--request FILE --reason TEXT`, or `--authorisation FILE`; `--as`."""

    @functools.wraps(command)
    def run(
        *,
        request: Path | None,
        authorisation: Path | None,
        reason: str | None,
        acting: Actor | None,
        **others: object,
    ) -> object:
        return command(step=Step(request, authorisation, reason, acting), **others)

    given = cast("F", run)
    for option in (
        click.option(
            "--as",
            "acting",
            type=ACTOR,
            metavar="KIND:ID",
            help="Who does it; recorded. [default: os:<you>]",
        ),
        click.option(
            "--reason",
            help="With --request: why, on one line that names nobody; it stays in the trail.",
        ),
        click.option(
            "--authorisation",
            type=_FILE,
            metavar="FILE",
            help="What enough authorisers signed (`indelible authorise`).",
        ),
        click.option(
            "--request", type=_FILE, metavar="FILE", help="Write what authorisers have to sign."
        ),
    ):
        given = option(given)
    return given


class Step(NamedTuple):
    """One of the two steps in which something is done that has to be authorised."""

    request: Path | None
    authorisation: Path | None
    reason: str | None
    acting: Actor | None

    def take(
        self,
        config: Path,
        act: ActKind,
        subject: Subject,
        do: Callable[[Erasures, bytes], str],
        *,
        hold: int | None = None,
    ) -> None:
        """Write what has to be signed; or, with what was signed, `do` it and print what it says.

        Raises `click.UsageError` where neither was asked for, or both were.
        """
        if (self.request is None) == (self.authorisation is None):
            raise click.UsageError("expected --request FILE --reason TEXT, or --authorisation FILE")
        if (self.request is None) != (self.reason is None):
            raise click.UsageError("expected --reason beside --request, and only there")
        if act == "hold.add":
            make_keystore(policy_of(config))
        # Relaying, for what is captured is carried first; that it was asked is an entry, too.
        with (
            Trail.open(policy_of(config), ask=asker()) as trail,
            acting_as(self.acting or account()),
        ):
            record_question(trail)
            if self.authorisation is not None:
                click.echo(do(trail.erasures, read_file(self.authorisation)))
            elif self.request is not None:
                text = trail.erasures.request(act, subject, reason=self.reason or "", hold=hold)
                write_request(self.request, text)
                kept = trail.policy.kept()
                click.echo(
                    f"{self.request}: {act} of {subject}, there by its token alone. Have "
                    f"{kept.threshold or 'enough'} of {len(kept.authorisers)} authorisers sign it "
                    f"(`indelible authorise {self.request} --key KEY`), then give it back with "
                    "--authorisation"
                )


def write_request(file: Path, text: str) -> None:
    """Raises `ConfigurationError`, also where there is such a file."""
    try:
        write_new(file, text.encode())
    except OSError as error:
        raise ConfigurationError(f"can't write {file}: {error.strerror}") from None


def read_file(file: Path) -> bytes:
    """Raises `ConfigurationError`."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected a file at {file}: {error.strerror}") from None

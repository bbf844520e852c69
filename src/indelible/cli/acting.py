"""What `erase` and `hold` share: a request to be written for authorisers, or what they signed."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from indelible.cli.opening import policy_of, record_question
from indelible.cli.options import ACTOR
from indelible.errors import ConfigurationError
from indelible.events.context import acting_as
from indelible.events.model import Actor, Subject
from indelible.integrity.authorisations import ActKind
from indelible.trail import Trail

F = TypeVar("F", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def authorised(command: F) -> F:
    """`--request FILE --reason TEXT`, or `--authorisation FILE`; and `--as`."""
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
        command = option(command)
    return command


@contextlib.contextmanager
def open_to_act(config: Path, acting: Actor | None, reason: str | None = None) -> Iterator[Trail]:
    """The trail, relaying; what is asked of it here is an entry by whoever acts."""
    with Trail.open(policy_of(config)) as trail:
        record_question(trail)
        with acting_as(acting or Actor("os", getpass.getuser()), reason=reason):
            yield trail


def is_request(request: Path | None, authorisation: Path | None, reason: str | None) -> bool:
    """Which of the two it is. Raises `click.UsageError` where neither or both were given."""
    if (request is None) == (authorisation is None):
        raise click.UsageError("expected --request FILE --reason TEXT, or --authorisation FILE")
    if (request is None) != (reason is None):
        raise click.UsageError("expected --reason beside --request, and only there")
    return request is not None


def write_request(
    trail: Trail, act: ActKind, subject: Subject, file: Path, reason: str, hold: int | None = None
) -> None:
    """Write to `file`, which must not be there yet. Raises `ConfigurationError`."""
    text = trail.erasures.request(act, subject, reason=reason, hold=hold)
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"can't write {file}: {error.strerror}") from None
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        out.write(text)
    kept = trail.policy.kept()
    click.echo(
        f"{file}: {act} of {subject}, there by its token alone. Have {kept.threshold or 'enough'} "
        f"of {len(kept.authorisers)} authorisers sign it (`indelible authorise {file} --key KEY`), "
        "then give it back with --authorisation"
    )


def read_file(file: Path) -> bytes:
    """Raises `ConfigurationError`."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected a file at {file}: {error.strerror}") from None

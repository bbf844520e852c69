"""`indelible erase`: nobody reads any more what was sealed for a subject."""

from __future__ import annotations

from pathlib import Path

import click

from indelible.cli.acting import authorised, is_request, open_to_act, read_file, write_request
from indelible.cli.options import CONFIG, SUBJECT
from indelible.events.model import Actor, Subject


@click.command("erase")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@authorised
@CONFIG
def command(
    subject: Subject,
    request: Path | None,
    authorisation: Path | None,
    reason: str | None,
    acting: Actor | None,
    config: Path,
) -> None:
    """Destroy the key by which what was sealed for a subject is read, here and in every backup.

    In two steps: --request writes what the authorisers of [retention] have to sign; with what they
    signed, --authorisation does it. Interrupted, the same again goes on. Delete what the
    application has of the subject first. A hold forbids it; exits with 1 where nothing was done.

    For example: indelible erase customer:zara --request zara.act --reason "request 4411"
    """
    asks = is_request(request, authorisation, reason)
    with open_to_act(config, acting) as trail:
        if asks and request is not None:
            write_request(trail, "subject.erase", subject, request, reason or "")
        elif authorisation is not None:
            left = trail.erasures.erase(subject, read_file(authorisation))
            click.echo(
                f"erased: what was sealed for {subject} can't be read any more. The keys of "
                f"{left} others are wrapped anew: a backup of the keystore from before is of no "
                "use, so make one now"
            )

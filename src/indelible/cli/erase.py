"""`indelible erase`: nobody reads any more what was sealed for a subject."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from indelible.cli.acting import Step, authorised
from indelible.cli.options import CONFIG, SUBJECT
from indelible.erasure import Erasures
from indelible.events.model import Subject


@click.command("erase")
@click.argument("subject", type=SUBJECT, metavar="KIND:ID")
@authorised
@CONFIG
def command(subject: Subject, step: Step, config: Path) -> None:
    """Destroy the key by which what was sealed for a subject is read, here and in every backup.

    In two steps: --request writes what the authorisers of [retention] have to sign; with what they
    signed, --authorisation does it. Interrupted, the same again goes on. Delete what the
    application has of the subject first. A hold forbids it; exits with 1 where nothing was done.

    For example: indelible erase customer:zara --request zara.act --reason "request 4411"
    """
    step.take(config, "subject.erase", subject, partial(_erase, subject))


def _erase(subject: Subject, erasures: Erasures, signed: bytes) -> str:
    left = erasures.erase(subject, signed)
    return (
        f"erased: what was sealed for {subject} can't be read any more. The keys of {left} others "
        "are wrapped anew: a backup of the keystore from before is of no use, so make one now"
    )

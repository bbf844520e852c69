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
    """Destroy the key by which what was sealed for a subject is read.

    In two steps: --request writes what the authorisers of [retention] have to sign; with what they
    signed, --authorisation does it. Interrupted, the same again goes on. Delete what the
    application has of the subject first. A hold forbids it; exits with 1 where nothing was done.

    After each erasure back up the keystore and the new master key, apart, and destroy every older
    copy of the master key: with one, and a keystore from before, what was erased is still read.

    For example: indelible erase customer:zara --request zara.act --reason "request 4411"
    """
    step.take(config, "subject.erase", subject, partial(_erase, subject))


def _erase(subject: Subject, erasures: Erasures, signed: bytes) -> str:
    left = erasures.erase(subject, signed)
    return (
        f"erased: what was sealed for {subject} can't be read here any more. The keys of {left} "
        "others are wrapped for a new master key: back up the keystore and that key now, apart "
        "from each other, and destroy every older copy of the master key; whoever has one, and a "
        "keystore from before, still reads what was erased"
    )

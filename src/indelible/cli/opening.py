"""Open what a command works on, by its configuration."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Final

import click

from indelible.cli.account import account
from indelible.cli.passphrases import asker
from indelible.errors import ConfigurationError, IndelibleError, VerificationError
from indelible.events.context import acting_as
from indelible.events.model import Outcome
from indelible.explicit import telling
from indelible.integrity.faults import CONTRADICTED
from indelible.integrity.numbering import NOT_VERIFIED, VERIFIED
from indelible.integrity.verifier import Verification
from indelible.policy import Policy, load_policy
from indelible.trail import Trail

_MAX_MESSAGE: Final = 2_000


def open_trail(config: Path) -> Trail:
    """The trail that `config` names, for reading; nothing is relayed by this process.

    Raises `ConfigurationError` when there is no such file or no such trail.
    """
    return Trail.open(load_policy(config), relay=False, ask=asker())


def ask_trail(config: Path) -> Trail:
    """`open_trail`, to ask something: that this account did, and what, is an entry.

    Raises `DeliveryError` where that can't be written down: then nothing is answered.
    """
    trail = open_trail(config)
    try:
        record_question(trail)
    except BaseException:
        trail.close()
        raise
    return trail


def record_question(trail: Trail) -> None:
    """Write down what was typed, and as which account."""
    with acting_as(account()):
        trail.asked(shlex.join(sys.argv[1:]))


def record_verification(policy: Policy, result: Verification | VerificationError) -> None:
    """Write down that this account verified the trail, and with which result.

    Where it can't be written down it is said so: who may only read verifies all the same.
    """
    what = "that it was verified"
    if isinstance(result, VerificationError):
        # Noticed: whoever ran it may be the one who would rather not have it known.
        said = f"{type(result).__name__}: {result}"[:_MAX_MESSAGE]
        _write_down(policy, what, NOT_VERIFIED, outcome=Outcome.FAILURE, message=said)
    else:
        _write_down(
            policy,
            what,
            VERIFIED,
            size=result.size,
            root=result.root.hex(),
            since=result.since,
            assurance=result.assurance,
        )


def record_contradiction(policy: Policy, message: str) -> None:
    """Write down that somebody beside the trail contradicts it; said where that can't be."""
    said = message[:_MAX_MESSAGE]
    _write_down(
        policy, "that it is contradicted", CONTRADICTED, outcome=Outcome.FAILURE, message=said
    )


def _write_down(policy: Policy, what: str, action: str, **details: Any) -> None:
    """`tell` it, as this account; where that can't be, it is said so, and nothing is raised."""
    try:
        with telling(policy, asker()) as tell, acting_as(account()):
            tell(action, **details)
    except (IndelibleError, click.Abort) as error:
        why = str(error) or "no passphrase was typed"
        click.echo(f"{what} won't be in the trail: {why}", err=True)


def database_of(policy: Policy) -> Path:
    """The application's database; raises `ConfigurationError` where the owner named none."""
    if policy.database is None:
        raise ConfigurationError(
            f'{policy.source}: expected [database] with url = "sqlite:///app.db", it has none'
        )
    return policy.database


def policy_of(config: Path) -> Policy:
    """The policy in `config`."""
    return load_policy(config)

"""Open what a command works on, by its configuration."""

from __future__ import annotations

import getpass
import shlex
import sys
from pathlib import Path

from indelible.errors import ConfigurationError
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.policy import Policy, load_policy
from indelible.trail import Trail


def open_trail(config: Path) -> Trail:
    """The trail that `config` names, for reading; nothing is relayed by this process.

    Raises `ConfigurationError` when there is no such file or no such trail.
    """
    return Trail.open(load_policy(config), relay=False)


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
    with acting_as(Actor("os", getpass.getuser())):
        trail.asked(shlex.join(sys.argv[1:]))


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

"""Open what a command works on, by its configuration."""

from __future__ import annotations

from pathlib import Path

from indelible.errors import ConfigurationError
from indelible.policy import Policy, load_policy
from indelible.trail import Trail


def open_trail(config: Path) -> Trail:
    """The trail that `config` names, for reading; nothing is relayed by this process.

    Raises `ConfigurationError` when there is no such file or no such trail.
    """
    return Trail.open(load_policy(config), relay=False)


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

"""DECIDED: `indelible.toml` as one frozen `Policy`."""

from indelible.policy.load import load_allowed_in_logs, load_policy, parse_policy
from indelible.policy.model import (
    Hop,
    Policy,
    RelaySettings,
    RetentionSettings,
    Server,
    SubjectPath,
    TablePolicy,
    TierSettings,
    WitnessSettings,
)

__all__ = [
    "Hop",
    "Policy",
    "RelaySettings",
    "RetentionSettings",
    "Server",
    "SubjectPath",
    "TablePolicy",
    "TierSettings",
    "WitnessSettings",
    "load_allowed_in_logs",
    "load_policy",
    "parse_policy",
]

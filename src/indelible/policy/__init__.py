"""DECIDED: `indelible.toml` as one frozen `Policy`."""

from indelible.policy.load import load_policy, parse_policy
from indelible.policy.model import Hop, Policy, RelaySettings, Server, SubjectPath, TablePolicy

__all__ = [
    "Hop",
    "Policy",
    "RelaySettings",
    "Server",
    "SubjectPath",
    "TablePolicy",
    "load_policy",
    "parse_policy",
]

"""Read `[reports]`: how people who work with a person's data are named to that person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from indelible.policy.model import ReportSettings, StaffNames
from indelible.policy.sections import Where, check_keys, take, take_choice, take_section

REPORT_KEYS: Final = ("staff", "roles", "reasons")


def parse_reports(document: Mapping[str, object], top: Where) -> ReportSettings:
    """As by default where the section is missing."""
    section, at = take_section(document, "reports", top), top.under("reports")
    check_keys(section, REPORT_KEYS, at)
    base = ReportSettings()
    staff: StaffNames = base.staff
    return ReportSettings(
        staff=take_choice(section, "staff", staff, StaffNames, at),
        roles=_roles(section.get("roles", {}), at),
        reasons=take(section, "reasons", bool, base.reasons, at),
    )


def _roles(found: object, at: Where) -> dict[str, str]:
    """By actor (`kind:id`) or by kind."""
    if not isinstance(found, dict) or not all(
        isinstance(role, str) and role.strip() and role.isprintable() for role in found.values()
    ):
        raise at.error(
            'expected roles by actor or kind, as in roles = {"staff:alice" = "accounts", '
            'service = "automatic process"}, got something else',
            "roles",
        )
    return found

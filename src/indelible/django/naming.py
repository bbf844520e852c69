"""How Django's users and rows are named in a trail."""

from __future__ import annotations

from typing import Any

from django.db import connections

from indelible.django.trails import first_database
from indelible.events.model import Actor


def name_of(user: Any) -> Actor | None:
    """`user:<primary key>`; None for one who isn't logged in."""
    return Actor("user", str(user.pk)) if getattr(user, "is_authenticated", False) else None


def stored_key(row: Any) -> int | str:
    """The primary key of a model's instance as its table has it, and so as its accesses name it."""
    connection = connections[row._state.db or first_database()]
    stored = row._meta.pk.get_db_prep_value(row.pk, connection)
    return stored if isinstance(stored, int) else str(stored)

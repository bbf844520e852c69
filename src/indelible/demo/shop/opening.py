"""A directory with everything that the shop needs: its database, and a trail of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from indelible import Trail
from indelible.demo.shop.seed import ROLES, seed
from indelible.demo.shop.tables import open_database
from indelible.errors import TrailExistsError

DATABASE: Final = "shop.db"
CONFIG: Final = "indelible.toml"

POLICY: Final = """\
[trail]
url = "sqlite:///trail.db"
origin = "demo.example/{number}"

[database]
url = "sqlite:///shop.db"

[tables.customer]
subject = "self"

[tables.invoice]
subject = "customer_id -> customer"

[tables.invoice_line]
subject = "invoice_id -> invoice.customer_id -> customer"

[tables.note]
subject = "customer_id -> customer"

[tables.ticket]
subject = "customer_id -> customer"

[tables.staff]
mask = ["password_hash"]          # never captured

[[invariant]]
promise = "we can enumerate the records any user accessed or modified during an arbitrary window, \
going back up to three years"
kind = "enumerable"
window = "3 years"

[[invariant]]
promise = "reverse any changes made by a user, up to six months"
kind = "reversible"
window = "6 months"

[[invariant]]
promise = "for any customer, enumerate all users who accessed their data for any window within the \
last 12 months, and with daily resolution within the last 2 years"
kind = "accessors"
of = "customer"
window = "12 months"
daily = "2 years"

[[invariant]]
name = "no-takeover"
promise = "someone reading our application logs can take over no account"
kind = "log_clean"
files = ["shop.log"]
classes = ["takeover"]

[[invariant]]
name = "nothing-to-report"
promise = "a leak of the logs creates no reporting obligation"
kind = "log_clean"
files = ["shop.log"]
classes = ["personal", "special"]
"""


def open_shop(directory: Path) -> Mapping[str, str]:
    """Make the shop's database, a trail and its configuration in `directory`.

    Returns a new password for each of the staff; the database keeps only their hashes. Raises
    `TrailExistsError` where there is a shop already.
    """
    if (directory / DATABASE).exists():
        raise TrailExistsError(f"expected no shop in {directory}, there is one: name another")
    passwords = {name: secrets.token_urlsafe(16) for name in ROLES}
    engine = open_database(directory / DATABASE)
    seed(engine, passwords)
    engine.dispose()
    # A name of its own, as every trail should have: a verifier remembers what it saw by name.
    (directory / CONFIG).write_text(POLICY.format(number=secrets.token_hex(4)), encoding="utf-8")
    Trail.create(directory / CONFIG).close()
    return passwords

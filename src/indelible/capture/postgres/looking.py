"""What `status` says of a captured server, read in one look."""

from __future__ import annotations

import contextlib

import msgspec

from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.install import masters_on
from indelible.capture.postgres.installed import check_installed, read_installed
from indelible.capture.postgres.outbox import Holder, outbox_state, read_holder
from indelible.capture.postgres.plan import plan_install
from indelible.capture.postgres.schema import read_schema
from indelible.capture.schema import Unseen
from indelible.policy.model import Policy, Server


class ServerLook(msgspec.Struct, frozen=True, kw_only=True):
    """`holder` is the oldest open transaction; `masters` can take the triggers away."""

    incarnation: str
    newest: int
    holder: Holder | None
    masters: tuple[str, ...]
    unseen: tuple[Unseen, ...]


def look_at(server: Server, policy: Policy) -> ServerLook:
    """Reads only. Raises `NotInstalledError`, `ConfigurationError` and `DeliveryError`."""
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection)
        state = outbox_state(connection)
        plan = plan_install(read_schema(connection), policy, read_installed(connection))
        return ServerLook(
            incarnation=state.incarnation,
            newest=state.newest,
            holder=read_holder(connection),
            masters=masters_on(connection, server),
            unseen=plan.unseen,
        )

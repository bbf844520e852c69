"""What `status` says of a captured server, read in one look."""

from __future__ import annotations

import contextlib

from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.install import masters_on
from indelible.capture.postgres.installed import check_installed, look_at_log, read_installed
from indelible.capture.postgres.outbox import outbox_state, read_holder
from indelible.capture.postgres.plan import plan_install
from indelible.capture.postgres.schema import read_schema
from indelible.capture.servers import ServerLook
from indelible.policy.model import Policy, Server


def look_at(server: Server, policy: Policy) -> ServerLook:
    """Reads only. Raises `NotInstalledError`, `ConfigurationError` and `DeliveryError`."""
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection)
        state = outbox_state(connection)
        installed = read_installed(connection)
        plan = plan_install(read_schema(connection), policy, installed, server.profile)
        return ServerLook(
            incarnation=state.incarnation,
            newest=state.newest,
            holder=read_holder(connection),
            masters=masters_on(connection, server),
            unseen=plan.unseen,
            log=look_at_log(connection),
        )

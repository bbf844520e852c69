"""The rows of a PostgreSQL database that was put back to a backup: a new baseline, table by table.

As in `install` a table is locked for a moment, in which its snapshot is fixed; the application goes
on while the rows are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from indelible.capture.host import Journal
from indelible.capture.postgres.baseline import Baseline
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.installed import check_installed, read_installed
from indelible.capture.postgres.locking import lock_target, locked
from indelible.capture.postgres.schema import read_schema
from indelible.capture.restored_baseline import Progress, draft_restored
from indelible.policy.model import Policy, Server

_PATIENCE_S: Final = 1.0


def restored_pages(
    server: Server,
    policy: Policy,
    journal: Journal,
    incarnation: str,
    epoch: int,
    progress: Progress,
) -> Iterator[None]:
    """`restored_baseline.Pages` of the server's database.

    Raises `DeliveryError`, and `ConfigurationError` where a table isn't free for a moment, or the
    relay's role may not lock it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(server_errors(server))
        connection = stack.enter_context(contextlib.closing(connect(server)))
        check_installed(connection)
        installed = read_installed(connection)
        if installed.meta.get("incarnation") != incarnation:
            return  # another database by now: what is due for that is known elsewhere
        schema = read_schema(connection)
        for row in installed.captured.values():
            root = schema.relations.get(row.relation)
            if root is None or row.relation != row.root or row.name in progress.tables:
                continue
            layout = installed.layouts[row.layout]
            with contextlib.closing(connect(server)) as reading:
                with locked(connection, lock_target(root), _PATIENCE_S):
                    baseline = Baseline(reading, incarnation)
                with contextlib.closing(baseline):
                    for _ in baseline.write(schema, root, layout, policy, journal, epoch=epoch):
                        yield
            journal.append(draft_restored(layout.kind, incarnation, baseline.position, epoch))
            # The trail must hold the table before the file says that it does.
            journal.sync()
            progress.add(row.name)

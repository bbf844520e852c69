"""The statements of one connection to MariaDB: who acts is told before, reads recorded after.

Every driver and framework goes this one way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indelible.capture.access import Access
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.connecting import database_of
from indelible.capture.mariadb.context import ContextSender
from indelible.capture.mariadb.install import incarnation_of
from indelible.capture.mariadb.reads import ConnectionReads
from indelible.capture.mariadb.server_reads import ServerReads
from indelible.capture.mariadb.transaction import WritingTransaction
from indelible.capture.mariadb.verbs import ends_something, has_more, is_proven_read
from indelible.capture.mariadb.wires import Wire
from indelible.capture.senders import DatabaseSenders
from indelible.errors import CaptureError
from indelible.events.context import current_frame


class ServerCapture:
    """What all connections of one engine or class share. Safe for threads.

    Raises `CaptureError` where the trail's configuration names no such server.
    """

    def __init__(self, trail: CaptureHost) -> None:
        server = trail.policy.server
        if server is None or not server.is_mariadb:
            raise CaptureError(
                "expected [database] url in indelible.toml to name the MariaDB or MySQL server, "
                "found none: its triggers are what captures writes"
            )
        database = database_of(server)
        self._senders = DatabaseSenders(
            trail,
            server,
            lambda: ContextSender(trail.context_key, incarnation_of(server), database),
        )
        self._reads = ServerReads(trail, server)

    def statements(self, wire: Wire) -> ConnectionStatements:
        """Those of one connection."""
        transaction = WritingTransaction(wire, self._senders)
        return ConnectionStatements(transaction, ConnectionReads(self._reads, wire))


class ConnectionStatements:
    """Used as its connection is: by one at a time."""

    def __init__(self, transaction: WritingTransaction, reads: ConnectionReads) -> None:
        self.transaction = transaction
        self.reads = reads

    def run(
        self, text: str, parameters: Any, run: Callable[[str, Any], object], *, is_seen: bool = True
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`: see `ConnectionReads.run`. Behind
        it `ran` is to be called, also where it fails."""
        transaction = self.transaction
        is_ending = ends_something(text)
        if is_ending:
            transaction.end()
        if has_more(text) or not (is_ending or is_proven_read(text)):
            transaction.before_write(current_frame())
        else:
            transaction.before_read()
        return self.reads.run(text, parameters, run, transaction.written, is_seen=is_seen)

    def ran(self) -> None:
        """A statement ran, or failed."""
        self.transaction.after_statement()

    def ends(self) -> None:
        """The transaction is about to end."""
        self.transaction.end()

    def check_in(self) -> None:
        """The connection goes back or is closed: what nobody read is on disk, too."""
        self.reads.check_in()

"""The statements of one connection to PostgreSQL: who acts is told before, reads recorded after.

Every driver and framework goes this one way. The server's triggers see each write; here the open
transaction is told who acts before the first statement that isn't proven to only read, and again
whenever somebody else does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from indelible.capture.access import Access
from indelible.capture.access_event import Who
from indelible.capture.host import CaptureHost
from indelible.capture.postgres.foresight import Foresight
from indelible.capture.postgres.install import sender_for
from indelible.capture.postgres.reads import ConnectionReads, Query
from indelible.capture.postgres.server_reads import ServerReads
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.postgres.verbs import ends_something, is_proven_read
from indelible.capture.postgres.wires import Wire
from indelible.capture.senders import DatabaseSenders
from indelible.errors import CaptureError
from indelible.events.context import current_frame

T = TypeVar("T")


def decoded(query: bytes, encoding: str) -> tuple[str, bool]:
    """The text, and whether it is exactly what the server will read."""
    try:
        return query.decode(encoding), True
    except UnicodeDecodeError:
        return query.decode(encoding, "replace"), False


class ServerCapture:
    """What all connections of one engine, alias or class share. Safe for threads.

    Raises `CaptureError` where the trail's configuration names no server.
    """

    def __init__(self, trail: CaptureHost) -> None:
        server = trail.policy.server
        if server is None or server.is_mariadb:
            raise CaptureError(
                "expected [database] url in indelible.toml to name the PostgreSQL server, found "
                "none: its triggers are what captures writes"
            )
        self.senders = DatabaseSenders(trail, server, lambda: sender_for(server, trail.context_key))
        self.reads = ServerReads(trail, server)
        self._foresight = Foresight()

    def statements(self, wire: Wire) -> ConnectionStatements:
        """Those of one connection."""
        transaction = WritingTransaction(wire, self.senders, self._foresight)
        return ConnectionStatements(transaction, ConnectionReads(self.reads, wire))


class ConnectionStatements:
    """Used as its connection is: by one at a time."""

    def __init__(self, transaction: WritingTransaction, reads: ConnectionReads) -> None:
        self.transaction = transaction
        self.reads = reads

    def before(self, text: str) -> bool:
        """`text` is about to run. True where a transaction was begun for it alone: `after` or
        `failed` have to be told so."""
        transaction = self.transaction
        transaction.notice_end()
        frame = current_frame()
        if is_proven_read(text):
            transaction.before_read(text, frame)
            return False
        if transaction.begin_alone(text, frame):
            return True
        transaction.before_write(frame)
        return False

    def failed(self, *, is_alone: bool) -> None:
        """It raised: so did the transaction that was begun for it alone."""
        if is_alone:
            self.transaction.end_alone(is_failed=True)

    def committed(self, *, is_alone: bool) -> None:
        """It ran. Raises what committing the transaction that was begun for it alone raises."""
        if is_alone:
            self.transaction.end_alone()

    def after(self, text: str) -> None:
        """It ran, and is committed if that was to be done."""
        if ends_something(text):
            self.transaction.forget(is_over=";" in text)

    def run(
        self,
        text: str,
        parameters: Any,
        run: Callable[[str, Any], object],
        *,
        query: Query | None = None,
        is_seen: bool = True,
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`: see `ConnectionReads.run`."""
        is_alone = self.before(text)
        try:
            access = self.reads.run(
                text, parameters, run, self.transaction.written, query=query, is_seen=is_seen
            )
        except BaseException:
            self.failed(is_alone=is_alone)
            raise
        self.committed(is_alone=is_alone)
        self.after(text)
        return access

    @contextlib.contextmanager
    def starting(self, text: str) -> Iterator[bool]:
        """`text` is sent inside. True where a transaction was begun for it alone."""
        is_alone = self.before(text)
        try:
            yield is_alone
        except BaseException:
            self.failed(is_alone=is_alone)
            raise

    @contextlib.contextmanager
    def handing_out(self, text: str, *, is_alone: bool) -> Iterator[None]:
        """What `text` gives goes past us inside: it's told by statement, however that ends, and of
        whoever acts as it begins."""
        who = self.reads.who()
        try:
            yield
        except BaseException:
            self.failed(is_alone=is_alone)
            self.ran(text, who)
            raise
        self.committed(is_alone=is_alone)
        self.ran(text, who)

    def run_unseen(self, text: str, run: Callable[[], T]) -> T:
        """What `run` returns, which runs `text` and may hand out its rows: by statement."""
        is_alone = self.before(text)
        with self.handing_out(text, is_alone=is_alone):
            return run()

    def ran(self, text: str, who: Who | None = None) -> None:
        """`after`, where the rows that it handed out aren't seen. Raises `DeliveryError` under
        `strict` only."""
        self.reads.record(text, self.transaction.written, who)
        self.after(text)

    def check_in(self) -> None:
        """The connection goes back or is closed: what nobody read is on disk, too."""
        self.reads.check_in()

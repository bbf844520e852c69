"""The databases that are captured: which they are, how each outbox is read, what is looked after.

Looking after is comparing triggers with the policy, so that a table that lost them while
applications run is noticed within seconds; and writing the baseline that is due after a restore,
some pages between two passes of the relay. Whichever process relays does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from indelible.capture.drift import DriftWatch, Notice
from indelible.capture.host import Journal
from indelible.capture.restored_baseline import Pages, RestoreWatch
from indelible.capture.sealing import Blanking, Sealing
from indelible.capture.servers import backend_of
from indelible.capture.sqlite_restored import restored_pages
from indelible.policy.model import Policy, Server
from indelible.transport.outbox import HeldEvents, OutboxReader, OutboxSource, OutboxSources
from indelible.transport.outbox_reader import SqliteOutboxReader
from indelible.transport.server_reader import ServerOutboxReader
from indelible.transport.server_watch import ServerWatch
from indelible.transport.session_watch import SessionWatch
from indelible.transport.source import Source
from indelible.transport.watched import WatchedDatabases

if TYPE_CHECKING:
    from indelible.transport.statement_source import StatementSource


class OutboxEnd(NamedTuple):
    """The last id that an outbox gave out; `opened` is the incarnation's first epoch."""

    incarnation: str
    opened: int
    last_id: int


class _Watched(NamedTuple):
    """The policy's server, and who watches its triggers and its sessions."""

    server: Server
    reader: ServerOutboxReader
    watch: ServerWatch
    sessions: SessionWatch
    statements: StatementSource | None


class CapturedDatabases:
    """Implements `indelible.transport.source.SourceFinder` for one policy."""

    def __init__(
        self,
        policy: Policy,
        held: HeldEvents,
        journal: Journal,
        context_key: bytes,
        notice: Notice,
    ) -> None:
        self.known = WatchedDatabases(policy.journals)
        self._policy = policy
        self._held = held
        self._journal = journal
        self._context_key = context_key
        self._notice = notice
        self._sources = OutboxSources(self.open_outbox, held)
        self._drift = DriftWatch(policy, notice)
        self._restores = RestoreWatch(policy.journals)
        self._watched: _Watched | None = None
        self._blanking = Blanking(policy.personal)

    @property
    def is_writing_baseline(self) -> bool:
        """Whether the baseline of a restored database was begun and isn't whole yet."""
        return self._restores.is_due

    def find_sources(self) -> Sequence[Source]:
        """See `SourceFinder.find_sources`; looks after each database, too."""
        for path in self.known.paths():
            self._sources.watch(path)
            self._drift.look(path)
        if self._policy.server is not None and self.known.has_server():
            if self._watched is None:
                self._watched = self._watch(self._policy.server)
            self._sources.watch_server(str(self._policy.server), self._watched.reader)
            self._watched.watch.look()
            self._watched.sessions.look()
        for where, source in self._sources.restored():
            pages = self._pages(where, source)
            if pages is not None:
                self._restores.look(source.producer_id, source.epoch, pages)
        return [*self._sources.find_sources(), *self._statements()]

    def close(self) -> None:
        """See `SourceFinder.close`."""
        self._sources.close()
        for source in self._statements():
            source.close()

    def open_outbox(self, path: Path, *, alone: Sealing | None = None) -> SqliteOutboxReader:
        """A reader of its own for the file at `path`; what it delivers is sealed."""
        return SqliteOutboxReader(
            path,
            context_key=self._context_key,
            ledgers=self._policy.journals,
            read_s=self._policy.relay.read_s,
            sealing=self._journal.sealing,
            alone=alone or self._blanking,
        )

    def ends(self) -> Iterator[OutboxEnd]:
        """Where each outbox stands now. Raises as `OutboxReader.read_page` does."""
        for path in self.known.paths():
            yield _end_of(self.open_outbox(path))
        if self._policy.server is not None and self.known.has_server():
            yield _end_of(self.open_server(self._policy.server, waits=False))

    def open_server(
        self, server: Server, *, waits: bool = True, alone: Sealing | None = None
    ) -> ServerOutboxReader:
        """A reader of its own for the server's outbox; see there for `waits`."""
        return ServerOutboxReader(
            server,
            context_key=self._context_key,
            ledgers=self._policy.journals,
            waits=waits,
            sealing=self._journal.sealing,
            alone=alone or self._blanking,
        )

    def _watch(self, server: Server) -> _Watched:
        reader = self.open_server(server)
        watch = ServerWatch(server, self._policy, reader, self._notice, self._journal)
        sessions = SessionWatch(
            server,
            self._policy.journals,
            reader,
            self._journal,
            every_s=self._policy.relay.sessions_s,
        )
        statements = None
        if server.audit_log is not None:
            # Only here: it needs the parser.
            from indelible.transport.statement_source import StatementSource

            statements = StatementSource(
                server,
                server.audit_log,
                self._policy,
                reader,
                self._held,
                self._journal,
                self._notice,
            )
        return _Watched(server, reader, watch, sessions, statements)

    def _statements(self) -> Sequence[StatementSource]:
        statements = self._watched.statements if self._watched is not None else None
        return [] if statements is None else [statements]

    def _pages(self, where: Path | str, source: OutboxSource) -> Pages | None:
        restore = (source.producer_id, source.epoch)
        if isinstance(where, Path):
            return partial(restored_pages, where, self._policy, self._journal, *restore)
        if self._watched is None:
            return None
        server = self._watched.server
        pages = backend_of(server).restored_pages
        return partial(pages, server, self._policy, self._journal, *restore)


def _end_of(reader: OutboxReader) -> OutboxEnd:
    try:
        page = reader.read_page(2**62, limit=1, max_bytes=1)
    finally:
        reader.close()
    return OutboxEnd(page.incarnation, page.opened, page.last_id)

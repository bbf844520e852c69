"""The servers whose databases are captured: what is asked of each, and what it answers.

Each has a package, of which a module `backend` is what `backend_of` gives. It is imported only
where a policy names such a server, as it needs a driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from indelible.capture.change_drafts import DecodedRows, OutboxRow
from indelible.capture.horizon import Horizon, OutboxRows, OutboxState
from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
from indelible.capture.restored_baseline import Progress as RestoreProgress
from indelible.capture.schema import Unseen
from indelible.capture.sealing import Sealing
from indelible.capture.sessions import SessionsLook
from indelible.policy.model import Policy, Server

if TYPE_CHECKING:
    from indelible.capture.statement_log import StatementLog
    from indelible.capture.statements.planner import Planner

Progress = Callable[[str, int, int], None]
"""Called with a table's name, how many of its rows are done, and how many there are (about)."""


ENDANGERED_BYTES: Final = 1 << 30
"""So much of a log that nobody reads fills a disk some day."""


class Drift(msgspec.Struct, frozen=True):
    """A table of which the triggers that are there no longer see everything, and why."""

    table: str
    what: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what}"


class InstallReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` did, or with `dry_run` would do.

    `drifts` are the tables that had changed since the last time; `statements` is the SQL;
    `unseen` names what no trigger sees. `masters` are those of the application's roles that could
    take the triggers away. `baseline_rows` were written to the trail.
    """

    incarnation: str
    is_first: bool
    statements: tuple[str, ...]
    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    tables: tuple[str, ...]
    masters: tuple[str, ...] = ()
    baseline_tables: tuple[str, ...] = ()
    baseline_rows: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything had to be done."""
        return bool(self.statements or self.drifts or self.baseline_tables)


class Uninstalled(msgspec.Struct, frozen=True):
    """How many waiting rows went."""

    discarded: int


class Holder(msgspec.Struct, frozen=True):
    """The oldest transaction that is still open: nothing behind its beginning is settled."""

    xid: str
    pid: int | None
    role: str | None
    application: str | None
    database: str | None
    prepared: str | None
    since: str | None
    """None where the relay's role may not see it."""

    def __str__(self) -> str:
        since = f", since {self.since}" if self.since is not None else ""
        if self.prepared is not None:
            return f"the prepared transaction {self.prepared!r}{since}"
        application = f"application {self.application!r}, " if self.application is not None else ""
        return (
            f"the transaction of process {self.pid} (role {self.role}, "
            f"{application}database {self.database}{since})"
        )


class LogLook(msgspec.Struct, frozen=True, kw_only=True):
    """How PostgreSQL's log is read. `kept_bytes` are kept for us by the server, `wal_status` is its
    word for how long that lasts; both None where the slot is gone. `lost` is why it isn't read any
    more."""

    slot: str
    wal_status: str | None
    kept_bytes: int | None
    lost: str | None

    @property
    def is_endangered(self) -> bool:
        """Whether the server keeps so much that it, or we, may soon lose."""
        return self.wal_status == "unreserved" or (self.kept_bytes or 0) > ENDANGERED_BYTES

    @property
    def is_whole(self) -> bool:
        """Whether it can be read on from where it was read to."""
        return self.lost is None and self.wal_status not in (None, "lost")

    def __str__(self) -> str:
        if self.lost is not None:
            return f"the log isn't read any more: {self.lost}"
        if not self.is_whole:
            return f"the slot {self.slot} is gone, or the server removed what it had to keep"
        return f"slot {self.slot}: {self.kept_bytes or 0:,} bytes kept ({self.wal_status})"


class ServerLook(msgspec.Struct, frozen=True, kw_only=True):
    """What `status` says. `holder` is the oldest open transaction; `masters` can take the triggers
    away, of the roles `unasked` we may not know; `log` is how the log is read."""

    incarnation: str
    newest: int
    holder: Holder | None
    masters: tuple[str, ...]
    unseen: tuple[Unseen, ...]
    unasked: tuple[str, ...] = ()
    log: LogLook | None = None


class Ledger(Protocol):
    """Which contexts were used before."""

    @property
    def through(self) -> int: ...
    def encode(self) -> bytes: ...
    def is_contested(self, seq: int, nonce: str | None, transaction: int) -> bool: ...
    def forget(self, before: int) -> None: ...


class Decoder(Protocol):
    """Makes events of outbox rows."""

    @property
    def known(self) -> frozenset[int]: ...
    def learn(self, layouts: Mapping[int, Layout]) -> None: ...
    def decode(self, rows: Sequence[OutboxRow]) -> DecodedRows: ...


class ServerOutbox(Protocol):
    """A relay's connection to one database. What fails raises `DeliveryError`, mostly; then it is
    to be closed."""

    def state(self) -> OutboxState:
        """Where it stands now. Raises `NotInstalledError` and `CaptureError`, too."""

    def note_horizon(self, horizon: Horizon, state: OutboxState) -> None:
        """Look at the transactions that run, after `state` was read."""

    def read(
        self, since: int, settled: int, *, limit: int, max_bytes: int, known: Mapping[int, Layout]
    ) -> OutboxRows:
        """At most `limit` rows and about `max_bytes`, two at least where there are as many: the row
        `since`, and those behind it up to `settled`."""

    def forget(self, below: int) -> bool:
        """Delete some of the rows below this id; whether there may be more."""

    def holder(self) -> Holder | None:
        """Who keeps the outbox from being settled; None where no transaction is open."""

    def sessions(self) -> SessionsLook:
        """Who is connected now and may read the database."""

    def statement_log(self) -> StatementLog:
        """How the server's audit writes down what is sent to the database."""

    def planner(self, policy: Policy) -> Planner:
        """What tells which tables a text names, whatever the settings of who sends it."""

    def fingerprint(self) -> str:
        """Another text whenever tables or triggers were changed."""

    def check(self, policy: Policy) -> list[Drift]:
        """See `Backend.check`."""

    def fall_back(self, policy: Policy, journal: Journal) -> bool:
        """Capture by triggers where it was by a log that can't be read any more; whether that was
        done now. Raises as `Backend.install` does."""

    def log(self) -> LogLook | None:
        """How the log is read; None where it isn't."""

    def close(self) -> None: ...


class Backend(Protocol):
    """The module `backend` of a server's package."""

    def install(
        self,
        server: Server,
        policy: Policy,
        *,
        journal: Journal,
        progress: Progress | None = None,
        dry_run: bool = False,
    ) -> InstallReport:
        """Capture every write to the database from now on, and say what was there before."""

    def check(self, server: Server, policy: Policy) -> list[Drift]:
        """Where the triggers that are there don't see what the policy wants seen; reads only."""

    def suspend(self, server: Server, *, journal: Journal) -> None:
        """Take only the triggers away, for a migration. Raises `ConfigurationError` where that
        isn't needed."""

    def uninstall(
        self, server: Server, *, delivered_through: int = 0, force: bool = False
    ) -> Uninstalled:
        """Take triggers, functions and the outbox away: the database is what it was."""

    def incarnation_of(self, server: Server) -> str:
        """Raises `NotInstalledError`."""

    def relay_rights(self, server: Server) -> tuple[str, ...]:
        """What a relay needs whose role isn't the owner's."""

    def look_at(self, server: Server, policy: Policy) -> ServerLook:
        """Reads only. Raises `NotInstalledError`, `ConfigurationError` and `DeliveryError`."""

    def open_outbox(self, server: Server) -> ServerOutbox:
        """A relay's connection. Raises `ConfigurationError` and `DeliveryError`."""

    def make_ledger(self, state: bytes | None) -> Ledger: ...

    def make_decoder(
        self,
        incarnation: str,
        layouts: Mapping[int, Layout],
        context_key: bytes,
        ledger: Ledger | None,
        sealing: Sealing,
    ) -> Decoder: ...

    def restored_pages(
        self,
        server: Server,
        policy: Policy,
        journal: Journal,
        incarnation: str,
        epoch: int,
        progress: RestoreProgress,
    ) -> Iterator[None]:
        """`restored_baseline.Pages` of the server's database."""


def backend_of(server: Server) -> Backend:
    """What captures databases on this kind of server."""
    if server.is_mariadb:
        from indelible.capture.mariadb import backend as mariadb

        return mariadb
    from indelible.capture.postgres import backend as postgres

    return postgres

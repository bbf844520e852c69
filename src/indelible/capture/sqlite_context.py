"""Who is acting, told to an SQLite database by the connection that writes to it.

Our triggers call the built-in `sqlite_compileoption_get` with numbers that it doesn't know. On
an instrumented connection a Python function stands in its place and answers with the signed
context; any other client's connection answers NULL, so its changes are seen, and unattributed.
Nothing is ever sent: a rolled-back savepoint forgets nothing, and nothing outlives a statement.

What the layer above (SQLAlchemy, `sqlite3`) does with it::

    context = WriteContext(connection, host)      # once a DBAPI connection, after `install`
    context.enter(current_frame())                # in the caller's task, before a statement that
    try:                                          # isn't proven read-only, BEGIN and SAVEPOINT
        cursor.execute(...)                       # included; may run in another thread
    except sqlite3.Error as error:
        if (ours := context.explain(error)) is not None:
            raise ours from error
        raise
    finally:
        context.leave()
    connection.commit(); context.ended()          # after each commit and rollback
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Final

from indelible.capture.context_text import payload_for, sign_context, sign_event
from indelible.capture.host import CaptureHost
from indelible.capture.nonces import NONCES, Nonces
from indelible.capture.sqlite_names import (
    ASK_CONTEXT,
    ASK_DELIVERED_THROUGH,
    ASK_TIME,
    META,
    OUTBOX,
    is_ours,
)
from indelible.errors import (
    CaptureError,
    ConfigurationError,
    IndelibleError,
    NotInstalledError,
    ProtectedTableError,
)
from indelible.events.context import Frame

FORMAT: Final = 1
OP_EVENT: Final = 9

_Authorize = Callable[[int, str | None, str | None, str | None, str | None], int]


class WriteContext:
    """The context of one connection; used by one statement at a time, from any thread.

    Takes the connection's authorizer, through which the application can't touch tables of
    ours; one of the application's own goes to `set_authorizer` here.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        host: CaptureHost,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        nonces: Nonces = NONCES,
    ) -> None:
        """Attach to `connection`, which must have no statement running.

        Raises `NotInstalledError` where the database has no outbox, `ConfigurationError` where
        it is of a newer format or `PRAGMA trusted_schema` is off (then triggers may not call
        our function, and every write would fail).
        """
        self._connection = connection
        self._host = host
        self._key = host.context_key
        self._clock_ns = clock_ns
        self._nonces = nonces
        self._frame: Frame | None = None
        self._reverses: tuple[str, ...] = ()
        self._is_active = False
        self._is_many = False
        self._nonce: str | None = None
        self._text: str | None = None
        self._signed: tuple[str, Frame | None, tuple[str, ...]] | None = None
        self._is_own = False
        self._denied: str | None = None
        self._dropping: str | None = None
        self._application_authorizer: _Authorize | None = None
        # Prepared statements aren't authorised again: an application that knew the text of
        # ours could run it from the statement cache. This one it can't know.
        self._record_sql = (
            f"INSERT INTO main.{OUTBOX} (time, ctx, layout, op, o0, n0) "
            f"VALUES (?, ?, 0, {OP_EVENT}, ?, ?) /* {secrets.token_hex(8)} */"
        )
        self.incarnation, self._trims = self._check_database()
        options = self._read_options()

        def answer(number: object) -> str | int | None:
            if number == ASK_CONTEXT:
                return self._context_text()
            if number == ASK_TIME:
                return clock_ns() // 1_000
            if number == ASK_DELIVERED_THROUGH:
                return host.delivered_through(self.incarnation) if self._trims else None
            return options.get(number)

        if host.policy.seals:
            # Delivered rows are deleted by this connection, and hold values in clear.
            sqlite3.Cursor(connection).execute("PRAGMA secure_delete = ON").close()
        connection.create_function("sqlite_compileoption_get", 1, answer)
        connection.set_authorizer(self._authorize)

    def enter(
        self, frame: Frame | None, *, reverses: tuple[str, ...] = (), is_many: bool = False
    ) -> None:
        """A statement that may write is about to run, on behalf of `frame`'s actor.

        Call it in the caller's task or thread. `reverses` are the ids of the events that this
        statement takes back. `is_many` says that the statement runs once for each set of
        parameters: outside of a transaction each of these is a transaction of its own.
        """
        if not self._connection.in_transaction:
            self._nonce = None
        self._frame = frame
        self._reverses = reverses
        self._is_many = is_many
        self._denied = self._dropping = None
        self._text = None
        self._is_active = True

    def leave(self) -> None:
        """The statement is done, or failed: what anybody else writes now isn't its actor's."""
        self._is_active = False
        self._frame = None
        self._text = None

    def ended(self) -> None:
        """The connection's transaction was committed or rolled back."""
        self._nonce = None

    @property
    def transaction(self) -> str | None:
        """The id under which changes of the transaction open now are recorded; None for none."""
        if not self._connection.in_transaction:
            return None
        if self._nonce is None:
            self._nonce = self._nonces.next()
        return self._nonce

    def record(self, draft: bytes, frame: Frame | None = None) -> None:
        """Put an explicit event into the outbox: it commits with this transaction or never was.

        Starts a transaction where the driver would for an INSERT of the application. The draft
        names its own actor and, with `transaction`, the one it is part of. Raises what SQLite
        raises for a write: the caller must let the transaction fail.
        """
        if self._nonce is None or not self._connection.in_transaction:
            self._nonce = self._nonces.next()
        text = sign_context(self._key, self.incarnation, payload_for(self._nonce, frame))
        proof = sign_event(self._key, self.incarnation, self._nonce, draft)
        nonce = self._nonce
        cursor = sqlite3.Cursor(self._connection)
        self._is_own = True
        try:
            now = self._clock_ns() // 1_000
            cursor.execute(self._record_sql, (now, text, draft, proof))
        finally:
            self._is_own = False
            cursor.close()
        # The driver's implicit BEGIN made the authorizer forget it.
        self._nonce = nonce if self._connection.in_transaction else None

    def explain(self, error: sqlite3.Error) -> IndelibleError | None:
        """Our error for what SQLite refused on our account; None where it was not us."""
        text = str(error)
        if self._denied is not None and ("not authorized" in text or "prohibited" in text):
            return ProtectedTableError(
                f"expected the application to leave {self._denied} alone: it belongs to "
                "Indelible; `indelible install` and `indelible uninstall` manage it"
            )
        if "unsafe use of sqlite_compileoption_get" in text:
            return _untrusted_schema()
        return None

    def set_authorizer(self, authorizer: _Authorize | None) -> None:
        """The application's own authorizer: asked after ours, about statements of its own."""
        self._application_authorizer = authorizer

    def detach(self) -> None:
        """Give the connection back as it was; its writes are unattributed from now on."""
        options = self._read_options()
        self._connection.create_function("sqlite_compileoption_get", 1, options.get)
        self._connection.set_authorizer(self._application_authorizer)

    def _context_text(self) -> str | None:
        """Called by a trigger, so under the database's write lock: nonces are given in the
        order in which their transactions commit, and none is wasted on one that wrote nothing.
        """
        if not self._is_active:
            return None
        text = self._text
        if text is not None and not (self._is_many and not self._connection.in_transaction):
            return text
        if self._nonce is None or (text is not None and self._is_many):
            self._nonce = self._nonces.next()
        signed = (self._nonce, self._frame, self._reverses)
        payload = payload_for(*signed)
        self._text = text = sign_context(self._key, self.incarnation, payload)
        return text

    def _authorize(
        self,
        action: int,
        first: str | None,
        second: str | None,
        database: str | None,
        trigger: str | None,
    ) -> int:
        if action == sqlite3.SQLITE_TRANSACTION:
            if first == "BEGIN":
                self._nonce = None
        elif self._is_own or is_ours(trigger):
            return sqlite3.SQLITE_OK
        elif action in _WRITES and trigger is None and not self._connection.in_transaction:
            # One script may hold several transactions.
            self._nonce = self._text = None
        if (is_ours(first) or is_ours(second)) and action not in _HARMLESS:
            if action == sqlite3.SQLITE_DROP_TRIGGER and second == self._dropping:
                return sqlite3.SQLITE_OK
            self._denied = first if is_ours(first) else second
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_DROP_TABLE:
            # Dropping a table of the application's takes our triggers on it along: drift.
            self._dropping = first
        if self._application_authorizer is not None:
            return self._application_authorizer(action, first, second, database, trigger)
        return sqlite3.SQLITE_OK

    def _check_database(self) -> tuple[str, bool]:
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        try:
            found = dict(_text_rows(cursor.execute(_META_SQL)))
            (newest,) = cursor.execute(_NEWEST_SQL).fetchone() or (0,)
            trusted = cursor.execute("PRAGMA trusted_schema").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            raise NotInstalledError(
                "expected Indelible's tables in this database, found none: `indelible install`"
            ) from None
        finally:
            cursor.close()
        if found.get("format") != str(FORMAT):
            raise ConfigurationError(
                f"expected an outbox of format {FORMAT}, found {found.get('format')}: "
                "use the version of Indelible that installed it, or install again"
            )
        if trusted is not None and trusted[0] == 0:
            raise _untrusted_schema()
        incarnation = found["incarnation"]
        # An outbox that is behind what was delivered comes from a backup: its waiting rows
        # have numbers that stand for other, delivered rows. None may be trimmed.
        is_behind = newest < self._host.delivered_through(incarnation)
        if is_behind:
            self._host.notice(
                "database.restored",
                "the database's outbox is older than what was delivered from it",
                incarnation=incarnation,
            )
        return incarnation, not is_behind

    def _read_options(self) -> dict[object, str]:
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        try:
            rows = cursor.execute("PRAGMA compile_options").fetchall()
        finally:
            cursor.close()
        return {n: _as_text(row[0]) for n, row in enumerate(rows)}


_META_SQL: Final = (
    f"SELECT key, CAST(value AS TEXT) FROM main.{META} WHERE key IN ('format', 'incarnation')"
)
_NEWEST_SQL: Final = f"SELECT seq FROM main.sqlite_sequence WHERE name = '{OUTBOX}'"
_WRITES: Final = frozenset((sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE))
# Looking at the schema shows that our tables are there, and nothing in them.
_HARMLESS: Final = frozenset((sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION))


def _as_text(item: object) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _text_rows(rows: sqlite3.Cursor) -> Iterator[tuple[str, str]]:
    return ((_as_text(name), _as_text(text)) for name, text in rows)


def _untrusted_schema() -> ConfigurationError:
    return ConfigurationError(
        "expected PRAGMA trusted_schema = ON, found OFF: triggers may not say who is acting, "
        "and every write would fail; switch it on for the connections of this application"
    )


__all__ = ["CaptureError", "Nonces", "WriteContext"]

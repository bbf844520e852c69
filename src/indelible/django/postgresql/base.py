"""Django's backend for PostgreSQL (psycopg 3), which tells the server who acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper

from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import PsycopgWire
from indelible.django.trails import take_trail

_captures: dict[tuple[int, str], ServerCapture] = {}


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # Django has no types
    """`django.db.backends.postgresql`, captured into the trail that `OPTIONS["trail"]` names.

    Every statement goes through here, by the ORM or beneath it, `callproc` and server-side cursors
    included; COPY doesn't, and changes that it makes are nobody's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._statements: ConnectionStatements | None = None
        self._statements_of: object = None
        self._capture: ServerCapture | None = None
        self.execute_wrappers.append(self._run)

    def get_connection_params(self) -> dict[str, Any]:
        """Raises `ImproperlyConfigured` where no trail is named, or none with a server."""
        parameters: dict[str, Any] = super().get_connection_params()
        trail = take_trail(parameters, self.alias)
        server = trail.policy.server
        if server is None:
            raise ImproperlyConfigured(
                "expected [database] url to name the PostgreSQL server in the indelible.toml of "
                f"DATABASES[{self.alias!r}], found none"
            )
        key = (id(trail), server.url)
        self._capture = _captures.get(key) or _captures.setdefault(key, ServerCapture(trail))
        return parameters

    def make_cursor(self, cursor: Any) -> Any:
        return _Cursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        return _DebugCursor(cursor, self)

    def run_captured(self, sql: Any, run: Callable[[], Any]) -> Any:
        """Run one statement by way of `run`, for whoever acts now."""
        capture = self._capture
        if capture is None or self.connection is None:
            return run()
        text = sql if isinstance(sql, str) else self.ops.compose_sql(sql, None)
        statements = self._statements
        if statements is None or self._statements_of is not self.connection:
            statements = capture.statements(PsycopgWire(self.connection, self.connection))
            self._statements, self._statements_of = statements, self.connection
        return statements.run(text, run, committing=self.wrap_database_errors)

    def _run(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        return self.run_captured(sql, lambda: execute(sql, params, many, context))


class _CallsProcedures:
    """Django hands a procedure's call past its own wrappers."""

    db: DatabaseWrapper

    def callproc(
        self, procname: str, params: Sequence[Any] | None = None, kparams: Any = None
    ) -> Any:
        call: Callable[..., Any] = super().callproc  # type: ignore[misc]
        return self.db.run_captured(f"CALL {procname}", lambda: call(procname, params, kparams))


class _Cursor(_CallsProcedures, CursorWrapper):  # type: ignore[misc]
    pass


class _DebugCursor(_CallsProcedures, base.CursorDebugWrapper):  # type: ignore[misc]
    pass


def _write_down(**_: object) -> None:
    """A request has ended: reads by nobody are on disk, though connections stay open."""
    for capture in list(_captures.values()):
        capture.reads.shared.sync()


request_finished.connect(_write_down, dispatch_uid="indelible.postgresql.write_down")

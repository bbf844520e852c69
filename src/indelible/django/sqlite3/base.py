"""Django's backend for SQLite, over connections that record (Django imports `<ENGINE>.base`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.core.signals import request_finished
from django.db import connections
from django.db.backends.sqlite3 import base, introspection
from django.db.models.signals import post_migrate

from indelible.capture.sqlite3 import Connection, Cursor, connect
from indelible.capture.sqlite_names import is_ours
from indelible.django.trails import take_trail
from indelible.trail import Trail


class _Introspection(introspection.DatabaseIntrospection):  # type: ignore[misc]
    """Without Indelible's own tables, which are no application's to read."""

    def get_table_list(self, cursor: object) -> list[Any]:
        return [info for info in super().get_table_list(cursor) if not is_ours(info.name)]


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # Django has no types
    """`django.db.backends.sqlite3`, captured into the trail that `OPTIONS["trail"]` names.

    A database in memory, as Django's test runner makes by default, has no file that a trail could
    be fed from: it is Django's own, unseen.
    """

    introspection_class = _Introspection

    def get_connection_params(self) -> dict[str, Any]:
        """Raises `ImproperlyConfigured` where no trail is named, or there is none."""
        parameters: dict[str, Any] = super().get_connection_params()
        if self.is_in_memory_db():
            parameters.pop("trail", None)
        else:
            trail = take_trail(parameters, self.alias)
            own = parameters.pop("factory", None)
            parameters["factory"] = partial(_connect, trail, own)
        return parameters

    def create_cursor(self, name: object = None) -> Any:
        if isinstance(self.connection, Connection):
            return self.connection.cursor(factory=_Cursor)
        return super().create_cursor(name)


class _Cursor(base.SQLiteCursorWrapper, Cursor):  # type: ignore[misc]
    """Django's cursor turns its placeholders into SQLite's, ours records what then runs."""


def _connect(trail: Trail, own: Any, *args: Any, **kwargs: Any) -> Connection:
    kwargs["factory"] = own
    return connect(*args, trail=trail, **kwargs)


def _write_down(**_: object) -> None:
    """A request has ended: what its connections handed out is on disk, though they stay open."""
    for connection in _captured_connections():
        connection.check_in()


def _follow_schema(*, using: str, **_: object) -> None:
    """A migration has ended: new tables are seen from here on, and changed ones again."""
    connection = cast("Any", connections[using]).connection
    if isinstance(connection, Connection):
        connection.check_in()


def _captured_connections() -> list[Connection]:
    found = [cast("Any", wrapper).connection for wrapper in connections.all(initialized_only=True)]
    return [connection for connection in found if isinstance(connection, Connection)]


_SIGNALS: tuple[tuple[Any, Callable[..., None]], ...] = (
    (request_finished, _write_down),
    (post_migrate, _follow_schema),
)
for _signal, _receiver in _SIGNALS:
    _signal.connect(_receiver, dispatch_uid=f"indelible.{_receiver.__name__}")

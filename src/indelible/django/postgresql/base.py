"""Django's backend for PostgreSQL (psycopg 3), over connections that tell the server who acts and
record what is read."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, operations

from indelible.capture.psycopg import Connection, connection_class, seen
from indelible.django.finishing import write_down_after_requests
from indelible.django.trails import take_trail


class _Operations(operations.DatabaseOperations):  # type: ignore[misc]
    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """The application's own text, not what ran in its place; None where it can't be composed,
        as Django has it of a statement that the driver refused."""
        if self.connection.features.uses_server_side_binding:
            return super().last_executed_query(cursor, sql, params)  # composes it, too
        try:
            return self.compose_sql(sql, params)
        except base.Database.Error:
            return None


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # Django has no types
    """`django.db.backends.postgresql`, captured into the trail that `OPTIONS["trail"]` names.

    Every statement goes through here, by the ORM or beneath it, `callproc`, COPY and server-side
    cursors included.
    """

    ops_class = _Operations

    def get_connection_params(self) -> dict[str, Any]:
        """Raises `ImproperlyConfigured` where no trail is named, or none with a server."""
        parameters: dict[str, Any] = super().get_connection_params()
        trail = take_trail(parameters, self.alias)
        if trail.policy.server is None:
            raise ImproperlyConfigured(
                "expected [database] url to name the PostgreSQL server in the indelible.toml of "
                f"DATABASES[{self.alias!r}], found none"
            )
        self.Database = _Driver(connection_class(trail))
        return parameters

    @property
    def pool(self) -> Any:
        """Django's, of captured connections."""
        options = self.settings_dict["OPTIONS"]
        if options.get("pool"):
            own = {} if options["pool"] is True else options["pool"]
            if "connection_class" not in own:
                self.get_connection_params()
                options["pool"] = {**own, "connection_class": self.Database.connection_class}
        return super().pool

    def create_cursor(self, name: Any = None) -> Any:
        cursor = super().create_cursor(name)
        # Django names the class of its server-side cursors itself.
        cursor.__class__ = seen(cast("Any", type(cursor)))
        return cursor


class _Driver:
    """psycopg, but its connections are captured."""

    def __init__(self, connection_class: type[Connection]) -> None:
        self.connection_class = connection_class
        self.connect = connection_class.connect

    def __getattr__(self, name: str) -> Any:
        return getattr(base.Database, name)


write_down_after_requests(Connection, "postgresql")

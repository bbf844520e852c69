"""Django's backend for MariaDB and MySQL (mysqlclient), over connections that tell the server who
acts and record what is read."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.mysql import base
from django.utils.asyncio import async_unsafe

from indelible.capture.mysqlclient import Connection, connect
from indelible.django.finishing import write_down_after_requests
from indelible.django.trails import take_trail


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # Django has no types
    """`django.db.backends.mysql`, captured into the trail that `OPTIONS["trail"]` names.

    Every statement goes through here, by the ORM or beneath it, `callproc` included.
    """

    def get_connection_params(self) -> dict[str, Any]:
        """Raises `ImproperlyConfigured` where no trail is named, or none with such a server."""
        parameters: dict[str, Any] = super().get_connection_params()
        trail = take_trail(parameters, self.alias)
        server = trail.policy.server
        if server is None or not server.is_mariadb:
            raise ImproperlyConfigured(
                "expected [database] url to name the MariaDB or MySQL server in the indelible.toml "
                f"of DATABASES[{self.alias!r}], found none"
            )
        return {**parameters, "trail": trail}

    @async_unsafe  # type: ignore[untyped-decorator]
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return connect(**conn_params)


write_down_after_requests(Connection, "mysql")

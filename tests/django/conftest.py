from tests.mariadb_server import mariadb
from tests.servers import database, postgres

__all__ = ["database", "mariadb", "postgres"]

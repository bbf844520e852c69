from tests.mariadb_server import mariadb, mariadb_database
from tests.servers import database, postgres

__all__ = ["database", "mariadb", "mariadb_database", "postgres"]

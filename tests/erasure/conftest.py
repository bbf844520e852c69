from tests.mariadb_server import mariadb, mariadb_database
from tests.servers import database, logged, logical_postgres, postgres

__all__ = [
    "database",
    "logged",
    "logical_postgres",
    "mariadb",
    "mariadb_database",
    "postgres",
]

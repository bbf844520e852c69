from tests.mariadb_server import mariadb, mariadb_database
from tests.servers import database, logged, logical_postgres, postgres

from .bench import bench, three_years

__all__ = [
    "bench",
    "database",
    "logged",
    "logical_postgres",
    "mariadb",
    "mariadb_database",
    "postgres",
    "three_years",
]

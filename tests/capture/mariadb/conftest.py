"""Fixtures: a server of the tests' own."""

from tests.mariadb_server import mariadb, mariadb_database

__all__ = ["mariadb", "mariadb_database"]

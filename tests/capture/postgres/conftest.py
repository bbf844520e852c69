"""Fixtures: a server of the tests' own."""

from tests.servers import database, logged, logical_postgres, postgres

__all__ = ["database", "logged", "logical_postgres", "postgres"]

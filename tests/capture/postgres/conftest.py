"""Fixtures: a server of the tests' own."""

from tests.servers import database, postgres

__all__ = ["database", "postgres"]

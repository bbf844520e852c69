from tests.servers import database, postgres

__all__ = ["database", "postgres"]

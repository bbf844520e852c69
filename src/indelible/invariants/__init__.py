"""PROMISED: whether the database is what the trail says it should be."""

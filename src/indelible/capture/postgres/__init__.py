"""Capture of writes on PostgreSQL, by triggers; needs the extra `postgres`."""

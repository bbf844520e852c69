"""Capture on MariaDB (and MySQL): triggers, outbox, reads by row."""

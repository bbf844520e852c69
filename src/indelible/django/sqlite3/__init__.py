"""The name of the backend for SQLite: `"ENGINE": "indelible.django.sqlite3"`."""

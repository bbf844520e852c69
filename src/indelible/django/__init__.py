"""Capture for Django 5.2: a database backend that records what goes through it.

```python
DATABASES = {
    "default": {
        "ENGINE": "indelible.django.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"trail": BASE_DIR / "indelible.toml"},
    }
}
```

On PostgreSQL it is `indelible.django.postgresql`, for which `indelible.toml` names the server.

Everything that Django's own backend runs is seen, by the ORM or beneath it: managers, raw SQL,
bulk and asynchronous queries, migrations, the admin. Results and errors are Django's own.
"""
